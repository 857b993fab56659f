local error = require "pgafrun.error"
local test = require "pgaf.test"
local tuning = require "pgaf.drill.tuning"

local lu = test.lu
local T = {}

local INPUT = { standbys = 1, silent = true, wal_retrieve_retry_interval = 0.2, connect_timeout = 1 }

function T.test_every_proposal_keeps_its_target_and_is_safe()
  for target = 8, 80 do
    local made = tuning.propose(target, INPUT)
    lu.assertTrue(made.prediction.worst <= target, tostring(target))
    local timers = made.timers
    lu.assertTrue(timers.primary_demote_timeout > (timers.network_partition_timeout + 2) * 1000, tostring(target))
    for _, name in ipairs(tuning.NAMES) do lu.assertNotNil(math.tointeger(timers[name]), name) end
  end
end

function T.test_a_wide_target_keeps_the_defaults()
  local made = tuning.propose(300, INPUT)
  lu.assertEquals(made.timers.primary_demote_timeout, 30000)
  lu.assertEquals(made.timers.network_partition_timeout, 20)
  lu.assertEquals(made.risks, {})
end

function T.test_a_narrower_target_is_quicker_and_names_its_risks()
  local wide, narrow = tuning.propose(40, INPUT), tuning.propose(12, INPUT)
  lu.assertTrue(narrow.prediction.worst < wide.prediction.worst)
  lu.assertTrue(#narrow.risks > #wide.risks)
end

function T.test_what_cannot_be_safe_is_refused_with_the_arithmetic()
  local ok, problem = pcall(tuning.propose, 4, INPUT)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "impossible-budget"))
  lu.assertStrContains(problem.message, "primary_demote_timeout")
end

function T.test_a_local_formation_can_be_quicker_than_silent_hosts()
  local loud = { standbys = 1, silent = false, wal_retrieve_retry_interval = 0.2, connect_timeout = 1 }
  lu.assertTrue(tuning.propose(12, loud).timers.node_considered_unhealthy_timeout >=
    tuning.propose(12, INPUT).timers.node_considered_unhealthy_timeout)
end

test.run("drill tuning", T)

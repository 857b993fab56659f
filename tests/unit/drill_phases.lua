local phases = require "pgaf.drill.phases"
local recovery = require "pgaf.drill.recovery"
local prediction = require "pgaf.drill.prediction"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

local DEFAULTS = {
  health_check_period = 5, health_check_timeout = 5, health_check_max_retries = 2, health_check_retry_delay = 2,
  node_considered_unhealthy_timeout = 20, primary_demote_timeout = 30,
}
local FAST = {
  health_check_period = 0.5, health_check_timeout = 0.5, health_check_max_retries = 1,
  health_check_retry_delay = 0.2, node_considered_unhealthy_timeout = 2.5, primary_demote_timeout = 4,
}

local function predict(timers, changes)
  local input = {
    timers = timers, standbys = 1, silent = false, wal_retrieve_retry_interval = 0.2, connect_timeout = 1,
  }
  for key, value in pairs(changes or {}) do input[key] = value end
  return prediction.compute(input)
end

-- What was measured on real formations must lie inside.
local function covers(p, ...)
  for _, seconds in ipairs { ... } do
    lu.assertTrue(p.best <= seconds and seconds <= p.worst,
      ("%g is not in %g .. %g"):format(seconds, p.best, p.worst))
  end
end

function T.test_prediction_covers_what_was_measured_with_default_timers()
  covers(predict(DEFAULTS), 50.27, 50.79, 50.52, 51.45)
  covers(predict(DEFAULTS, { standbys = 2 }), 53.19, 52.36, 52.77)
  covers(predict(DEFAULTS, { silent = true }), 52, 57, 57.84)
end

function T.test_prediction_covers_what_was_measured_with_fast_timers()
  covers(predict(FAST), 7.14, 7.11, 6.97, 6.43, 6.32, 6.19)
end

function T.test_a_silent_host_makes_the_health_check_decide()
  local p = predict(DEFAULTS, { silent = true })
  lu.assertEquals(p.terms[1].worst, 5 + 2 * 2 + 3 * 5 + 1.5 + 1)
  lu.assertStrContains(p.terms[1].setting, "health check")
  lu.assertStrContains(predict(DEFAULTS).terms[1].setting, "node_considered_unhealthy_timeout = 20 s")
end

function T.test_without_a_demote_timeout_the_promotion_decides()
  local timers = {}
  for key, value in pairs(FAST) do timers[key] = value end
  timers.primary_demote_timeout = 0.001
  local p = predict(timers)
  lu.assertEquals(p.terms[2].best, 1.0)
  lu.assertStrContains(p.terms[2].setting, "wal_retrieve_retry_interval")
end

function T.test_terms_add_up_and_are_told()
  local p = predict(DEFAULTS)
  local best, worst = 0, 0
  for _, term in ipairs(p.terms) do
    best, worst = best + term.best, worst + term.worst
    lu.assertTrue(term.best <= term.worst, term.what)
  end
  lu.assertAlmostEquals(p.best, best, 1e-9)
  lu.assertAlmostEquals(p.worst, worst, 1e-9)
  local lines = prediction.arithmetic(p)
  lu.assertEquals(#lines, #p.terms + 1)
  lu.assertStrContains(table.concat(lines, "\n"), "primary_demote_timeout = 30 s")
end

local SETTINGS = { timers = DEFAULTS, wal_retrieve_retry_interval = 0.2, connect_timeout = 1 }

local function split(marks)
  local given = {}
  for name, at in pairs(marks) do given[name] = { at = at } end
  return phases.split(given, SETTINGS)
end

function T.test_phases_follow_each_other_and_cover_the_whole()
  local list = split {
    fault_sent = 100, dead = 100.1, noticed = 120, assigned = 120, promoted = 121.2, presumed_gone = 150.2,
    writable = 150.3, first_ack = 150.4, start_sent = 150.4, heard_of = 151, rejoined = 153, synchronous = 154,
    whole = 155,
  }
  lu.assertEquals(#list, 12)
  lu.assertEquals(list[1].from, 100)
  for i = 2, #list do lu.assertEquals(list[i].from, list[i - 1].to) end
  lu.assertEquals(list[#list].to, 155)
  lu.assertEquals(list[5].setting, "primary_demote_timeout = 30 s")
  lu.assertAlmostEquals(list[5].seconds, 29, 1e-9)
end

function T.test_an_unseen_moment_joins_the_next_phase_and_is_named()
  local list = split { fault_sent = 0, dead = 0.1, presumed_gone = 50, writable = 51 }
  lu.assertEquals(#list, 3)
  lu.assertEquals(list[2].name, "old primary presumed gone")
  lu.assertEquals(table.concat(list[2].unseen, " "), "noticed assigned promoted")
end

function T.test_moments_in_the_other_order_never_give_a_negative_phase()
  local list = split { fault_sent = 0, dead = 2, noticed = 1.5, assigned = 3 }
  lu.assertEquals(list[2].seconds, 0)
  lu.assertEquals(list[3].seconds, 1)
end

local MARKS = {
  fault_sent = 0, dead = 0.1, noticed = 20, assigned = 20.5, promoted = 22, presumed_gone = 50, writable = 51,
}

local function within(budgets, marks, changes)
  local given, settings = {}, { budgets = budgets }
  for name, at in pairs(marks or MARKS) do given[name] = { at = at } end
  for key, value in pairs(SETTINGS) do settings[key] = value end
  for key, value in pairs(changes or {}) do settings[key] = value end
  local list, over = phases.split(given, settings), {}
  for _, phase in ipairs(list) do
    if phase.over then over[#over + 1] = phase.name end
  end
  return table.concat(over, ", "), list
end

function T.test_a_phase_is_held_against_its_own_budget()
  lu.assertEquals(within { promotion = 2, detection = 30 }, "")
  lu.assertEquals(within { promotion = 1.4, detection = 30 }, "promotion")
  lu.assertEquals(within { ["presumed-gone"] = 10, detection = 1 }, "the monitor notices, old primary presumed gone")
end

function T.test_phases_that_nobody_told_apart_are_judged_together()
  local marks = { fault_sent = 0, dead = 0.1, assigned = 20 }
  -- the election began somewhere in those 19.9 s
  lu.assertEquals(within({ detection = 25 }, marks), "")
  lu.assertEquals(within({ detection = 15 }, marks), "a standby is chosen")
  lu.assertEquals(within({ detection = 15, election = 6 }, marks), "")
  lu.assertEquals(within({ detection = 15, election = 4 }, marks), "a standby is chosen")
  lu.assertEquals(select(2, within({ detection = 15, election = 4 }, marks))[2].budget, 19)
end

function T.test_phases_of_a_failover_that_nobody_wanted_are_not_judged()
  local marks = { fault_sent = 0, start_sent = 20, whole = 25 }
  local told, list = within({ promotion = 1, healthy = 6 }, marks, { no_failover = true })
  lu.assertEquals(told, "")
  lu.assertEquals(phases.not_seen({ promotion = 1, healthy = 6, pinned = 1 }, list), { "promotion" })
  lu.assertEquals(within({ promotion = 1, healthy = 4 }, marks, { no_failover = true }), "all healthy")
end

function T.test_budgets_are_read()
  lu.assertEquals(phases.budget "presumed-gone=2.5", { key = "presumed-gone", seconds = 2.5 })
  for _, text in ipairs { "promotion", "promotion=", "promotion=0", "promotion=-1", "promotion=inf", "=3", "x=3" } do
    local value, problem = phases.budget(text)
    lu.assertNil(value, text)
    lu.assertIsString(problem)
  end
  lu.assertStrContains(select(2, phases.budget "promote=3"), "there is no phase promote; there are death, detection")
  lu.assertEquals(phases.budgets { { key = "death", seconds = 1 }, { key = "death", seconds = 2 } }, { death = 2 })
end

local function noted(...)
  local one = recovery.new(0.25)
  for _, at in ipairs { ... } do one:success(at) end
  return one
end

function T.test_a_client_s_way_back_is_its_longest_silence()
  local one = noted(1, 1.1, 9.9, 60.4, 60.5, 61.5)
  lu.assertEquals(one:longest(10, 62), { from = 9.9, to = 60.4, seconds = 50.5 })
  lu.assertEquals(one:longest(61, 61.6), { from = 60.5, to = 61.5, seconds = 1 })
end

function T.test_a_client_that_felt_nothing_had_no_silence()
  lu.assertNil(noted(1, 1.1, 1.2, 1.3):longest(1.1, 1.4))
  lu.assertNil(noted():longest(1, 100))
end

function T.test_a_client_that_never_came_back_is_told_so()
  lu.assertEquals(noted(1, 9):longest(10, 100), { from = 9, seconds = 91 })
end

function T.test_clients_have_budgets_too()
  local list = phases.personas({
    reader = { from = 1, to = 8, seconds = 7 }, pinned = { from = 1, seconds = 90 },
  }, { reader = 5, pinned = 100, proxy = 1 })
  local by_key = {}
  for _, one in ipairs(list) do by_key[one.key] = one end
  lu.assertTrue(by_key.reader.over)
  lu.assertTrue(by_key.reader.recovered)
  lu.assertTrue(by_key.pinned.over)
  lu.assertFalse(by_key.pinned.recovered)
  lu.assertNil(by_key.proxy.over)
  lu.assertEquals(by_key.proxy.seconds, 0)
end

function T.test_no_fault_no_phases() lu.assertEquals(#split { dead = 1 }, 0) end

test.run("drill phases and prediction", T)

local phases = require "pgaf.drill.phases"
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

function T.test_no_fault_no_phases() lu.assertEquals(#split { dead = 1 }, 0) end

test.run("drill phases and prediction", T)

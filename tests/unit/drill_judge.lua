local error = require "pgafrun.error"
local judge = require "pgaf.drill.judge"
local report = require "pgaf.drill.report"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

local function audit(changes)
  local made = {
    lost = {}, ghosts = {}, duplicates = {}, strangers = {}, unknown_present = 0, unknown_absent = 0, nodes = {},
  }
  for key, value in pairs(changes or {}) do made[key] = value end
  return made
end

local function findings(changes)
  local made = { budget = 60, waited = 51, gap = { seconds = 50.7 }, audit = audit() }
  for key, value in pairs(changes or {}) do made[key] = value end
  return made
end

local function code_of(changes) return judge.drill(findings(changes)).code end

function T.test_within_budget_and_nothing_lost_passes()
  local verdict = judge.drill(findings())
  lu.assertEquals(verdict.code, 0)
  lu.assertEquals(#verdict.reasons, 0)
end

function T.test_over_budget_fails() lu.assertEquals(code_of { gap = { seconds = 60.01 } }, 2) end

function T.test_no_promotion_fails()
  local f = findings()
  f.gap = nil
  lu.assertEquals(judge.drill(f).code, 2)
end

function T.test_a_second_standstill_over_the_budget_fails()
  lu.assertEquals(code_of { later_silence = { seconds = 61 } }, 2)
  lu.assertEquals(code_of { later_silence = { seconds = 2 } }, 0)
end

function T.test_slower_than_its_history_is_said_and_fails_where_that_was_asked_for()
  local slower = { slower = true, sentence = "slower than its history" }
  local verdict = judge.drill(findings { history = slower })
  lu.assertEquals({ verdict.code, verdict.reasons }, { 0, { "slower than its history" } })
  lu.assertEquals(code_of { history = slower, fail_on_regression = true }, 2)
  lu.assertEquals(code_of { history = { slower = false }, fail_on_regression = true }, 0)
  lu.assertEquals(code_of { history = slower, fail_on_regression = true, audit = audit { lost = { 7 } } }, 4)
end

function T.test_lost_writes_outweigh_everything_else()
  lu.assertEquals(code_of { audit = audit { lost = { 7 } }, gap = { seconds = 99 } }, 4)
  lu.assertEquals(code_of { audit = audit { lost = { 7 } }, put_back_problem = "no" }, 4)
end

local SLOW_PHASE = {
  name = "promotion", seconds = 3.2, budget = 2, over = true, unseen = {}, outage = true,
  setting = "wal_retrieve_retry_interval = 5 s; checkpoint",
}

function T.test_a_phase_over_its_budget_fails_and_names_its_setting()
  local verdict = judge.drill(findings { phases = { SLOW_PHASE } })
  lu.assertEquals(verdict.code, 2)
  lu.assertEquals(verdict.reasons,
    { "promotion: 3.20 s, its budget is 2 s; decided by: wal_retrieve_retry_interval = 5 s; checkpoint" })
end

function T.test_a_client_that_never_came_back_breaks_its_budget()
  local verdict = judge.drill(findings {
    recoveries = { { name = "a reader sees new rows", seconds = 90, recovered = false, budget = 60, over = true,
      setting = "s" } },
  })
  lu.assertEquals(verdict.code, 2)
  lu.assertStrContains(verdict.reasons[1], "a reader sees new rows: not back after 90.00 s")
end

function T.test_the_report_shows_budgets()
  local result = findings {
    phases = { SLOW_PHASE }, promotion = "must", budgets_not_seen = { "opening" },
    recoveries = { { name = "a pinned client writes", seconds = 90, recovered = false, setting = "its node" } },
  }
  result.verdict = judge.drill(result)
  local text = table.concat(report.lines(result, { colour = false }), "\n")
  lu.assertStrContains(text, "3.200 s of 2 s")
  lu.assertStrMatches(text, ".*a pinned client writes%s+never.*")
  lu.assertStrContains(text, "no phase opening was seen")
end

function T.test_nodes_that_differ_are_data_loss()
  lu.assertEquals(code_of { audit = audit { nodes = { b = { differs = { 3 } } } } }, 4)
end

function T.test_a_node_that_was_not_looked_at_proves_nothing()
  local verdict = judge.drill(findings { audit = audit { nodes = { b = { problem = "no connection" } } } })
  lu.assertEquals(verdict.code, 2)
  lu.assertStrContains(verdict.reasons[1], "no connection")
end

function T.test_loss_is_told_although_the_drill_could_not_go_on()
  lu.assertEquals(code_of { audit = audit { lost = { 7 } }, failure = "late", failure_kind = "late" }, 4)
end

function T.test_ghosts_and_duplicates_do_not_pass()
  lu.assertEquals(code_of { audit = audit { ghosts = { 3 } } }, 2)
  lu.assertEquals(code_of { audit = audit { duplicates = { 3 } } }, 2)
end

function T.test_writes_that_were_not_looked_up_prove_nothing()
  local f = findings { audit_problem = "no connection" }
  f.audit = nil
  lu.assertEquals(judge.drill(f).code, 2)
end

function T.test_what_is_not_back_is_five_also_when_interrupted()
  lu.assertEquals(code_of { put_back_problem = "it does not start" }, 5)
  lu.assertEquals(code_of { put_back_problem = "it does not start", interrupted = true }, 5)
  lu.assertEquals(code_of { interrupted = true }, 130)
end

function T.test_a_drill_that_could_not_go_on()
  lu.assertEquals(code_of { failure = "the daemon is gone", failure_kind = "tool" }, 3)
  lu.assertEquals(code_of { failure = "not whole in time", failure_kind = "late" }, 2)
end

function T.test_refusals_by_their_kind()
  local codes = { unhealthy = 1, ["open-run"] = 1, ["impossible-budget"] = 2, network = 3, permission = 3, locked = 3,
    missing = 3, inventory = 64 }
  for kind, code in pairs(codes) do
    lu.assertEquals(judge.refusal(error.new { kind = kind, message = "x" }).code, code, kind)
  end
  lu.assertEquals(judge.refusal("a text").code, 3)
end

local function result()
  return {
    verdict = { code = 0, name = "PASSED", reasons = {} }, budget = 60, gap = { seconds = 50.7 },
    prediction = { best = 49, worst = 55 }, run = "20250101T000000Z-abcd",
    seconds = { promoted = 21, writable = 50.6, first_ack = 50.7, whole = 55 },
    phases = {
      { name = "processes die", seconds = 0.06, setting = "the provider", outage = true, unseen = {} },
      { name = "victim starts", seconds = 1.5, setting = "boot", outage = false, unseen = { "x" } },
    },
    writes = { acknowledged = 900, refused = 0, unknown = 1 }, audit = audit(),
    async = { seconds = 5, acknowledged = 400 },
    roles = { before = { primary = "a" }, failed_over = { primary = "b" }, after = { primary = "a" } },
  }
end

function T.test_the_report_fits_one_screen_with_the_verdict_first()
  local made = result()
  for _ = 1, 10 do table.insert(made.phases, made.phases[1]) end
  local lines = report.lines(made, { colour = false })
  lu.assertStrContains(lines[1], "PASSED")
  lu.assertStrContains(lines[1], "50.70 s")
  lu.assertTrue(#lines <= 25, #lines .. " lines")
  for _, line in ipairs(lines) do lu.assertTrue(#line <= 100, line) end
  lu.assertStrContains(table.concat(lines, "\n"), "a -> b -> a")
end

function T.test_the_report_tells_of_earlier_runs_when_there_are_any()
  local made = result()
  made.history = { n = 0, slower = false }
  lu.assertNotStrContains(table.concat(report.lines(made, { colour = false }), "\n"), "earlier runs")
  made.history = { n = 6, median = 49, max = 51, limit = 53.9, slower = false }
  lu.assertStrContains(table.concat(report.lines(made, { colour = false }), "\n"),
    "earlier runs      6, median 49.00 s, longest 51.00 s, slower is above 53.90 s")
end

function T.test_colour_is_asked_for()
  lu.assertNil(table.concat(report.lines(result(), { colour = false })):find("\27", 1, true))
  lu.assertNotNil(table.concat(report.lines(result(), { colour = true })):find("\27", 1, true))
end

test.run("drill judge and report", T)

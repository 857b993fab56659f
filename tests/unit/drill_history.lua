local fs = require "pgafrun.fs"
local history = require "pgaf.drill.history"
local json = require "pgafrun.json"
local journal = require "pgaf.drill.journal"
local process = require "pgafrun.process"
local statistics = require "pgaf.drill.statistics"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

-- Runs are kept below XDG_STATE_HOME: these in a folder of their own.
local state = fs.mkdtemp "pgafrun-history-"
local real_getenv = process.getenv
function process.getenv(name) -- luacheck: ignore 122
  return name == "XDG_STATE_HOME" and state or real_getenv(name)
end

local INVENTORY = { formation = "f", environment = "staging", provider = { kind = "local", root = "/x" } }

function T.tearDown()
  fs.remove_tree(state)
  fs.mkdir(state)
end

local clock = 0

local function result(gap, changes)
  clock = clock + 1
  local made = {
    run = ("run-%03d"):format(clock), formation = "f", environment = "staging", fault = "container-kill",
    started = ("2025-01-01T00:00:%02dZ"):format(clock), version = "1", verdict = { code = 0, name = "PASSED" },
    gap = gap and { seconds = gap }, audit = { lost = json.as_array() }, timers = { primary_demote_timeout = 10 },
    roles = { before = { primary = "a", standbys = { "b" } } },
  }
  for key, value in pairs(changes or {}) do made[key] = value end
  return made
end

local function keep(text)
  clock = clock + 1
  local folder = ("%s/run-%03d"):format(journal.folder(INVENTORY), clock)
  fs.mkdir(folder)
  fs.write(folder .. "/result.json", type(text) == "table" and json.encode(text) or text)
end

local function keep_all(...)
  for _, gap in ipairs { ... } do keep(result(gap)) end
end

-- ---------------------------------------------------------------------------------------------------- statistics

function T.test_statistics_of_nothing_have_no_figures()
  lu.assertEquals(json.encode(statistics.of {}), '{"n":0,"values":[]}')
end

function T.test_statistics_keep_the_values_as_they_came()
  local of = statistics.of { 3, 1, 2 }
  lu.assertEquals({ of.n, of.median, of.p95, of.min, of.max }, { 3, 2, 3, 1, 3 })
  lu.assertEquals(of.values, { 3, 1, 2 })
  lu.assertEquals(statistics.of({ 4, 1, 2, 3 }).median, 2.5)
end

function T.test_the_95th_percentile_leaves_out_one_of_twenty()
  local values = {}
  for i = 1, 20 do values[i] = 21 - i end
  lu.assertEquals(statistics.of(values).p95, 19)
  values[21] = 21
  lu.assertEquals(statistics.of(values).p95, 20)
end

function T.test_the_deviation_is_not_moved_by_one_value_far_away()
  lu.assertEquals(statistics.deviation { 1, 2, 3, 4, 1000 }, 1)
end

-- ----------------------------------------------------------------------------------------------------- comparing

local function look_back(gap, changes) return history.look_back(result(gap, changes), INVENTORY) end

function T.test_fewer_than_five_earlier_runs_say_nothing()
  keep_all(7, 7, 7, 7)
  local found = look_back(70)
  lu.assertEquals({ found.n, found.slower, found.limit }, { 4, false, nil })
end

function T.test_beyond_the_spread_is_slower_and_says_so()
  keep_all(7, 7.1, 7.2, 6.9, 7)
  local found = look_back(8)
  lu.assertTrue(found.slower)
  lu.assertStrContains(found.sentence, "slower than its history: 8.00 s, the median of the 5 runs before is 7.00 s")
  lu.assertEquals(#found.runs, 5)
end

function T.test_a_wide_spread_has_a_wide_limit()
  keep_all(5, 9, 7, 4, 10)
  lu.assertFalse(look_back(12).slower)
end

function T.test_runs_that_were_all_alike_allow_a_tenth_and_half_a_second()
  keep_all(50, 50, 50, 50, 50)
  lu.assertFalse(look_back(54.9).slower)
  lu.assertTrue(look_back(55.1).slower)
  keep(result(2, { fault = "switchover" }))
  for _ = 1, 4 do keep(result(2, { fault = "switchover" })) end
  lu.assertFalse(look_back(2.45, { fault = "switchover" }).slower)
  lu.assertTrue(look_back(2.55, { fault = "switchover" }).slower)
end

function T.test_only_what_can_be_compared_is_compared()
  keep_all(7, 7, 7)
  keep(result(7, { fault = "other" }))
  keep(result(7, { environment = "lab" }))
  keep(result(7, { formation = "g" }))
  keep(result(7, { verdict = { code = 130, name = "INTERRUPTED" } }))
  keep(result(7, { roles = { before = { primary = "a", standbys = { "b", "c" } } } }))
  keep(result(nil))
  keep(result(nil, { gap = { seconds = 99, open = true } }))
  lu.assertEquals(look_back(7).n, 3)
end

function T.test_settings_that_changed_are_named_until_there_are_enough_runs_with_them()
  local slow = { timers = { primary_demote_timeout = 30 } }
  keep_all(12, 12, 12, 12, 12)
  local found = look_back(32, slow)
  lu.assertTrue(found.slower)
  lu.assertEquals(found.changes, { "primary_demote_timeout 10 -> 30" })
  lu.assertStrContains(found.sentence, "changed since: primary_demote_timeout 10 -> 30")
  for _ = 1, 5 do keep(result(32, slow)) end
  found = look_back(32, slow)
  lu.assertEquals({ found.n, found.slower, found.changes }, { 5, false, {} })
end

function T.test_the_latest_twenty_are_looked_at()
  for _ = 1, 30 do keep(result(50)) end
  for _ = 1, 20 do keep(result(7)) end
  lu.assertEquals(look_back(7).median, 7)
end

function T.test_a_drill_without_a_gap_has_nothing_to_compare()
  keep_all(7, 7, 7, 7, 7)
  lu.assertNil(look_back(nil))
  lu.assertNil(look_back(9, { interrupted = true }))
end

-- ------------------------------------------------------------------------------------------------------- reading

function T.test_broken_files_are_told_and_passed_over()
  keep_all(7, 8)
  keep "{ not json"
  keep "[]"
  keep "null"
  keep '{"fault": "x", "started": 3, "verdict": {"code": 0}}'
  keep '{"fault": "x", "started": "t", "verdict": {"code": "0"}}'
  fs.mkdir(journal.folder(INVENTORY) .. "/run-without-result")
  fs.write(journal.folder(INVENTORY) .. "/a-file", "")
  fs.mkdir(journal.folder(INVENTORY) .. "/odd/result.json")
  local runs, troubles = history.of(INVENTORY)
  lu.assertEquals(#runs, 2)
  lu.assertEquals(#troubles, 6)
  for _, trouble in ipairs(troubles) do lu.assertIsString(trouble.problem) end
end

function T.test_odd_values_in_a_result_do_not_stop_the_others()
  keep(result(7, { timers = "none", roles = 3, gap = { seconds = "7" }, audit = 1 }))
  keep(result(7))
  local runs = history.of(INVENTORY)
  lu.assertEquals(#runs, 2)
  lu.assertEquals(history.by_fault(runs)[1].statistics.n, 1)
end

local function run_of(opened, closed)
  clock = clock + 1
  local folder = ("%s/run-%03d"):format(journal.folder(INVENTORY), clock)
  fs.mkdir(folder)
  fs.write(folder .. "/journal", ('{"what":"opened","at":"%s"}\n%s'):format(
    opened, closed and '{"what":"closed"}\n' or ""))
  return folder
end

function T.test_what_is_old_goes_unless_it_was_not_put_back()
  local old, open = run_of("2020-01-01T00:00:00.000Z", true), run_of("2020-01-01T00:00:00.000Z", false)
  local young = run_of("2999-01-01T00:00:00.000Z", true)
  fs.write(journal.folder(INVENTORY) .. "/a-file", "")
  lu.assertEquals(history.prune(INVENTORY, 30), { old:match "[^/]+$" })
  lu.assertNil(fs.stat(old))
  lu.assertNotNil(fs.stat(open))
  lu.assertNotNil(fs.stat(young))
end

function T.test_a_place_without_runs_has_none()
  lu.assertEquals(history.of(INVENTORY), {})
  lu.assertEquals(history.read "/dev/null", {})
end

function T.test_faults_are_told_in_the_order_of_their_names()
  keep(result(7))
  keep(result(1, { fault = "autoctl-kill" }))
  keep(result(9))
  local groups = history.by_fault((history.of(INVENTORY)))
  lu.assertEquals({ groups[1].fault, groups[2].fault }, { "autoctl-kill", "container-kill" })
  lu.assertEquals(groups[2].statistics.values, { 7, 9 })
end

local ok, problem = pcall(test.run, "drill history", T)
fs.remove_tree(state)
if not ok then _G.error(problem, 0) end

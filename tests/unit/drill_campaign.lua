-- A campaign's order and figures, and the files that drills and campaigns leave.

local cases = require "pgaf.drill.cases"
local campaigns = require "pgaf.drill.campaign"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local ledgers = require "pgaf.drill.ledger"
local page = require "pgaf.drill.campaign_page"
local process = require "pgafrun.process"
local record = require "pgaf.drill.record"
local rows = require "pgaf.drill.table"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

local folder = fs.mkdtemp "pgafrun-campaign-"
local INVENTORY = { formation = "f", environment = "lab", provider = { kind = "local" }, nodes = { {}, {} } }
local KILL, STOP = { name = "container-kill", title = "killed" }, { name = "graceful-stop", title = "stopped" }

local function names(turns)
  local list = {}
  for i, turn in ipairs(turns) do list[i] = ("%s %d"):format(turn.fault.name, turn.number) end
  return list
end

local function campaign(times, seed)
  local turns = campaigns.turns({ KILL, STOP }, times or 1, seed)
  return campaigns.new(INVENTORY, turns, { times = times or 1, seed = seed, left_out = json.as_array() })
end

local function result(code, gap, lost)
  local named = { [0] = "PASSED", [1] = "UNHEALTHY BASELINE", [2] = "FAILED", [4] = "DATA LOST", [5] = "NOT PUT BACK",
    [130] = "INTERRUPTED" }
  local ids = {}
  for i = 1, lost or 0 do ids[i] = i end
  return {
    formation = "f", verdict = { code = code, name = named[code], reasons = code == 0 and {} or { "why <&>" } },
    gap = gap and { seconds = gap }, audit = lost and { lost = ids }, started = "2025-01-01T00:00:00.000Z",
  }
end

-- -------------------------------------------------------------------------------------------------------- order

function T.test_without_a_seed_one_fault_comes_after_the_other()
  lu.assertEquals(names(campaigns.turns({ KILL, STOP }, 2)),
    { "container-kill 1", "container-kill 2", "graceful-stop 1", "graceful-stop 2" })
end

function T.test_a_seed_is_an_order_that_can_be_repeated()
  local one = names(campaigns.turns({ KILL, STOP }, 10, 42))
  lu.assertEquals(names(campaigns.turns({ KILL, STOP }, 10, 42)), one)
  lu.assertNotEquals(names(campaigns.turns({ KILL, STOP }, 10, 43)), one)
  local sorted = table.move(one, 1, #one, 1, {})
  table.sort(sorted)
  local unshuffled = names(campaigns.turns({ KILL, STOP }, 10))
  table.sort(unshuffled)
  lu.assertEquals(sorted, unshuffled)
end

function T.test_a_faults_numbers_go_up_in_any_order()
  local last = {}
  for _, turn in ipairs(campaigns.turns({ KILL, STOP }, 20, 7)) do
    lu.assertEquals(turn.number, (last[turn.fault] or 0) + 1)
    last[turn.fault] = turn.number
  end
end

function T.test_what_cannot_be_done_is_left_out_of_all_and_refused_by_name()
  local provider = { kind = "local", can = function(_, what) return what == "freeze", "it cannot" end }
  local chosen, left_out = campaigns.choose({}, provider, INVENTORY)
  lu.assertTrue(#chosen > 0 and #left_out > 0)
  local ok, problem = pcall(campaigns.choose, { "power-cut" }, provider, INVENTORY)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "unsupported"))
  ok, problem = pcall(campaigns.choose, { "no-such-fault" }, provider, INVENTORY)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "usage"))
end

-- ------------------------------------------------------------------------------------------------------- figures

function T.test_rows_have_the_figures_of_each_fault()
  local c = campaign(3)
  c:add(c.turns[1], result(0, 7, 0), 30)
  c:add(c.turns[2], result(2, 9, 0), 30)
  c:add(c.turns[3], result(0, 8, 0), 30)
  c:add(c.turns[4], result(0, 0.1), 30)
  local list = c:rows()
  lu.assertEquals({ list[1].fault, list[1].n, list[1].lost, list[1].gap.median, list[1].gap.max },
    { "container-kill", 3, 0, 8, 9 })
  lu.assertEquals(list[1].gap.values, { 7, 9, 8 })
  lu.assertEquals(list[1].verdicts, { PASSED = 2, FAILED = 1 })
  lu.assertNil(list[2].lost)
  lu.assertEquals({ c:code(), c:to_come() }, { 2, 2 })
  local lines = rows.lines(list)
  lu.assertStrContains(lines[2], "container-kill  3  PASSED 2, FAILED 1    8.00  9.00  9.00  8.00        0")
  lu.assertStrContains(lines[3], "unknown")
  lu.assertEquals(rows.values(list), { "container-kill: 7.00 9.00 8.00" })
end

function T.test_the_gravest_verdict_is_the_campaigns()
  for _, codes in ipairs { { 0, 2, 2 }, { 2, 4, 4 }, { 4, 130, 130 }, { 4, 5, 5 }, { 1, 2, 2 }, { 0, 0, 0 } } do
    local c = campaign()
    c:add(c.turns[1], result(codes[1]), 1)
    c:add(c.turns[2], result(codes[2]), 1)
    lu.assertEquals(c:code(), codes[3])
  end
end

function T.test_a_campaign_in_which_nothing_could_be_done_has_not_passed()
  local c = campaign()
  c:leave_out(KILL, "not here")
  c:leave_out(STOP, "not here")
  lu.assertEquals({ c:code(), c:to_come() }, { 3, 0 })
end

function T.test_the_gap_of_an_interrupted_drill_is_no_figure()
  local c = campaign()
  c:add(c.turns[1], result(130, 3), 1)
  lu.assertEquals(c:rows()[1].gap.n, 0)
end

function T.test_a_result_is_json_and_an_outcome_tells_what_failed()
  local c = campaign(2, 5)
  c:add(c.turns[1], result(0, 7, 0), 30, "container-kill-1")
  c:add(c.turns[2], result(4, 7, 2), 30)
  local whole = json.decode(json.encode(c:result()))
  lu.assertEquals({ whole.seed, whole["repeat"], whole.not_run, whole.verdict.name }, { 5, 2, 2, "DATA LOST" })
  lu.assertEquals(#whole.runs, 2)
  local outcome = json.decode(json.encode(c:outcome()))
  lu.assertEquals({ outcome.what, outcome.code, outcome.lost, outcome.runs }, { "campaign", 4, 2, 2 })
  lu.assertStrContains(outcome.reasons[1], "why <&>")
  lu.assertEquals(outcome.reasons[2], "drills that were not come to: 2")
end

-- --------------------------------------------------------------------------------------------------------- files

local function valid(xml)
  fs.write(folder .. "/junit.xml", xml)
  local checked = process.run { "xmllint", "--noout", folder .. "/junit.xml" }
  lu.assertEquals(checked.code, 0, checked.stderr)
end

function T.test_junit_has_a_suite_for_each_fault_and_a_case_for_each_turn()
  local c = campaign(2)
  c:add(c.turns[1], result(0, 7, 0), 30)
  c:add(c.turns[2], result(4, 7, 1), 31)
  c:add(c.turns[3], result(1), 2)
  cases.write(folder .. "/junit.xml", "campaign on f", c:suites(), 63)
  local xml = fs.read(folder .. "/junit.xml")
  valid(xml)
  lu.assertStrContains(xml, '<testsuites name="campaign on f" tests="4" failures="1" errors="1" skipped="1"')
  lu.assertStrContains(xml, '<testsuite name="container-kill" tests="2" failures="1"')
  lu.assertStrContains(xml, '<failure type="DATA LOST" message="why &lt;&amp;&gt;">')
  lu.assertStrContains(xml, '<error type="UNHEALTHY BASELINE"')
  lu.assertStrContains(xml, '<skipped message="not come to: the campaign ended before"/>')
end

function T.test_the_page_is_complete_in_itself_and_shows_texts_as_texts()
  local c = campaign()
  local odd = result(2, 7, 0)
  odd.run, odd.budget, odd.verdict.reasons = "r", 60, { "</td><script>alert(1)</script>" }
  c:add(c.turns[1], odd, 30, "a&b")
  local html = page.render(c:result(), function(run) return run.folder .. "/report.html" end)
  lu.assertNil(html:find("<script", 1, true))
  lu.assertNil(html:find("<link", 1, true))
  lu.assertStrContains(html, '<a href="a&amp;b/report.html">container-kill 1</a>')
  lu.assertStrContains(html, "&lt;/td&gt;&lt;script&gt;")
  fs.write(folder .. "/index.html", html)
  local checked = process.run { "xmllint", "--html", "--noout", folder .. "/index.html" }
  -- it knows the elements of HTML 4 alone
  for line in checked.stderr:gmatch "[^\n]+" do
    if line:find "error" then lu.assertStrContains(line, "Tag ") end
  end
end

function T.test_the_ledger_is_a_table_that_other_programs_read()
  local book = ledgers.new()
  book.count = 2
  book.sent, book.settled = { 10, 10.5 }, { 10.002 }
  book.writer, book.host, book.fate = { "client 1", "pinned" }, { "h", nil }, { "acknowledged", "unknown" }
  book.reason = { [2] = 'broke: "x",\ny' }
  lu.assertEquals(record.writes(book, 10), "id,client,server,sent,settled,fate,reason\n" ..
    "1,client 1,h,0.000000,0.002000,acknowledged,\n" .. '2,pinned,,0.500000,,unknown,"broke: ""x"",\ny"\n')
end

function T.test_events_are_one_object_a_line()
  local text = record.events {
    { seconds = 0, source = "drill", text = "a\nb" }, { seconds = 1, source = "monitor", text = "" },
  }
  local count = 0
  for line in text:gmatch "[^\n]+" do
    count = count + 1
    lu.assertIsNumber(json.decode(line).seconds)
  end
  lu.assertEquals(count, 2)
end

function T.test_a_folder_that_cannot_be_written_is_found_before_anything_is_done()
  fs.write(folder .. "/file", "")
  local ok, problem = pcall(record.check_room, folder .. "/file/below")
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "file"), tostring(problem))
  lu.assertStrContains(tostring(problem), "nothing was touched")
  record.check_room(folder .. "/new/folder", 2)
  lu.assertEquals(fs.list(folder .. "/new/folder"), {})
end

local ok, problem = pcall(test.run, "drill campaign", T)
fs.remove_tree(folder)
if not ok then _G.error(problem, 0) end

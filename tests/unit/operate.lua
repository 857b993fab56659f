-- The logic of the scripts that operate a formation: who takes over, how logs are merged and dated, what differs.

local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local LocalService = require "pgaf.provider.local_service"
local log_stream = require "pgaf.provider.log_stream"
local logs = require "pgaf.operate.logs"
local operate = require "pgaf.operate"
local primary = require "pgaf.operate.primary"
local server_log = require "pgaf.operate.server_log"
local settings = require "pgaf.operate.settings"
local settled = require "pgaf.operate.settled"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

local function node(name, reported, changes)
  local made = {
    nodeid = 1, name = name, reported = reported, goal = reported, running = true, health = 1, report_age = 0.5,
    candidate_priority = 50, replication_quorum = true,
  }
  for key, value in pairs(changes or {}) do made[key] = value end
  return made
end

local function formation(...) return { id = "default", known = true, nodes = { ... } } end

local function successor(...)
  local found = primary.successor(formation(node("p", "primary"), ...))
  return found and found.name
end

function T.test_the_highest_priority_takes_over()
  lu.assertEquals(successor(node("a", "secondary"), node("b", "secondary", { candidate_priority = 60 })), "b")
  lu.assertEquals(successor(node("a", "secondary", { nodeid = 9 }), node("b", "secondary", { nodeid = 4 })), "b")
  lu.assertEquals(successor(node("a", "secondary", { replication_quorum = false }),
    node("b", "secondary", { nodeid = 7 })), "b")
end

function T.test_who_may_not_take_over_is_not_chosen()
  lu.assertNil(successor(node("a", "secondary", { candidate_priority = 0 })))
  lu.assertNil(successor(node("a", "secondary", { health = 0 })))
  lu.assertNil(successor(node("a", "catchingup"), node("b", "secondary", { goal = "maintenance" })))
end

function T.test_who_leads_leads_also_without_a_standby()
  lu.assertEquals(primary.name(formation(node("a", "maintenance"), node("b", "wait_primary"))), "b")
  lu.assertEquals(primary.name(formation(node("a", "single"))), "a")
  lu.assertNil(primary.name(formation(node("a", "primary", { goal = "draining" }), node("b", "secondary"))))
end

function T.test_resting_are_those_on_their_way_into_maintenance_too()
  local resting = settled.resting(formation(node("a", "primary"), node("b", "maintenance"),
    node("c", "secondary", { goal = "wait_maintenance" })))
  lu.assertEquals(resting, { b = true, c = true })
end

function T.test_a_node_that_the_inventory_lacks_is_named_with_those_it_has()
  local context = { inventory = { monitor = { name = "mon" }, nodes = { { name = "pgaf-1" }, { name = "pgaf-2" } } } }
  lu.assertEquals(operate.entry(context, "pgaf-2", true).name, "pgaf-2")
  lu.assertEquals(operate.entry(context, "mon").name, "mon")
  for name, hint in pairs { ["pgaf-3"] = "did you mean pgaf-1?", mon = "no data node mon. There are: pgaf-1" } do
    local ok, problem = pcall(operate.entry, context, name, true)
    lu.assertFalse(ok)
    lu.assertEquals(problem.kind, "usage")
    lu.assertStrContains(problem.message, hint)
  end
  lu.assertEquals(operate.names(context, "pgaf-1"), { "pgaf-2" })
end

-- ---------------------------------------------------------------------------------------------------------- settings

local function row(changes)
  local made = {
    name = "x", setting = "200", shown = "200ms", unit = "ms", vartype = "integer", min = "1", max = "999999",
  }
  for key, value in pairs(changes or {}) do made[key] = value end
  return made
end

function T.test_the_same_value_in_other_words_does_not_differ()
  lu.assertFalse(settings.compare("n", row(), "200ms").differs)
  lu.assertFalse(settings.compare("n", row(), "0.2s").differs)
  lu.assertFalse(settings.compare("n", row(), 200).differs)
  lu.assertFalse(settings.compare("n", row { vartype = "bool", setting = "on", shown = "on" }, true).differs)
  local enum = row { vartype = "enum", setting = "remote_apply", shown = "remote_apply" }
  enum.enums = "{local,remote_apply}"
  lu.assertFalse(settings.compare("n", enum, "remote_apply").differs)
  lu.assertTrue(settings.compare("n", enum, "local").differs)
end

function T.test_what_differs_is_shown_beside_what_is_wanted()
  local found = settings.compare("n", row(), "5s")
  lu.assertEquals({ found.differs, found.value, found.wanted }, { true, "200ms", "5s" })
  lu.assertFalse(settings.compare("n", row(), nil).differs)
  lu.assertEquals(settings.unknown({ found }, { "x", "y" }), { "y" })
end

-- -------------------------------------------------------------------------------------------------------------- logs

local function texts(entries)
  local list = {}
  for i, entry in ipairs(entries) do list[i] = entry.text end
  return table.concat(list, " ")
end

function T.test_logs_are_merged_by_time_and_keep_each_nodes_order()
  local a = { { at = 1, text = "a1" }, { at = 5, text = "a5" }, { at = 4, text = "a4" } }
  local b = { { at = 2, text = "b2" }, { at = 5, text = "b5" } }
  lu.assertEquals(texts(logs.merge { a, b, {} }), "a1 b2 a5 a4 b5")
  lu.assertEquals(logs.merge {}, {})
end

function T.test_what_is_no_utf8_can_still_be_told()
  local line = json.decode(logs.json_line("n", (("\255x"):gsub("[\128-\255]", "?"))))
  lu.assertEquals({ line.node, line.text }, { "n", "?x" })
  lu.assertEquals(logs.line("n1", 4, "text"), "n1   | text")
  lu.assertEquals(logs.line("n1", 0, "text"), "text")
end

function T.test_a_clock_without_a_day_gets_one_from_the_file()
  local written = os.time { year = 2026, month = 3, day = 2, hour = 0, min = 0, sec = 9 }
  local entries = log_stream.dated({
    "no clock", "23:59:58 1 INFO  before midnight", "  goes on", "00:00:01 1 INFO  after", "00:00:09 1 INFO  last",
  }, written)
  local ages = {}
  for i, entry in ipairs(entries) do ages[i] = written - entry.at end
  lu.assertEquals(ages, { 11, 11, 11, 8, 0 })
end

function T.test_a_servers_lines_have_their_time_and_go_on()
  local entries = server_log.dated "2026-11-23 02:50:56.482 UTC [413] LOG:  one\n\tDETAIL of it\n"
  lu.assertEquals(#entries, 2)
  lu.assertEquals(os.date("!%Y-%m-%d %H:%M:%S", math.floor(entries[1].at)), "2026-11-23 02:50:56")
  lu.assertAlmostEquals(entries[1].at % 1, 0.482, 0.001)
  lu.assertEquals(entries[2].at, entries[1].at)
end

function T.test_the_last_lines_of_a_text()
  lu.assertEquals(log_stream.tail("a\nb\nc\n", 2), "b\nc\n")
  lu.assertEquals(log_stream.tail("a\nb\nc", 2), "b\nc")
  lu.assertEquals(log_stream.tail("a\nb\n", 5), "a\nb\n")
  lu.assertEquals(log_stream.tail("a\n\nb\n", 2), "\nb\n")
  lu.assertEquals(log_stream.tail("", 2), "")
  lu.assertEquals(log_stream.tail("a\n", 0), "")
end

function T.test_lines_come_whole_whatever_the_pieces_are()
  local pieces, stopped = { "on", "e\ntwo\nth", "ree" }, 0
  local stream = log_stream.new(function() return table.remove(pieces, 1) end, function() stopped = stopped + 1 end)
  local lines = {}
  for line in stream.next, stream do lines[#lines + 1] = line end
  lu.assertEquals(lines, { "one", "two", "three" })
  stream:close()
  stream:close()
  lu.assertEquals(stopped, 1)
end

local function append(path, text)
  local file = assert(io.open(path, "a"))
  file:write(text)
  file:close()
end

function T.test_a_local_log_is_followed_also_into_another_file_of_its_name()
  local folder = fs.mkdtemp "pgafrun-log-"
  local path = folder .. "/autoctl.log"
  local service = LocalService.new { name = "n", base = folder, paths = function() return { log = path } end }
  lu.assertEquals(service:entries(5), {})
  append(path, "10:00:00 1 INFO  one\n10:00:01 1 INFO  two\nhal")
  lu.assertEquals(service:logs(2), "10:00:01 1 INFO  two\nhal")
  local entries = service:entries(3)
  lu.assertEquals({ #entries, entries[2].at - entries[1].at, entries[3].text }, { 3, 1, "hal" })
  local stream <close> = service:follow(2)
  lu.assertEquals(stream:next(), "10:00:01 1 INFO  two")
  append(path, "f\n")
  lu.assertEquals(stream:next(), "half")
  fs.remove(path)
  append(path, "new\n")
  lu.assertEquals(stream:next(), "new")
  fs.remove_tree(folder)
end

test.run("operate", T)

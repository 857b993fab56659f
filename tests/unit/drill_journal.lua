local fs = require "pgafrun.fs"
local journal = require "pgaf.drill.journal"
local process = require "pgafrun.process"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

-- Journals go below XDG_STATE_HOME: these into a folder of their own.
local state = fs.mkdtemp "pgafrun-journal-"
local real_getenv = process.getenv
function process.getenv(name) -- luacheck: ignore 122
  return name == "XDG_STATE_HOME" and state or real_getenv(name)
end

local INVENTORY = { formation = "f", provider = { kind = "local", root = "/x" } }

local function begin() return journal.begin(INVENTORY, { primary = "a", fault = "kill" }) end

function T.tearDown()
  fs.remove_tree(state)
  fs.mkdir(state)
end

function T.test_a_journal_survives_as_it_was_written()
  local made = begin()
  made:about_to_break("a", "start")
  local open = journal.open_runs(INVENTORY)
  lu.assertEquals(#open, 1)
  lu.assertEquals(open[1].run, made.run)
  lu.assertEquals(open[1].broken, { { id = 1, node = "a", undo = "start" } })
  lu.assertEquals(open[1].opened.table_name, made.opened.table_name)
  lu.assertStrContains(open[1]:describe(), "not put back: a (to start)")
end

function T.test_closed_runs_are_not_open()
  local made = begin()
  made:undone(made:about_to_break("a", "start"))
  lu.assertEquals(journal.open_runs(INVENTORY)[1].broken, {})
  made:close "put back"
  lu.assertEquals(#journal.open_runs(INVENTORY), 0)
end

function T.test_a_node_may_be_broken_twice_and_undone_once()
  local made = begin()
  local cut = made:about_to_break("a", "heal")
  made:about_to_break("a", "remove_file", { path = "/x" })
  made:undone(cut)
  local found = journal.open_runs(INVENTORY)[1]
  lu.assertEquals(found.broken, { { id = 2, node = "a", undo = "remove_file", with = { path = "/x" } } })
  lu.assertEquals(found:about_to_break("b", "start").id, 3)
end

function T.test_a_formation_of_the_same_name_elsewhere_is_another()
  begin()
  local other = { formation = "f", provider = { kind = "local", root = "/y" } }
  lu.assertEquals(#journal.open_runs(other), 0)
end

function T.test_a_line_without_a_number_is_still_to_be_undone()
  local made = begin()
  fs.append(made.folder .. "/journal", '{"what":"breaking","node":"b"}\n')
  local found = journal.open_runs(INVENTORY)[1]
  lu.assertEquals(found.broken, { { id = 1, node = "b", undo = "start" } })
end

function T.test_a_line_that_was_cut_off_does_not_spoil_the_next()
  local made = begin()
  made:about_to_break("a", "start")
  fs.append(made.folder .. "/journal", '{"what":"undo')
  local found = journal.open_runs(INVENTORY)[1]
  lu.assertEquals(#found.broken, 1)
  found:undone(found.broken[1])
  found:close "restored"
  lu.assertEquals(#journal.open_runs(INVENTORY), 0)
end

function T.test_a_journal_cut_off_in_its_first_line_broke_nothing()
  local folder = journal.folder(INVENTORY) .. "/20250101T000000Z-0000"
  fs.mkdir(folder)
  fs.append(folder .. "/journal", '{"what":"ope')
  lu.assertEquals(#journal.open_runs(INVENTORY), 0)
end

function T.test_journals_are_private()
  local made = begin()
  lu.assertEquals(fs.stat(made.folder .. "/journal").mode & tonumber("77", 8), 0)
  lu.assertEquals(fs.stat(made.folder).mode & tonumber("77", 8), 0)
end

function T.test_run_names_are_fit_for_a_table()
  lu.assertTrue(begin().opened.table_name:match "^drill_[0-9a-z_]+$" ~= nil)
end

local ok, problem = pcall(test.run, "drill journal", T)
fs.remove_tree(state)
if not ok then _G.error(problem, 0) end

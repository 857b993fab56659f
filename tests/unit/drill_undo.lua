-- Which ways back there are.
local error = require "pgafrun.error"
local test = require "pgaf.test"
local undo = require "pgaf.drill.undo"
local lu = test.lu

local T = {}

function T.test_an_unknown_one_is_refused_with_what_was_meant()
  local ok, problem = pcall(undo.check, "strat")
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "usage"))
  lu.assertStrContains(problem.message, 'there is no undo "strat", did you mean "start"?')
  lu.assertStrContains(problem.hint, "continue, heal, power_off, remove_file, remove_snapshot")
end

function T.test_snapshots_go_last_and_only_from_a_node_that_is_ours()
  lu.assertTrue(undo.is_last "remove_snapshot")
  lu.assertFalse(undo.is_last "restore_snapshot")
  for status, removed in pairs { running = { "s" }, stopped = { "s" }, absent = {}, foreign = {} } do
    local ran = {}
    local node = {
      name = "n1", status = function() return status end, remove_snapshot = function(_, name) ran[#ran + 1] = name end,
    }
    undo.perform({ node = "n1", undo = "remove_snapshot", with = { name = "s" } }, node)
    lu.assertEquals(ran, removed)
  end
end

-- What is not a way back, though the module has it, is none.
function T.test_a_function_of_the_module_is_no_undo()
  lu.assertFalse((pcall(undo.check, "check")))
  lu.assertFalse((pcall(undo.perform, { node = "n1", undo = "perform" }, {})))
end

function T.test_it_is_performed_with_what_it_needs()
  local ran = {}
  local service = { status = function() return "running" end }
  local node = {
    name = "n1", status = function() return "running" end, start = function() end,
    run = function(_, script) ran[#ran + 1] = script end, service = function() return service end,
  }
  undo.perform({ node = "n1", undo = "remove_file", with = { path = "/a b" } }, node)
  lu.assertEquals(ran, { "rm -f -- '/a b'" })
end

test.run("drill_undo", T)

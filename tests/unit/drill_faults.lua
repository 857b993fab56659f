-- The project's own faults: each can be loaded, and is in the documentation's catalogue.
local faults = require "pgaf.drill.fault"
local fs = require "pgafrun.fs"
local program = require "pgafrun.program"
local test = require "pgaf.test"
local undo = require "pgaf.drill.undo"
local lu = test.lu

local T = {}

function T.test_each_is_whole_and_documented()
  local text = fs.read(program.roots[1] .. "/docs/writing-a-drill.md")
  local _, names = faults.catalogue()
  lu.assertTrue(#names >= 24)
  for _, name in ipairs(names) do
    local fault = faults.load(name)
    lu.assertEquals(fault.name, name)
    lu.assertStrContains(text, ("| `%s` | %s |"):format(name, fault.title))
  end
end

-- What a fault says to break it can be put back by, for all that it names is only seen when it is run.
function T.test_each_names_an_undo_that_there_is()
  local paths = faults.catalogue()
  for _, path in pairs(paths) do
    for name in fs.read(path):gmatch 'drill:breaks%([^,]+, "([%w_]+)"' do undo.check(name) end
  end
end

function T.test_a_fault_is_found_by_its_files_name_too()
  lu.assertEquals(faults.load("power_cut").name, "power-cut")
  local ok, problem = pcall(faults.load, "pwer-cut")
  lu.assertFalse(ok)
  lu.assertStrContains(problem.message, 'did you mean "power-cut"?')
end

test.run("drill_faults", T)

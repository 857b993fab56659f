-- Unit tests of scripts, inside pgafrun, by luaunit:
--
--     local test = require "pgaf.test"
--     local lu = test.lu
--     local T = {}
--     function T.test_addition() lu.assertEquals(1 + 1, 2) end
--     test.run("sums", T)

local test = {}

-- luaunit asks for globals that may not exist, and sets one by mistake: it gets its own, or both would be errors here.
local globals = setmetatable({}, { __index = function(_, name) return rawget(_G, name) end })
globals._G = globals
local path = assert(package.searchpath("luaunit", package.path))
local load_luaunit = assert(loadfile(path, "t", globals))

---luaunit itself, for its assertions.
test.lu = load_luaunit "luaunit"

---Runs the functions of the table whose names begin with "test", and ends the script: exit code 0, or the number of
---failures.
---setUp and tearDown run before and after each.
---@param name string
---@param tests table<string, function>
function test.run(name, tests)
  local runner = test.lu.LuaUnit.new()
  runner:setOutputType("text")
  os.exit(math.min(runner:runSuiteByInstances { { name, tests } }, 99))
end

return test

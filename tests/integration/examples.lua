-- Every example runs and says what it promises.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local test = require "pgaf.test"

local lu = test.lu
local pgafrun = process.getenv "PGAFRUN_TEST_BINARY"
local folder = program.roots[1] .. "/examples"

-- What an example prints; those that are not here need only end well.
local PRINTS = {
  ["errors.lua"] = "not there, as expected: fs.read\n",
  ["group.lua"] = "the answer is 42\nhello from the quick one\nhello from the slow one\n",
  ["processes.lua"] = "3 from the script\nLinux\n",
  ["put_back.lua"] = "breaking it\nwhole again\n",
  ["timeout.lua"] = "in time: false\tdeadline: true\n",
}

local T = {}

for _, name in ipairs(fs.list(folder)) do
  if name:match "%.lua$" then
    T["test_" .. name:gsub("%W", "_")] = function()
      local r = process.run { pgafrun, folder .. "/" .. name }
      lu.assertEquals({ r.code, r.stderr }, { 0, "" })
      lu.assertEquals(r.stdout, PRINTS[name] or r.stdout)
    end
  end
end

function T.test_there_are_examples() lu.assertTrue(next(PRINTS) ~= nil and #fs.list(folder) >= 5) end

test.run("examples", T)

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
  ["inventory.lua"] = "monitor\tred\tautumn\none\torange\tautumn\ntwo\tgreen\tautumn\n" ..
    "postgres.version = 15, from -e\napplication.password = <secret>, from common.lua:5\n" ..
    "candidate_priority = 80, from group warm (lab.lua:4)\ncolor = green, from host two (common.lua:4)\n",
  ["processes.lua"] = "3 from the script\nLinux\n",
  ["put_back.lua"] = "breaking it\nwhole again\n",
  ["timeout.lua"] = "in time: false\tdeadline: true\n",
}

-- Lines that are among what an example prints, in this order; times and the names of folders differ from run to run.
local SAYS = {
  ["machine.lua"] = { "^[%w/ ]+.*%(%w+%), %d+ processors$", "^packages known: " },
  ["play_check.lua"] = {
    "^nothing is there yet:$", " would +folder ", " would +settings ",
    " deferred +log level .*would run after settings on app",
    "^2 would change, 1 would run after them, nothing was touched", "^made:$", "^3 changes in",
    "would +settings", "%-port = 8080$", "%+port = 80$", "^1 would change, nothing was touched",
  },
  ["play_from_playbooks.lua"] = {
    "^restarted$", "^told$", "^after the handlers$", "^always$", "guarded +b +rescued", "^said by a\t3\tfalse$",
    "^  a +ok 4 +changed 4 +failed 0", "^  b +ok 3 +changed 3 +failed 0", "^failed: false$",
  },
  ["play_handlers.lua"] = { "changed +restart", "^3 changes", "^nothing changed", "^restarts: 1$" },
  ["play_mistakes.lua"] = {
    "^the play cannot be run:$", 'play_mistakes.lua:11: .*parameter "pth", did you mean "path"',
    'play_mistakes.lua:15: .*no resource "servcie", did you mean "service"', 'play_mistakes.lua:13: .*group "servers"',
    'play_mistakes.lua:13: .*"pages".*did you mean "page"',
  },
  ["play_results.lua"] = { "again +answer +a +attempt 1", "^the answer is 42, after 3 attempts$" },
  ["play_steps.lua"] = {
    "changed +folder", "changed +page", "changed +list of pages +web%-1 +listed", "^5 changes", "^once more:$",
    "^nothing changed",
  },
  ["template.lua"] = {
    "^# application$", "^server 10.0.0.1:5432$", "^server 10.0.0.2:5433 backup$", "^log = 'it''s here'$",
    '^servers.tmpl:6: there is no value "log"$',
  },
}

local function assert_says(output, patterns)
  local next_one = 1
  for line in output:gmatch "[^\n]*" do
    if patterns[next_one] and line:find(patterns[next_one]) then next_one = next_one + 1 end
  end
  lu.assertNil(patterns[next_one], ("no line like %s, or not in its place, in\n%s"):format(
    tostring(patterns[next_one]), output))
end

local T = {}

for _, name in ipairs(fs.list(folder)) do
  if name:match "%.lua$" then
    T["test_" .. name:gsub("%W", "_")] = function()
      local r = process.run { pgafrun, folder .. "/" .. name }
      lu.assertEquals({ r.code, r.stderr }, { 0, "" })
      lu.assertEquals(r.stdout, PRINTS[name] or r.stdout)
      assert_says(r.stdout, SAYS[name] or {})
    end
  end
end

function T.test_there_are_examples() lu.assertTrue(next(PRINTS) ~= nil and #fs.list(folder) >= 5) end

test.run("examples", T)

-- Looking into a run that is under way: from another process, at a breakpoint, and where a task fails.

local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local net = require "pgafrun.net"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local wire = require "pgaf.attach.wire"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local terminals = dofile(here .. "/support/terminal.lua")
local lu = test.lu
local pgafrun = process.getenv "PGAFRUN_TEST_BINARY"

local LONG = 60 -- seconds; nothing here takes as long on a machine that works

local T = {}
local folder

function T.setUp()
  folder = fs.mkdtemp "pgafrun-attach"
end

function T.tearDown() fs.remove_tree(folder) end

local function environment() return { XDG_RUNTIME_DIR = folder, PGAFRUN_ATTACHABLE = "0" } end

local function run(...)
  return process.run { pgafrun, extend_env = environment(), timeout = LONG, ... }
end

-- Waits until f returns something.
local function until_so(f)
  return task.timeout(LONG, function()
    while true do
      local value = f()
      if value then return value end
      task.sleep(0.01)
    end
  end)
end

local Target = {}
Target.__index = Target

-- A run of its own with the script; `go` is exposed, and the script goes on when go.on is true.
local PREAMBLE = [[
local task, program = require "pgafrun.task", require "pgafrun.program"
local go = {}
program.expose("go", go)
local function wait_for_it() repeat task.sleep(0.01) until go.on end
]]

-- A socket has its name a moment before it is listened at.
local function listens(path)
  local ok, connection = fs.stat(path) ~= nil
  if ok then ok, connection = pcall(net.connect, path) end
  if ok then connection:close() end
  return ok
end

local function start(script, ...)
  fs.write(folder .. "/target.lua", PREAMBLE .. script)
  local options = { pgafrun, "--attachable", ... }
  options[#options + 1] = folder .. "/target.lua"
  options.output, options.extend_env = folder .. "/output", environment()
  local child = process.daemon(options)
  local self = setmetatable({ child = child }, Target)
  self.socket = ("%s/pgafrun/target-%d.sock"):format(folder, child.pid)
  until_so(function() return listens(self.socket) or child:wait(0) end)
  return self
end

function Target.output() return fs.read(folder .. "/output") end

-- Its end as it came by itself.
function Target:ended()
  local exit = self.child:wait(LONG)
  lu.assertNotNil(exit, "the run does not end: " .. self.output())
  lu.assertNil(fs.stat(self.socket), "its socket was left behind")
  return exit
end

function Target:__close()
  if not self.child:wait(0) then process.kill(self.child.pid, "KILL") end
  self.child:wait(LONG)
end

-- A client that sees each message.
local function connect(target)
  local connection = net.connect(target.socket)
  return wire.new(connection), connection
end

-- Reads up to the next prompt of that name; what was shown on the way.
local function shown_until(from, prompt)
  local texts = {}
  return task.timeout(LONG, function()
    while true do
      local message = from:receive()
      if not message then lu.fail("the connection ended after " .. table.concat(texts)) end
      if message.type == "output" then texts[#texts + 1] = message.text end
      if message.type == "prompt" and message.text == prompt then return table.concat(texts) end
    end
  end)
end

local function ask(from, line, prompt)
  from:send { type = "line", text = line }
  return shown_until(from, prompt or "attached> ")
end

-- ------------------------------------------------------------------------------------------------------ attaching

function T.test_a_run_is_listed_looked_into_and_left_alone()
  local target <close> = start [[
    local drill = { timeline = { export = function()
      return { { seconds = 1.5, source = "drill", node = "pgaf-1", text = "fault sent" } }
    end } }
    program.expose("drill", drill)
    local group <close> = task.group { name = "workers" }
    group:spawn_named("worker", task.sleep, 600)
    wait_for_it()
    group:cancel()
    print "by itself"
    return 3]]
  local found = json.decode(run("attach", "--json").stdout)
  lu.assertEquals({ found.name, found.pid, found.socket }, { "target", target.child.pid, target.socket })
  lu.assertStrContains(run("attach").stdout, tostring(target.child.pid))

  local r = run("attach", "target", "-c", ":tasks", "-c", ":timeline", "-c", ":handles", "-c", "1 + 1", "-c", ":quit")
  lu.assertEquals(r.code, 0, r.stderr)
  lu.assertStrContains(r.stdout, "worker")
  lu.assertStrContains(r.stdout, "task.sleep")
  lu.assertStrContains(r.stdout, "target.lua:")
  lu.assertStrMatches(r.stdout, ".*%+1%.500 s  drill    pgaf%-1       fault sent.*")
  lu.assertStrContains(r.stdout, target.socket)
  lu.assertStrContains(r.stdout, "\n2\n")

  local bad = run("attach", tostring(target.child.pid), "-c", "no_such_name")
  lu.assertEquals(bad.code, 1)
  lu.assertStrContains(bad.stdout, "no_such_name")
  local piped = process.run {
    pgafrun, "attach", target.socket, stdin = "go.on = true\n", extend_env = environment(), timeout = LONG,
  }
  lu.assertEquals(piped.code, 0, piped.stderr)
  lu.assertEquals(target:ended().code, 3)
  lu.assertEquals(target.output(), "by itself\n")
end

function T.test_what_is_refused_says_why()
  lu.assertEquals(run("attach").stdout, "no run can be attached to: start one with --attachable\n")
  local none = run("attach", "nothing")
  lu.assertEquals(none.code, 64)
  lu.assertStrContains(none.stderr, "no run nothing can be attached to")
  local gone = run("attach", folder .. "/gone.sock")
  lu.assertEquals(gone.code, 1)
  lu.assertStrContains(gone.stderr, "ENOENT")
  -- a folder that others can write to is no place for a socket
  fs.mkdir(folder .. "/pgafrun", tonumber("755", 8))
  local r = run("--attachable", "-e", "print 'begun'")
  lu.assertEquals({ r.code, r.stdout }, { 1, "" })
  lu.assertStrContains(r.stderr, "with mode 0755")
end

function T.test_what_a_killed_run_left_is_removed()
  local target = start "wait_for_it()"
  process.kill(target.child.pid, "KILL")
  target.child:wait(LONG)
  lu.assertNotNil(fs.stat(target.socket))
  lu.assertStrContains(run("attach").stdout, "no run")
  lu.assertNil(fs.stat(target.socket))
end

function T.test_another_user_is_refused_on_both_sides()
  if process.self().uid ~= 0 then return lu.skip "only root can be another user" end
  local target <close> = start "wait_for_it()"
  -- as if somebody had opened the doors
  for _, path in ipairs { folder, folder .. "/pgafrun" } do fs.chmod(path, tonumber("755", 8)) end
  fs.chmod(target.socket, tonumber("666", 8))
  local r = process.run {
    "setpriv", "--reuid", "65534", "--clear-groups", pgafrun, "attach", target.socket, "-c", "go.on = true",
    extend_env = environment(),
  }
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stderr, "is not to be attached to by user 65534")
  until_so(function() return target.output():find("was refused: this run is user 0's", 1, true) end)
  -- with the doors as they are, they do not even get there
  fs.chmod(target.socket, tonumber("600", 8))
  local closed = process.run {
    "setpriv", "--reuid", "65534", "--clear-groups", pgafrun, "attach", target.socket, extend_env = environment(),
  }
  lu.assertStrContains(closed.stderr, "EACCES")
end

-- ----------------------------------------------------------------------------------------------- clients that fail

function T.test_a_client_that_vanishes_or_hangs_disturbs_nobody()
  local target <close> = start [[
    go.evaluated = "nothing"
    wait_for_it()
    print(go.evaluated)]]
  local from, connection = connect(target)
  shown_until(from, "attached> ")
  from:send { type = "line", text = [[
    do local _ <close> = setmetatable({}, { __close = function() go.evaluated = "ended" end }) task.sleep(600) end]] }
  local hanging = connect(target)
  shown_until(hanging, "attached> ")
  -- shows without end, and nobody reads it
  hanging:send { type = "line", text = "while true do print(('x'):rep(1000)) task.yield() end" }
  local noise = net.connect(target.socket)
  noise:write "this is no JSON\n"
  connection:close()
  local other = connect(target)
  shown_until(other, "attached> ")
  until_so(function() return ask(other, "go.evaluated"):find("ended", 1, true) end)
  ask(other, "go.on = true")
  lu.assertEquals(target:ended().code, 0)
  lu.assertStrContains(target.output(), "ended")
end

function T.test_an_input_can_be_interrupted_and_cannot_keep_the_run_waiting()
  local target <close> = start "wait_for_it()"
  local from = connect(target)
  shown_until(from, "attached> ")
  from:send { type = "line", text = "task.sleep(600)" }
  from:send { type = "interrupt" }
  lu.assertStrContains(shown_until(from, "attached> "), "interrupted")
  lu.assertStrContains(ask(from, "while true do end"), "computes without waiting")
  from:send { type = "complete", text = "task.handl" }
  lu.assertStrContains(until_so(function()
    local message = from:receive()
    return message.type == "completion" and message.replaced
  end), "task.handles")
  lu.assertStrContains(ask(from, "for i = 1, 2 do", ".. "), "")
  lu.assertStrContains(ask(from, "end"), "")
  ask(from, "go.on = true")
  until_so(function() return from:receive().type == "bye" end)
  lu.assertEquals(target:ended().code, 0)
end

function T.test_tab_offers_what_the_other_process_knows()
  local target <close> = start "go.number = 1 wait_for_it()"
  local terminal <close> = terminals.open {
    PGAFRUN_PATH = program.roots[1], PGAFRUN = pgafrun, XDG_RUNTIME_DIR = folder,
    ASAN_OPTIONS = process.getenv "ASAN_OPTIONS",
  }
  terminal:enter "$PGAFRUN attach target"
  terminal:wait "\nattached>"
  terminal:type "go.numb"
  terminal:press "Tab"
  terminal:type " + 41"
  terminal:wait "attached> go.number + 41"
  terminal:press "Enter"
  terminal:wait "\n42\n"
  -- what nobody knows stays as it was typed
  terminal:type "nobody_knows"
  terminal:press "Tab"
  terminal:type "_it"
  terminal:wait "attached> nobody_knows_it"
  terminal:press("C-c", "C-d")
  terminal:wait "the run goes on"
  local from = connect(target)
  ask(from, "go.on = true")
  lu.assertEquals(target:ended().code, 0)
end

function T.test_a_run_can_be_asked_to_end()
  local target <close> = start [[
    local _ <close> = setmetatable({}, { __close = function()
      task.shield(10, task.sleep, 0.01)
      print "put back"
    end })
    task.sleep(600)]]
  run("attach", "target", "-c", ":abort")
  lu.assertEquals(target:ended().code, 130)
  lu.assertStrContains(target.output(), "put back")
end

-- ------------------------------------------------------------------------------------------- tasks that stand still

function T.test_a_breakpoint_is_answered_from_another_process()
  local target <close> = start [[
    local ticks, up = 0, "before"
    local group <close> = task.group()
    group:spawn(function()
      while true do
        task.sleep(0.001)
        ticks = ticks + 1
      end
    end)
    program.expose("ticks", function() return ticks end)
    local function step(x)
      local y = x + 1
      breakpoint()
      return y, up
    end
    wait_for_it()
    print(step(1))
    group:cancel()]]
  local from = connect(target)
  shown_until(from, "attached> ")
  from:send { type = "line", text = "go.on = true" }
  local told = shown_until(from, "stopped> ")
  lu.assertStrContains(told, "breakpoint at ")
  lu.assertStrContains(told, "task main")
  lu.assertStrContains(ask(from, "x, y, up", "stopped> "), '1\n2\n"before"')
  lu.assertStrMatches(ask(from, ":locals", "stopped> "), ".*local +x = 1\nlocal +y = 2\nupvalue +up = \"before\".*")
  lu.assertStrContains(ask(from, ":bt", "stopped> "), ">  1  ")
  lu.assertStrContains(ask(from, ":frame 99", "stopped> "), "a number from 1 to")
  ask(from, "y = 40", "stopped> ")
  ask(from, "up = 'after'", "stopped> ")
  -- the others go on meanwhile
  local function ticks()
    return tonumber(ask(from, "require('pgafrun.program').exposed.ticks()", "stopped> "):match "^%d+")
  end
  local before = ticks()
  until_so(function() return ticks() > before end)
  from:send { type = "line", text = ":continue" }
  lu.assertEquals(target:ended().code, 0)
  lu.assertStrContains(target.output(), "40\tafter")
end

function T.test_a_client_that_vanishes_lets_the_stopped_task_go_on()
  local target <close> = start [[
    wait_for_it()
    local order = { 2, 1 }
    table.sort(order, function(a, b)
      breakpoint() -- where nothing can wait
      return a < b
    end)
    print "sorted"]]
  local from, connection = connect(target)
  shown_until(from, "attached> ")
  from:send { type = "line", text = "go.on = true" }
  shown_until(from, "stopped> ")
  connection:close()
  lu.assertEquals(target:ended().code, 0)
  lu.assertStrContains(target.output(), "sorted")
end

function T.test_a_failure_is_looked_into_before_anything_is_undone()
  local target <close> = start([[
    wait_for_it()
    local group <close> = task.group()
    group:spawn_named("sibling", function()
      local _ <close> = setmetatable({}, { __close = function() print "sibling undone" end })
      task.sleep(600)
    end)
    group:spawn_named("worker", function()
      local _ <close> = setmetatable({}, { __close = function() print "worker undone" end })
      local wanted = { port = 5432 }
      pcall(error, "handled")                        -- nothing to look at
      task.timeout(60, function() return wanted.host.name end)
    end)]], "--break-on-failure")
  local from = connect(target)
  shown_until(from, "attached> ")
  from:send { type = "line", text = "go.on = true" }
  lu.assertStrContains(shown_until(from, "stopped> "), "task worker failed: ")
  lu.assertStrContains(ask(from, "wanted.port", "stopped> "), "5432")
  lu.assertStrContains(ask(from, "_err.kind", "stopped> "), "script")
  lu.assertStrContains(ask(from, ":error", "stopped> "), "attempt to index a nil value (field 'host')")
  lu.assertStrContains(ask(from, ":tasks", "stopped> "), "sibling")
  lu.assertEquals(target.output(), "")
  from:send { type = "line", text = ":continue" }
  lu.assertEquals(target:ended().code, 1)
  lu.assertStrContains(target.output(), "worker undone\nsibling undone\n")
end

function T.test_without_a_terminal_it_is_told_and_passed()
  local r = run("--break-on-failure", "-e", "breakpoint() print 'on' error 'off'")
  lu.assertEquals({ r.code, r.stdout }, { 1, "on\n" })
  lu.assertStrContains(r.stderr, "breakpoint at (command line):1")
  lu.assertStrContains(r.stderr, "task main failed: ")
  lu.assertStrContains(r.stderr, "neither a terminal nor an attached prompt")
end

-- script(1) makes a terminal of its own, and types what it reads.
local function on_a_terminal(code, typed, ...)
  fs.write(folder .. "/typed.lua", code)
  local words = { pgafrun, ... }
  words[#words + 1] = folder .. "/typed.lua"
  local command = table.concat(words, " ")
  return process.run {
    "script", "--quiet", "--return", "--command", command, "/dev/null", stdin = typed, timeout = LONG,
    extend_env = { TERM = "xterm" },
  }
end

function T.test_a_breakpoint_on_a_terminal()
  local r = on_a_terminal("local x = 1\nbreakpoint()\nprint('x is ' .. x)\n", "x = x + 41\n:continue\n")
  lu.assertEquals(r.code, 0, r.stdout)
  lu.assertStrContains(r.stdout, "stopped> ")
  lu.assertStrContains(r.stdout, "x is 42")
end

function T.test_a_failure_on_a_terminal_can_abort_the_run()
  local r = on_a_terminal([[
    local task = require "pgafrun.task"
    local _ <close> = setmetatable({}, { __close = function() print "put back" end })
    local group <close> = task.group()
    group:spawn(function() local found = 7 error("found " .. found) end)
    task.sleep(600)]], "found * 6000 + 17\n:abort\n", "--break-on-failure")
  lu.assertEquals(r.code, 1, r.stdout)
  lu.assertStrContains(r.stdout, "42017")
  lu.assertStrContains(r.stdout, "put back")
end

function T.test_a_step_of_a_play_that_fails_is_looked_into()
  local r = on_a_terminal([[
    local here, play = require "pgaf.here", require "pgaf.play"
    local p = play.new { title = "This machine", targets = { here.target "this" } }
    p:step { "fails", run = function()
      local wanted = { port = 5432 }
      return wanted.host.name
    end }
    return play.main(p, {})]], "wanted.port * 2\n:c\n", "--break-on-failure")
  lu.assertEquals(r.code, 1, r.stdout)
  lu.assertStrContains(r.stdout, "task fails on this failed: ")
  lu.assertStrContains(r.stdout, "10864")
  lu.assertStrContains(r.stdout, "1 failed")
end

function T.test_a_breakpoint_at_a_prompt()
  local r = process.run {
    "script", "--quiet", "--return", "--command", pgafrun .. " repl", "/dev/null", timeout = LONG,
    extend_env = { TERM = "xterm", XDG_STATE_HOME = folder },
    stdin = "function f(a) local b = a + 1 breakpoint() return b * 1000 end\nf(1)\nb = 41\n:c\n:quit\n",
  }
  lu.assertEquals(r.code, 0, r.stdout)
  lu.assertStrContains(r.stdout, "breakpoint at input:1")
  lu.assertStrContains(r.stdout, "41000")
end

test.run("attach", T)

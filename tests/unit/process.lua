local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local time = require "pgafrun.time"

local lu = test.lu

local T = {}

local function fails(kind, code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, kind, code), tostring(e))
  return e
end

-- Waits until it is true; a test that has to wait for another process has no other way.
local function eventually(condition)
  while not condition() do task.sleep(0.01) end
end

local function is_gone(pid)
  local ok, stat = pcall(fs.read, ("/proc/%d/stat"):format(pid))
  return not ok or stat:match ".*%) (.)" == "Z"
end

function T.test_an_exit_status_is_a_result()
  local r = process.run { "sh", "-c", "echo out; echo err >&2; exit 3" }
  lu.assertEquals(r.code, 3)
  lu.assertNil(r.signal)
  lu.assertEquals(r.stdout, "out\n")
  lu.assertEquals(r.stderr, "err\n")
  lu.assertTrue(r.seconds > 0)
  r = process.run { "sh", "-c", "kill -TERM $$" }
  lu.assertNil(r.code)
  lu.assertEquals(r.signal, 15)
end

function T.test_a_program_that_cannot_be_started_is_an_error()
  local e = fails("process", "ENOENT", process.run, { "no-such-program" })
  lu.assertStrContains(e.message, "no-such-program")
  lu.assertStrMatches(e.where, ".*tests/unit/process.lua:%d+")
  fails("process", "EACCES", process.run, { "/etc/passwd" })
  fails("process", "ENOENT", process.run, { "true", cwd = "/no/such/directory" })
end

function T.test_stdin_is_text_or_a_function_that_may_wait()
  lu.assertEquals(process.run({ "cat", stdin = "a\0b" }).stdout, "a\0b")
  lu.assertEquals(process.run({ "cat", stdin = "" }).stdout, "")
  lu.assertEquals(process.run({ "cat" }).stdout, "")
  lu.assertEquals(process.run({ "cat", stdin = function() return "secret" end }).stdout, "secret")
  local function waiting() return process.run({ "echo", "deep" }).stdout end
  lu.assertEquals(process.run({ "cat", stdin = waiting }).stdout, "deep\n")
  fails("closed", nil, process.run, { "cat", stdin = function() error.raise { kind = "closed", message = "x" } end })
  lu.assertErrorMsgContains("'stdin' must be a string", process.run, { "cat", stdin = function() return 5 end })
  lu.assertEquals(process.run({ "true", stdin = ("x"):rep(1 << 20) }).code, 0)
end

function T.test_environment()
  local print_env = { "/usr/bin/env" }
  print_env.env = {}
  lu.assertEquals(process.run(print_env).stdout, "")
  print_env.env = { A = "1 2", B = "" }
  local seen = {}
  for line in process.run(print_env).stdout:gmatch "[^\n]+" do seen[#seen + 1] = line end
  table.sort(seen)
  lu.assertEquals(seen, { "A=1 2", "B=" })
  local r = process.run { "sh", "-c", 'echo "$PATH:$HOME:$A"', extend_env = { HOME = "/h", A = "a" } }
  lu.assertEquals(r.stdout, process.getenv "PATH" .. ":/h:a\n")
  lu.assertNil(process.getenv "PGAFRUN_NO_SUCH_VARIABLE")
end

function T.test_directory_and_umask()
  lu.assertEquals(process.run({ "sh", "-c", "pwd; umask", cwd = "/", umask = tonumber("027", 8) }).stdout, "/\n0027\n")
end

function T.test_output_is_limited()
  fails("limit", "max_bytes", process.run, { "yes", max_bytes = 1000 })
  lu.assertEquals(#process.run({ "head", "-c", "1000", "/dev/zero", max_bytes = 1000 }).stdout, 1000)
end

function T.test_a_time_limit_leaves_the_outcome_unknown()
  local e = fails("timeout", "timeout", process.run, { "sleep", "300", timeout = 0.05 })
  lu.assertEquals(e.message, "sleep did not end: the time limit of 0.05 s passed")
  lu.assertEquals(e.outcome, "unknown")
end

function T.test_cancelling_ends_the_whole_group()
  local directory = fs.mkdtemp "process-test-"
  local path = directory .. "/pid"
  local script = ('sleep 300 & echo $! >"%s.new"; mv "%s.new" "%s"; wait'):format(path, path, path)
  local pid
  do
    local group <close> = task.group()
    group:spawn(function() process.run { "sh", "-c", script } end)
    eventually(function() return fs.stat(path) end)
    pid = math.tointeger(fs.read(path):match "%d+")
    group:cancel()
  end
  eventually(function() return is_gone(pid) end)
  fs.remove_tree(directory)
end

function T.test_many_side_by_side()
  local sum = 0
  do
    local group <close> = task.group()
    for i = 1, 30 do
      group:spawn(function()
        local number = tonumber(process.run({ "echo", tostring(i) }).stdout)
        sum = sum + number
      end)
    end
  end
  lu.assertEquals(sum, 465)
end

function T.test_a_daemon()
  local directory = fs.mkdtemp "process-test-"
  local output = directory .. "/log"
  local child = process.daemon { "sh", "-c", "echo out; echo err >&2; read line; exit 5", output = output }
  lu.assertEquals(child:wait(), { code = 5 })
  lu.assertEquals(child:wait(0), { code = 5 })
  lu.assertEquals(fs.read(output), "out\nerr\n")
  lu.assertEquals(fs.stat(output).mode, tonumber("600", 8))
  child = process.daemon { "sleep", "300", output = output }
  lu.assertStrContains(tostring(child), tostring(child.pid))
  lu.assertNil(child:wait(0))
  lu.assertNil(child:wait(0.01))
  local session = process.run { "ps", "-o", "sid=", "-p", tostring(child.pid) }
  lu.assertEquals(session.stdout:match "%d+", tostring(child.pid))
  lu.assertTrue((process.kill(-child.pid, "TERM")))
  lu.assertEquals(child:wait(60), { signal = 15 })
  lu.assertEquals({ process.kill(child.pid, 0) }, { false, "ESRCH" })
  fails("process", "ENOENT", process.daemon, { "no-such-program", output = output })
  fails("file", "ENOENT", process.daemon, { "true", output = directory .. "/no/log" })
  fs.remove_tree(directory)
end

function T.test_a_daemon_that_nobody_holds_is_reaped()
  local pid = process.daemon({ "true", output = "/dev/null" }).pid
  collectgarbage()
  eventually(function() return not process.start_time(pid) end)
  lu.assertEquals({ process.kill(pid, 0) }, { false, "ESRCH" })
end

function T.test_a_daemon_outlives_the_program_that_started_it()
  local code = [[print(require "pgafrun.process".daemon { "sleep", "300", output = "/dev/null" }.pid)]]
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", "-e", code }
  lu.assertEquals(r.code, 0, r.stderr)
  local pid = math.tointeger(r.stdout:match "%d+")
  lu.assertFalse(is_gone(pid))
  process.kill(pid, "KILL")
end

function T.test_kill()
  lu.assertErrorMsgContains("everybody", process.kill, -1, "TERM")
  lu.assertErrorMsgContains("everybody", process.kill, 0, "TERM")
  lu.assertErrorMsgContains("no such signal", process.kill, 1, "TREM")
  lu.assertErrorMsgContains("no such signal", process.kill, 1, 1000)
  lu.assertErrorMsgContains("not a pid", process.kill, 1 << 40, 0)
  lu.assertEquals({ process.kill(process.self().pid, 0) }, { true })
end

function T.test_identity()
  local self = process.self()
  lu.assertEquals(fs.read "/proc/self/stat":match "^%d+", tostring(self.pid))
  lu.assertEquals(self.start_time, process.start_time(self.pid))
  lu.assertEquals(self.boot_id, fs.read "/proc/sys/kernel/random/boot_id":match "%S+")
  lu.assertEquals(self.user, process.run({ "id", "-un" }).stdout:match "%S+")
  lu.assertEquals(tostring(self.uid), process.run({ "id", "-u" }).stdout:match "%S+")
  lu.assertEquals(self.host, process.run({ "uname", "-n" }).stdout:match "%S+")
  lu.assertNil(process.start_time(1 << 40))
  lu.assertTrue(time.now() > 0)
end

function T.test_wrong_arguments_are_mistakes_of_the_script()
  local wrong = {
    ["[1] is missing"] = {}, ["[2] must be a string"] = { "a", 5 }, ["[1] must be a string"] = { "a\0b" },
    ["no option 'timout'"] = { "a", timout = 1 }, ["either env or extend_env"] = { "a", env = {}, extend_env = {} },
    ["'env' must be a table"] = { "a", env = 1 }, ["'env' must map names"] = { "a", env = { ["x=y"] = "z" } },
    ["'extend_env' must map names"] = { "a", extend_env = { x = 1 } },
    ["'timeout' must be a number"] = { "a", timeout = 0 },
    ["'umask' must be an integer"] = { "a", umask = -2 }, ["'max_bytes' must be"] = { "a", max_bytes = 1.5 },
    ["'stdin' must be a string"] = { "a", stdin = 1 }, ["'cwd' must be a string"] = { "a", cwd = true },
    ["empty program"] = { "" },
  }
  for message, options in pairs(wrong) do lu.assertErrorMsgContains(message, process.run, options) end
  lu.assertErrorMsgContains("'output' is missing", process.daemon, { "true" })
  lu.assertErrorMsgContains("table expected", process.run, "true")
end

test.run("process", T)

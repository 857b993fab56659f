-- Commands, shells, files and events of an Incus server that misbehaves. Commands are processes of this machine.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local client = require "pgaf.incus.client"
local events = require "pgaf.incus.events"
local exec = require "pgaf.incus.exec"
local files = require "pgaf.incus.files"
local instance = require "pgaf.incus.instance"
local session = require "pgaf.incus.session"
local shell = require "pgaf.shell"
local lu = test.lu

local server <close> = dofile(here .. "/support/incus_server.lua").start()
local c = client.open(server:remote())

local T = {}

local function expect(kind, code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok, "no error was raised")
  lu.assertTrue(error.is(e, kind, code), tostring(e))
  return e
end

function T.setUp()
  server:add "pgaf-1"
  server:misbehave()
end

local function run(options) return exec.run(c, "pgaf-1", options) end

local function sh(script, more)
  local options = { command = { "sh", "-c", script } }
  for key, value in pairs(more or {}) do options[key] = value end
  return run(options)
end

-- ---------------------------------------------------------------------------------------------------------- commands

function T.test_output_input_and_status()
  local r = sh("cat; echo err >&2; exit 3", { stdin = "a\0b\n", env = { X = "y" } })
  lu.assertEquals(r, { code = 3, stdout = "a\0b\n", stderr = "err\n" })
  lu.assertEquals(sh('printf %s "$X"', { env = { X = "y z" } }).stdout, "y z")
  lu.assertEquals(sh("cat", { stdin = function() return "secret" end }).stdout, "secret")
end

function T.test_much_output_and_input_are_whole()
  local data = ("0123456789abcdef"):rep(128 * 1024)
  local r = sh("tee /dev/stderr", { stdin = data })
  lu.assertEquals({ #r.stdout, #r.stderr }, { #data, #data })
  lu.assertEquals(crypto.sha256(r.stdout), crypto.sha256(data))
end

function T.test_a_command_need_not_read_its_input()
  lu.assertEquals(sh("echo done", { stdin = ("x"):rep(8 * 1024 * 1024) }).stdout, "done\n")
end

function T.test_126_and_127_are_statuses()
  lu.assertEquals(sh("exit 127").code, 127)
  lu.assertEquals(sh("exit 126").code, 126)
  lu.assertEquals(sh("kill -TERM $$").code, 143)
  lu.assertEquals(run({ command = { "/no/such/program" } }).code, 127)
end

function T.test_output_without_its_end_is_truncated()
  server:misbehave { truncate = 4 }
  local e = expect("truncated", nil, sh, "echo 12345678; sleep 5")
  lu.assertEquals({ e.outcome, e.result.stdout }, { "unknown", "1234" })
end

function T.test_a_control_socket_that_comes_too_late_does_no_harm()
  server:misbehave { late_control = true }
  lu.assertEquals(sh("echo fine").stdout, "fine\n")
end

function T.test_a_stream_that_cannot_be_connected()
  server:misbehave { no_socket = "2" }
  expect("timeout", nil, sh, "echo never", { timeout = 0.5 })
end

function T.test_a_late_command_is_killed_with_its_children()
  local marker = ("4%d"):format(math.random(100000, 999999))
  local e = expect("timeout", "command", sh, ("sleep %s & sleep %s"):format(marker, marker), { timeout = 0.3 })
  lu.assertEquals(e.outcome, "unknown")
  lu.assertEquals(sh("ps ax | grep -c '[s]leep " .. marker .. "'").stdout, "0\n")
end

function T.test_a_folder_is_entered_or_it_is_an_error()
  lu.assertEquals(sh("pwd", { cwd = "/usr" }).stdout, "/usr\n")
  local e = expect("command", "cwd", sh, "echo never", { cwd = "/no/such folder" })
  lu.assertStrContains(e.message, "/no/such folder")
  lu.assertEquals(sh("echo /no/such >&2; exit 125", { cwd = "/usr" }).code, 125)
end

function T.test_a_stopped_instance_runs_nothing()
  instance.of(c, "pgaf-1"):stop { force = true }
  expect("incus", "400", sh, "true")
end

-- ------------------------------------------------------------------------------------------------------------- shells

local function open_shell(more)
  local options = {
    name = "pgaf-1 as root", open = function() return session.open(c, "pgaf-1", { env = { FROM = "the session" } }) end,
  }
  for key, value in pairs(more or {}) do options[key] = value end
  return shell.new(options)
end

function T.test_a_shell_runs_one_script_after_the_other()
  local s <close> = open_shell()
  lu.assertEquals(s:run "echo out; echo err >&2; exit 3", { code = 3, stdout = "out\n", stderr = "err\n" })
  lu.assertEquals(s:run("printf %s \"$FROM$X\"", { env = { X = "'quoted'" } }).stdout, "the session'quoted'")
  lu.assertEquals(s:run("cd /usr; X=1; exec true").code, 0)
  lu.assertEquals(s:run("echo \"$X\"; [ \"$PWD\" != /usr ]"), { code = 0, stdout = "\n", stderr = "" })
  lu.assertEquals(s:run("if then").code, 2)
  lu.assertEquals(s:run("no-such-program").code, 127)
  lu.assertEquals(s:run("").code, 0)
  lu.assertEquals(s:run("# it's a comment").code, 0)
  lu.assertEquals(s.generation, 1)
end

function T.test_bytes_go_through_a_shell_unchanged()
  local s <close> = open_shell()
  local bytes = {}
  for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
  local data = table.concat(bytes):rep(1000) .. "\n\n"
  lu.assertEquals(crypto.sha256(s:run("cat", { stdin = data }).stdout), crypto.sha256(data))
  lu.assertEquals(s:run("head -c 3", { stdin = data }).stdout, "\0\1\2")
  lu.assertEquals(s:run(":", { stdin = data }).code, 0)
  lu.assertEquals(s:run("cat; echo end", { stdin = "" }).stdout, "end\n")
  lu.assertEquals(s:run("echo before; cat", { stdin = "input" }).stdout, "before\ninput")
  lu.assertEquals(s:run("printf 'no line end'").stdout, "no line end")
  lu.assertEquals(#s:run("head -c 3000000 /dev/zero").stdout, 3000000)
  lu.assertEquals(s.generation, 1)
end

function T.test_scripts_of_many_tasks_take_turns()
  local s <close> = open_shell()
  local group <close> = task.group()
  for i = 1, 20 do
    group:spawn(function() lu.assertEquals(s:run("echo $((" .. i .. " * 2))").stdout, 2 * i .. "\n") end)
  end
  group:wait()
  lu.assertEquals(s.generation, 1)
end

function T.test_a_late_script_is_killed_and_the_next_has_a_new_shell()
  local s <close> = open_shell()
  local marker = ("4%d"):format(math.random(100000, 999999))
  local e = expect("timeout", "script", s.run, s, ("sleep %s & sleep %s"):format(marker, marker), { timeout = 0.3 })
  lu.assertEquals(e.outcome, "unknown")
  lu.assertEquals(s:run("ps ax | grep -c '[s]leep " .. marker .. "'").stdout, "0\n")
  lu.assertEquals(s.generation, 2)
end

function T.test_a_cancelled_script_gives_its_turn_back()
  local s <close> = open_shell()
  do
    local group <close> = task.group()
    local first = group:spawn(s.run, s, "sleep 1000")
    local second = group:spawn(s.run, s, "echo never")
    local third = group:spawn(function() return s:run "echo third".stdout end)
    task.sleep(0.1)
    second:cancel()
    first:cancel()
    lu.assertEquals(third:wait(), "third\n")
  end
end

function T.test_a_lost_shell_says_whose_it_was()
  local s <close> = open_shell()
  local e = expect("closed", nil, s.run, s, "echo before; kill -KILL $$; sleep 5")
  lu.assertStrContains(e.operation, "pgaf-1 as root")
  lu.assertEquals({ e.outcome, e.stdout }, { "unknown", "before\n" })
  lu.assertEquals(s:run("echo again").stdout, "again\n")
end

function T.test_a_shell_lost_while_idle_is_opened_again()
  local s <close> = open_shell()
  local i = instance.of(c, "pgaf-1")
  s:run ":"
  i:stop { force = true }
  i:start()
  lu.assertEquals(s:run("echo again").stdout, "again\n")
  lu.assertEquals(s.generation, 2)
end

function T.test_what_others_write_between_scripts_is_thrown_away()
  local s <close> = open_shell()
  s:run "(sleep 0.1; echo stray) &"
  task.sleep(0.3)
  lu.assertEquals(s:run("echo mine").stdout, "mine\n")
end

function T.test_output_without_limit_is_refused()
  local s <close> = open_shell()
  s.max_bytes = 100000
  expect("limit", nil, s.run, s, "yes")
  lu.assertEquals(s:run("echo again").stdout, "again\n")
end

function T.test_the_prelude_holds_for_each_script()
  local s <close> = open_shell { prelude = "umask 077; cd /usr" }
  lu.assertEquals(s:run("umask; pwd").stdout, "0077\n/usr\n")
  lu.assertEquals(s:run("cd /; umask 0; pwd").stdout, "/\n")
  lu.assertEquals(s:run("pwd").stdout, "/usr\n")
end

function T.test_a_script_with_nul_is_a_mistake()
  local s <close> = open_shell()
  lu.assertErrorMsgContains("NUL", s.run, s, "echo \0")
  lu.assertErrorMsgContains("not a name", s.run, s, ":", { env = { ["A-B"] = "x" } })
end

-- --------------------------------------------------------------------------------------------------------------- files

function T.test_files_are_written_privately_and_whole()
  files.write(c, "pgaf-1", "/etc/a file", "content", { mode = "0640" })
  lu.assertEquals(files.read(c, "pgaf-1", "/etc/a file"), "content")
  lu.assertEquals(files.stat(c, "pgaf-1", "/etc/a file"),
    { type = "file", mode = "0640", uid = 0, gid = 0, size = #"content" })
  files.write(c, "pgaf-1", "/etc/a file", "more")
  lu.assertEquals(files.stat(c, "pgaf-1", "/etc/a file").mode, "0640")
  lu.assertTrue(files.remove(c, "pgaf-1", "/etc/a file"))
  lu.assertFalse(files.remove(c, "pgaf-1", "/etc/a file"))
  lu.assertNil(files.read(c, "pgaf-1", "/etc/a file"))
  lu.assertErrorMsgContains("begins with 0", files.write, c, "pgaf-1", "/x", "", { mode = "600" })
end

function T.test_only_files_are_read()
  server:misbehave { add_files = {
    ["pgaf-1:/run/pipe"] = { type = "fifo", mode = "0600", body = "" },
    ["pgaf-1:/link"] = { type = "symlink", mode = "0777", body = "/etc/target" },
    ["pgaf-1:/etc/target"] = { type = "file", mode = "0600", body = "at the end" },
    ["pgaf-1:/dir"] = { type = "directory", mode = "0755", body = "" },
    ["pgaf-1:/loop"] = { type = "symlink", mode = "0777", body = "/loop" },
  } }
  expect("file", "EINVAL", files.read, c, "pgaf-1", "/run/pipe")
  lu.assertEquals(files.read(c, "pgaf-1", "/link"), "at the end")
  expect("file", "EISDIR", files.read, c, "pgaf-1", "/dir")
  expect("file", "ELOOP", files.read, c, "pgaf-1", "/loop")
end

-- -------------------------------------------------------------------------------------------------------------- events

function T.test_events_and_a_resync_after_each_connection()
  server:misbehave { drop_events = 2 }
  local stream <close> = events.open(c)
  lu.assertEquals(stream:next(0).type, "resync")
  local listening = server:counts().listen or 0
  lu.assertEquals(stream:next(10).type, "resync") -- the first two connections are cut
  while (server:counts().listen or 0) == listening do
    lu.assertEquals((stream:next(0.1) or { type = "resync" }).type, "resync")
  end
  instance.of(c, "pgaf-1"):freeze()
  local event
  repeat event = stream:next(10) until event.type ~= "resync"
  lu.assertEquals(event.metadata.action, "instance-paused")
  lu.assertNil(stream:next(0))
  server:misbehave { cut_listeners = true }
  lu.assertEquals(stream:next(10).type, "resync")
end

test.run("incus_exec", T)

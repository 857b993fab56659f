-- Websockets as scripts see them, against a server that does as it is asked, well or badly.

local fs = require "pgafrun.fs"
local is = require("pgafrun.error").is
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local ws = require "pgafrun.ws"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local http_server = dofile(here .. "/support/http_server.lua")
local lu = test.lu

local folder = fs.mkdtemp "pgafrun-ws-test"
local identity = http_server.identity(folder, "localhost")
local unix = http_server.start(folder, "unix")
local tcp = http_server.start(folder, "tcp")
local tls = http_server.start(folder, "tls", identity.cert_file, identity.key_file)
local _ <close> = setmetatable({}, {
  __close = function()
    task.shield(30, function()
      for _, server in ipairs { unix, tcp, tls } do server:stop() end
      fs.remove_tree(folder)
    end)
  end,
})

local T = {}

local function connect(path, more)
  local options = { url = "ws://server/ws/" .. path, unix_socket = unix.unix_socket }
  for name, value in pairs(more or {}) do options[name] = value end
  return ws.connect(options)
end

local function expect_error(kind, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(is(e, kind), tostring(e))
  return e
end

function T.test_messages_go_and_come()
  local s <close> = connect "echo"
  s:send "\0binary"
  s:send("text", "text")
  s:send("", "text")
  lu.assertEquals({ s:recv() }, { "\0binary", "binary" })
  lu.assertEquals({ s:recv(10) }, { "text", "text" })
  lu.assertEquals({ s:recv(10) }, { "", "text" })
end

function T.test_a_large_message_both_ways()
  local s <close> = connect "echo"
  local block = {}
  for i = 1, 16 do block[i] = string.char(64 + i):rep(1 << 20) end
  local message = table.concat(block)
  s:send(message)
  lu.assertTrue(s:recv() == message)
end

function T.test_the_end_of_a_stream_as_incus_makes_it()
  local s <close> = connect "exec"
  local size = 0
  while true do
    local data, kind = s:recv(10)
    if kind == "text" then
      lu.assertEquals(data, "")
      break
    end
    lu.assertEquals(kind, "binary")
    size = size + #data
  end
  lu.assertEquals(size, 64 * 32768)
  lu.assertEquals({ s:recv(10) }, { nil, "eof" })
  lu.assertEquals({ s:recv(10) }, { nil, "eof" })
  expect_error("closed", s.send, s, "late")
end

function T.test_ends_are_told_apart()
  local s <close> = connect "close"
  lu.assertEquals({ s:recv(10) }, { "bye", "text" })
  lu.assertEquals({ s:recv(10) }, { nil, "closed" })
  local r <close> = ws.connect { url = ("ws://127.0.0.1:%s/ws/reset"):format(tcp.port) }
  lu.assertEquals({ r:recv(10) }, { "bye", "text" })
  lu.assertEquals({ r:recv(10) }, { nil, "reset" })
end

function T.test_a_ping_is_seen_and_answered_without_a_reader()
  local s <close> = connect "pong"
  lu.assertTrue(s:wait_ping(10))
  lu.assertEquals({ s:recv(10) }, { "10 are you there", "text" })
  local silent <close> = connect "silent"
  lu.assertFalse(not not silent:wait_ping(0.05))
end

function T.test_a_time_limit_of_recv_leaves_the_socket_usable()
  local s <close> = connect "echo"
  local e = expect_error("timeout", s.recv, s, 0.05)
  lu.assertEquals(e.operation, "ws.recv")
  expect_error("timeout", s.recv, s, 0)
  s:send "still here"
  lu.assertEquals(s:recv(10), "still here")
end

function T.test_one_task_reads_while_another_sends()
  local s <close> = connect "echo"
  local sum = 0
  do
    local group <close> = task.group { deadline = 60 }
    group:spawn(function()
      for _ = 1, 1000 do sum = sum + tonumber((s:recv())) end
    end)
    group:spawn(function()
      for i = 1, 1000 do s:send(tostring(i)) end
    end)
  end
  lu.assertEquals(sum, 500500)
end

function T.test_a_second_reader_is_a_mistake_of_the_script()
  local s <close> = connect "silent"
  local group <close> = task.group()
  local first = group:spawn(s.recv, s)
  task.yield()
  local ok, e = pcall(s.recv, s)
  lu.assertFalse(ok)
  lu.assertStrContains(e, "another task is already reading")
  first:cancel()
  expect_error("cancelled", first.wait, first)
  expect_error("timeout", s.recv, s, 0.01)
end

function T.test_closing_wakes_the_reader()
  local s = connect "silent"
  local group <close> = task.group()
  local reader = group:spawn(function() return pcall(s.recv, s) end)
  task.yield()
  s:close()
  s:close()
  local ok, e = reader:wait()
  lu.assertFalse(ok)
  lu.assertTrue(is(e, "closed"))
  for _, name in ipairs { "recv", "send" } do
    e = expect_error("closed", s[name], s, name == "send" and "x" or nil)
    lu.assertEquals(e.operation, "ws." .. name)
  end
  lu.assertStrContains(tostring(s), "closed")
end

function T.test_a_refusal_tells_why()
  local e = expect_error("protocol", connect, "refuse")
  lu.assertEquals(e.code, "403")
  lu.assertStrContains(e.message, "Requestor mismatch")
end

function T.test_a_stall_in_the_handshake_ends_by_its_limit()
  local e = expect_error("timeout", connect, "stall", { timeout = 0.1 })
  lu.assertTrue(e.retryable)
  expect_error("timeout", task.timeout, 0.1, connect, "stall")
end

function T.test_a_broken_protocol_and_a_flood_are_errors()
  local s <close> = connect "masked"
  expect_error("protocol", s.recv, s, 10)
  local f <close> = connect("flood", { max_bytes = 1 << 20 })
  task.sleep(0.05)
  local e
  repeat
    local ok, result = pcall(f.recv, f, 10)
    e = not ok and result
  until e
  lu.assertTrue(is(e, "limit"), tostring(e))
end

function T.test_over_tls()
  local options = { url = ("wss://127.0.0.1:%s/ws/exec"):format(tls.port), tls = { pinned = identity.cert } }
  local s <close> = ws.connect(options)
  local size = 0
  while true do
    local data, kind = s:recv(10)
    if kind ~= "binary" then break end
    size = size + #data
  end
  lu.assertEquals(size, 64 * 32768)
  options.tls = nil
  expect_error("tls", ws.connect, options)
end

function T.test_a_forgotten_socket_is_closed_by_the_collector_which_tells_where_it_was_made()
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", "-e", [[
    require("pgafrun.ws").connect { url = "ws://server/ws/echo", unix_socket = ... }
    collectgarbage()]], unix.unix_socket }
  lu.assertEquals(r.code, 0)
  lu.assertStrContains(r.stderr, ":1: the websocket made here was never closed")
end

function T.test_sockets_that_nobody_reads_do_not_disturb_others()
  local group <close> = task.group { deadline = 60 }
  local idle = {}
  for i = 1, 20 do idle[i] = connect "exec" end
  for _ = 1, 20 do
    group:spawn(function()
      local s <close> = connect "echo"
      s:send "mine"
      lu.assertEquals(s:recv(), "mine")
    end)
  end
  group:wait()
  for _, s in ipairs(idle) do s:close() end
end

function T.test_mistakes_of_the_script_are_argument_errors()
  for _, options in ipairs { {}, { url = "http://x/" }, { url = "ws://x/", tls = {} }, { url = "ws://x/", max = 1 } } do
    local ok, e = pcall(ws.connect, options)
    lu.assertFalse(ok)
    lu.assertEquals(type(e), "string")
  end
  local s <close> = connect "echo"
  lu.assertErrorMsgContains("bad argument", s.send, s, "x", "ping")
  lu.assertErrorMsgContains("bad argument", s.send, s, 1)
  lu.assertErrorMsgContains("bad argument", s.recv, s, -1)
end

test.run("ws", T)

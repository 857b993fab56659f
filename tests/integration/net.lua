-- Probing a port that somebody listens on.

local fs = require "pgafrun.fs"
local net = require "pgafrun.net"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local LISTENER = [[
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(60)]]

local T = {}

function T.test_a_port_that_answers()
  local folder = fs.mkdtemp "pgafrun-net"
  local child = process.daemon { "python3", "-c", LISTENER, output = folder .. "/port" }
  local port
  task.timeout(20, function()
    repeat
      task.sleep(0.01)
      port = tonumber(fs.stat(folder .. "/port") and fs.read(folder .. "/port"):match "%d+")
    until port
  end)
  local ok, code = net.probe("127.0.0.1", port, 10)
  process.kill(child.pid, "KILL")
  child:wait(10)
  fs.remove_tree(folder)
  lu.assertIs(ok, true)
  lu.assertNil(code)
end

test.run("net", T)

-- tests/integration/servers/incus_server.py, started, told to misbehave, and stopped; and a configuration of an Incus
-- client that knows it as the remote "fake".

local fs = require "pgafrun.fs"
local http = require "pgafrun.http"
local json = require "pgafrun.json"
local process = require "pgafrun.process"
local task = require "pgafrun.task"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."

local incus_server = {}

local Server = {}
Server.__index = Server

local function wait_until_ready(self)
  for _ = 1, 500 do
    if fs.read(self.log):match "ready\n" then return end
    if self.child:wait(0) then break end
    task.sleep(0.02)
  end
  error("the server did not start: " .. fs.read(self.log))
end

function incus_server.start()
  local self = setmetatable({ folder = fs.mkdtemp "pgafrun-incus-test" }, Server)
  self.socket, self.log = self.folder .. "/socket", self.folder .. "/server.log"
  -- What a container has and this machine may not.
  fs.mkdir(self.folder .. "/bin")
  fs.write(self.folder .. "/bin/systemctl", "#!/bin/sh\necho running\n", { mode = tonumber("755", 8) })
  self.child = process.daemon {
    "python3", here .. "/../servers/incus_server.py", self.socket, output = self.log,
    extend_env = { PATH = self.folder .. "/bin:" .. process.getenv "PATH" },
  }
  wait_until_ready(self)
  return self
end

---What the module pgaf.incus.remotes makes of this server.
function Server:remote()
  return {
    name = "fake", protocol = "incus", public = false, project = "default",
    endpoints = { { url = "http://incus", unix_socket = self.socket } },
  }
end

---A folder for INCUS_CONF in which this server is the remote "fake".
function Server:configuration()
  local conf = self.folder .. "/conf"
  fs.mkdir(conf)
  fs.write(conf .. "/config.yml",
    ("default-remote: fake\nremotes:\n  fake:\n    addr: unix://%s\n    protocol: incus\n"):format(self.socket))
  return conf
end

local function fake(self, method, body)
  local response = http.request {
    url = "http://incus/fake", unix_socket = self.socket, method = method, body = body,
    headers = body and { ["Content-Type"] = "application/json" },
  }
  return json.decode(response.body).metadata
end

---Sets the faults; those not named end.
---@param faults? table
function Server:misbehave(faults) fake(self, "PUT", json.encode(faults or {})) end

---@return table<string, integer> how often what was asked
function Server:counts() return fake(self, "GET") end

---Puts an instance there. `more`: config, status.
function Server:add(name, more)
  local instance = {
    status = "Running", config = {}, devices = {}, profiles = json.as_array { "default" }, asked = 0,
    commands = json.as_array {}, snapshots = {},
  }
  for key, value in pairs(more or {}) do instance[key] = value end
  self:misbehave { add_instances = { [name] = instance } }
end

function Server:stop()
  task.shield(30, function()
    process.kill(self.child.pid, "KILL")
    self.child:wait()
    fs.remove_tree(self.folder)
  end)
end
Server.__close = Server.stop

return incus_server

-- tests/integration/servers/http_server.py, started and stopped.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local task = require "pgafrun.task"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."

local http_server = {}

local Server = {}
Server.__index = Server

local function must(options)
  local r = process.run(options)
  if r.code ~= 0 then error(table.concat(options, " ") .. " failed: " .. r.stderr) end
end

---A self-signed certificate for `name`, and its key.
---@return { cert: string, key: string, cert_file: string, key_file: string }
function http_server.identity(folder, name)
  local cert, key = folder .. "/" .. name .. ".crt", folder .. "/" .. name .. ".key"
  must { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", "/CN=" .. name, "-addext", "subjectAltName=DNS:" .. name, "-keyout", key, "-out", cert }
  return { cert = fs.read(cert), key = fs.read(key), cert_file = cert, key_file = key }
end

---@param folder string private, for the log and the socket; one server of a kind in each
---@param kind "unix"|"tcp"|"tls"
---@param ... string tls: files of certificate, key and, when clients need one, their CA
function http_server.start(folder, kind, ...)
  local self = setmetatable({}, Server)
  local log = ("%s/%s.log"):format(folder, kind)
  local command = { "python3", here .. "/../servers/http_server.py", kind, output = log }
  if kind == "unix" then
    self.unix_socket = folder .. "/socket"
    command[4] = self.unix_socket
  end
  for _, argument in ipairs { ... } do command[#command + 1] = argument end
  self.child = process.daemon(command)
  for _ = 1, 500 do
    self.port = fs.read(log):match "ready (%d+)\n"
    if self.port then return self end
    if self.child:wait(0) then break end
    task.sleep(0.02)
  end
  error("the server did not start: " .. fs.read(log))
end

function Server:stop()
  process.kill(self.child.pid, "KILL")
  self.child:wait()
end

return http_server

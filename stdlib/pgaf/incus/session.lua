-- A shell that stays open in an instance: the transport beneath pgaf.shell.

local error = require "pgafrun.error"
local exec = require "pgaf.incus.exec"
local task = require "pgafrun.task"

local KILL_TIMEOUT = 10

---@class pgaf.incus.Session: pgaf.shell.Transport
---@field process pgaf.incus.Process
local Session = {}
Session.__index = Session

local session = {}

local STREAMS = { stdout = "1", stderr = "2" }

---Opens a shell as a numeric user. It leads a process group of its own (setsid), so that what runs in it can be killed
---without what it has set free (daemons have a session of their own).
---@param client pgaf.incus.Client
---@param name string
---@param options { user?: integer, group?: integer, env?: table<string, string> }
---@return pgaf.incus.Session
function session.open(client, name, options)
  local process = exec.start(client, name, {
    command = { "setsid", "sh" }, user = options.user, group = options.group, env = options.env,
  })
  return setmetatable({ process = process, client = client, name = name }, Session)
end

function Session:send(text) self.process:write(text) end

function Session:recv(stream, seconds) return self.process:read(STREAMS[stream], seconds) end

---Kills what runs in the shell, the shell included, and closes.
---@param pid integer? of the shell, once it has told
function Session:kill(pid)
  if pid then
    pcall(task.shield, KILL_TIMEOUT, exec.simple, self.client, self.name, { "kill", "-KILL", "--", "-" .. pid })
  end
  self:close()
end

---Ends the shell.
function Session:close() self.process:close() end

---What the server says of the shell's end, for an error's cause.
---@return pgafrun.Error?
function Session:why()
  local ok, status = pcall(self.process.status, self.process, 2)
  if not ok then return error.is(status) and status or nil end
  return error.new { kind = "process", operation = "session on " .. self.name, code = tostring(status),
    message = ("the shell ended with status %d"):format(status) }
end

return session

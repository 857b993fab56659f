-- Commands in an instance, over four websockets: stdin, stdout, stderr and control.
--
--     local result = exec.run(client, "pgaf-1", { command = { "uname", "-r" }, timeout = 10 })
--
-- A stream's end is a barrier (a text message), and one that ends without is cut short: an error, never taken for the
-- whole output. The exit status is asked for when both barriers are there, for the server writes it only then.
-- A command that nobody waits for any longer is killed, with everything that it started.

local rethrow = error
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local operation = require "pgaf.incus.operation"
local task = require "pgafrun.task"

local exec = {}

-- The server gives up 5 s after the request when a stream is not connected (10 s from 6.0.6 on).
local CONNECT_TIMEOUT = 5
local STATUS_TIMEOUT = 30
local DEFAULT_TIMEOUT = 60
local KILL_TIMEOUT = 10
local MARK = "PGAFRUN_EXEC"
local STREAMS = { "control", "0", "1", "2" }
-- Started as soon as 0, 1 and 2 are there, a command can be over before control is: no harm then.
local LATE_CONTROL = { ["400"] = true, ["403"] = true, ["404"] = true, ["500"] = true }

---@class pgaf.incus.Command
---@field command string[] argv; no shell
---@field env? table<string, string>
---@field user? integer numeric id; default root
---@field group? integer
---@field cwd? string absolute; kind "command", code "cwd" when it cannot be entered
---@field stdin? string|fun(): string
---@field timeout? number of all of it, default 60
---@field max_bytes? integer of stdout and stderr each, default 64 MiB

---@class pgaf.incus.Process
---@field id string of the operation
---@field sockets table<string, pgafrun.ws.Socket> by "0", "1", "2", "control"
local Process = {}
Process.__index = Process

-- ------------------------------------------------------------------------------------------------------- starting

local function connect(self, secrets)
  local group <close> = task.group()
  for _, name in ipairs(STREAMS) do
    group:spawn(function()
      local query = { secret = secrets[name] }
      local ok, socket = pcall(self.client.websocket, self.client, self.path, query, CONNECT_TIMEOUT)
      if ok then
        self.sockets[name] = socket
      elseif name ~= "control" or not error.is(socket, "protocol") or not LATE_CONTROL[socket.code] then
        rethrow(socket, 0)
      end
    end)
  end
  group:wait()
end

---Starts a command and connects its streams. The caller closes the process.
---@param client pgaf.incus.Client
---@param name string of the instance
---@param options pgaf.incus.Command
---@return pgaf.incus.Process
function exec.start(client, name, options)
  local self = setmetatable({ client = client, name = name, sockets = {} }, Process)
  local environment = {}
  for key, value in pairs(options.env or {}) do environment[key] = value end
  self.mark = crypto.random_hex(16)
  environment[MARK] = self.mark
  local answer = client:call {
    method = "POST", path = ("/1.0/instances/%s/exec"):format(client.escape(name)),
    body = {
      command = options.command, environment = environment, user = options.user, group = options.group,
      ["wait-for-websocket"] = true, interactive = false,
    },
  }
  self.id = operation.id(answer.operation)
  self.path = ("/1.0/operations/%s/websocket"):format(self.id)
  local metadata = type(answer.metadata) == "table" and answer.metadata.metadata
  local secrets = type(metadata) == "table" and metadata.fds
  if type(secrets) ~= "table" then
    error.raise {
      kind = "protocol", operation = "exec on " .. name, message = "the server named no streams to connect to",
      outcome = "unknown",
    }
  end
  local ok, problem = pcall(connect, self, secrets)
  if not ok then
    self:close()
    rethrow(problem, 0)
  end
  return self
end

-- -------------------------------------------------------------------------------------------------------- streams

---@param text string
function Process:write(text) self.sockets["0"]:send(text, "binary") end

---Tells the command that its stdin is over.
function Process:end_input() self.sockets["0"]:send("", "text") end

---The next piece of a stream; nil at its end, with "barrier" when it is whole.
---@param stream "1"|"2"
---@param seconds? number
---@return string? data, "barrier"|"closed"|"eof"|"reset"|nil reason
function Process:read(stream, seconds)
  while true do
    local data, kind = self.sockets[stream]:recv(seconds)
    if not data then return nil, kind end
    if kind == "text" then return nil, "barrier" end
    if data ~= "" then return data end
  end
end

-- Everything of a stream. The runtime takes messages in while nobody reads, so one stream may be read after the other.
local function read_all(self, stream, limit)
  local pieces, size = {}, 0
  while true do
    local data, reason = self:read(stream)
    if not data then return table.concat(pieces), reason end
    size = size + #data
    if size > limit then
      error.raise {
        kind = "limit", operation = "exec on " .. self.name, outcome = "unknown",
        message = ("the command wrote more than %d bytes"):format(limit),
      }
    end
    pieces[#pieces + 1] = data
  end
end

---Waits for the exit status; only after both streams are read to their ends.
---@param timeout number
---@return integer
function Process:status(timeout)
  local object = operation.await(self.client, self.id, { what = "exec on " .. self.name, timeout = timeout })
  -- 126 and 127 make the operation fail, and are a status nevertheless.
  local status = object and type(object.metadata) == "table" and object.metadata["return"]
  if math.type(status) == "integer" then return status end
  error.raise {
    kind = "incus", operation = "exec on " .. self.name, outcome = "unknown",
    code = object and tostring(object.status_code),
    message = object and "the command did not start: " .. tostring(object.err)
      or "the server forgot the command's operation, and its exit status with it",
  }
end

---Closes the streams. That kills the command itself, not what it has started. Idempotent.
function Process:close()
  for _, socket in pairs(self.sockets) do socket:close() end
end
Process.__close = Process.close

---Kills the command and everything that it has started, by the mark in their environment, and closes. Is not cancelled.
function Process:kill()
  pcall(task.shield, KILL_TIMEOUT, exec.kill_marked, self.client, self.name, self.mark)
  self:close()
end

-- A process that has just forked may be missed once: hence the rounds.
local KILL_SCRIPT = [[
for round in 1 2 3 4 5; do
  found=
  for file in $(grep -slF "$1" /proc/[0-9]*/environ); do
    pid=${file#/proc/}; pid=${pid%/environ}
    [ "$pid" = $$ ] || { kill -KILL "$pid" 2>/dev/null && found=1; }
  done
  [ "$found" ] || exit 0
done]]

---Kills every process of the instance that carries the mark of a command.
function exec.kill_marked(client, name, mark)
  exec.simple(client, name, { "sh", "-c", KILL_SCRIPT, "sh", MARK .. "=" .. mark })
end

---Runs a command without streams, as root. Cheapest.
---@param client pgaf.incus.Client
---@param name string
---@param command string[]
---@return integer status
function exec.simple(client, name, command)
  local answer = client:call {
    method = "POST", path = ("/1.0/instances/%s/exec"):format(client.escape(name)),
    body = { command = command, ["wait-for-websocket"] = false, interactive = false },
  }
  local process = setmetatable({ client = client, name = name, sockets = {} }, Process)
  process.id = operation.id(answer.operation)
  return process:status(STATUS_TIMEOUT)
end

-- ---------------------------------------------------------------------------------------------------- whole commands

-- The server runs a command in / when its folder does not exist, without a word.
local ENTER = 'cd -- "$1" || { printf %s "$2" >&2; exit 125; }; shift 2; exec "$@"'

local function in_folder(command, cwd, mark)
  return table.move(command, 1, #command, 7, { "sh", "-c", ENTER, "sh", cwd, mark })
end

local function feed(process, stdin)
  local text = type(stdin) == "function" and stdin() or stdin
  local ok, problem = pcall(function()
    if text and text ~= "" then process:write(text) end
    process:end_input()
  end)
  -- A command that ends without reading its input is no failure.
  if not ok and not error.is(problem, "closed") then rethrow(problem, 0) end
end

local function finish(process, options)
  feed(process, options.stdin)
  local limit = options.max_bytes or 64 * 1024 * 1024
  local stdout, stdout_end = read_all(process, "1", limit)
  local stderr, stderr_end = read_all(process, "2", limit)
  local result = { stdout = stdout, stderr = stderr }
  if stdout_end ~= "barrier" or stderr_end ~= "barrier" then
    local cut = stdout_end ~= "barrier" and stdout_end or stderr_end
    error.raise {
      kind = "truncated", operation = "exec on " .. process.name, code = cut, outcome = "unknown", result = result,
      message = ("the output was cut (%s) after %d bytes: the rest, and what the command did, are unknown"):format(
        cut, #stdout + #stderr),
    }
  end
  result.code = process:status(STATUS_TIMEOUT)
  return result
end

local function run(client, name, options, holder)
  holder.process = exec.start(client, name, options)
  return finish(holder.process, options)
end

local function raise_broken(name, options, problem)
  if error.is(problem, "timeout", "deadline") and task.remaining() > 0 then
    error.raise {
      kind = "timeout", operation = "exec on " .. name, code = "command", outcome = "unknown", cause = problem,
      message = ("the command did not end within %g s and was killed"):format(options.timeout or DEFAULT_TIMEOUT),
    }
  end
  if error.is(problem) and problem.kind ~= "incus" then problem.outcome = "unknown" end
  rethrow(problem, 0)
end

---Runs a command to its end.
---Raises kinds truncated, timeout, limit, incus (it did not start), command (code "cwd"), network. A status other than
---0 is a result.
---@param client pgaf.incus.Client
---@param name string
---@param options pgaf.incus.Command
---@return { code: integer, stdout: string, stderr: string }
function exec.run(client, name, options)
  local mark
  if options.cwd then
    mark = crypto.random_hex(16)
    options = setmetatable({ command = in_folder(options.command, options.cwd, mark) }, { __index = options })
  end
  local holder = {}
  local ok, result = pcall(task.timeout, options.timeout or DEFAULT_TIMEOUT, run, client, name, options, holder)
  if not ok then
    if holder.process then holder.process:kill() end
    raise_broken(name, options, result)
  end
  holder.process:close()
  if mark and result.code == 125 and result.stderr:sub(-#mark) == mark then
    error.raise {
      kind = "command", operation = "exec on " .. name, code = "cwd",
      message = ("the folder %s on %s cannot be entered"):format(options.cwd, name),
    }
  end
  return result
end

return exec

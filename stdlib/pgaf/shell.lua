-- A POSIX shell that stays open, and runs one script after the other.
--
-- Framing: each script is sent as one quoted word of a line
--
--     ( eval 'SCRIPT' ) </dev/null; printf 'MARK %d\n' $?; printf 'MARK\n' >&2
--
-- with a new random MARK, and both streams are read up to it, whatever bytes come before. The subshell keeps `exit`,
-- `cd`, `exec` and `set -e` of a script from touching the shell itself.
--
-- Input for a script cannot simply follow the line: some shells (dash) read their own input by the block and would
-- swallow it. So the shell first says that it is ready, having read all there was, and starts `head -c SIZE`, which
-- reads exactly the input; only then is it sent. It is never in an argument list, an environment or a file.
--
-- A script that does not end in time is killed together with its shell; the next one gets a new shell.

local rethrow = error
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local log = require "pgafrun.log"
local task = require "pgafrun.task"

local DEFAULT_TIMEOUT = 60
local OPEN_TIMEOUT = 15
local MARK_BYTES = 16
local MAX_BYTES = 64 * 1024 * 1024

---@class pgaf.shell.Transport what a shell runs over
---@field send fun(self, text: string)
---@field recv fun(self, stream: "stdout"|"stderr", seconds?: number): string?, string? nil and a reason at its end
---@field kill fun(self, pid: integer?) everything that runs in the shell, and the shell
---@field close fun(self)
---@field why? fun(self): pgafrun.Error? why it ended, if that is known

---@class pgaf.Shell
---@field name string for errors: "pgaf-1 as postgres"
---@field generation integer how many shells there have been
local Shell = {}
Shell.__index = Shell

local shell = {}

---@param text string
---@return string as one word of a shell
function shell.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end
local quote = shell.quote

---A shell that is opened when it is first needed, and again whenever it was lost.
---@param options { name: string, open: (fun(): pgaf.shell.Transport), prelude?: string } prelude: before each script
---@return pgaf.Shell
function shell.new(options)
  return setmetatable({
    name = options.name, open_transport = options.open, prelude = options.prelude or "", generation = 0,
    max_bytes = MAX_BYTES, busy = false, freed = task.condition(),
  }, Shell)
end

-- --------------------------------------------------------------------------------------------------------- framing

-- The whole script: what is to be set up, and then the script itself on lines of its own.
local function compose(self, script, env)
  local parts = { self.prelude }
  for name, value in pairs(env or {}) do
    assert(name:match "^[%a_][%w_]*$", "not a name of an environment variable: " .. name)
    parts[#parts + 1] = ("export %s=%s"):format(name, quote(value))
  end
  parts[#parts + 1] = script
  local text = table.concat(parts, "\n")
  assert(not text:find("\0", 1, true), "a script cannot hold NUL bytes; give them as stdin")
  return text
end

local function frame(text, mark, input)
  local report = ("printf '%s %%d\\n' $?; printf '%s\\n' >&2\n"):format(mark, mark)
  if not input then return ("( eval %s\n) </dev/null; %s"):format(quote(text), report) end
  -- What the script leaves unread is read away, or it would be taken for the next script.
  return ("printf '%s ready\\n'; head -c %d | { ( eval %s\n); pgaf_status=$?; cat >/dev/null; exit $pgaf_status; }; %s")
    :format(mark, #input, quote(text), report)
end

-- Reads a stream up to "MARK", the words after it, and the line's end. What came before, in pieces that hold no part of
-- the mark, is put together once, at the end; what came after is the third result.
local function read_to_mark(self, stream, mark, tail)
  local pieces, size = {}, 0
  tail = tail or ""
  while true do
    local from = tail:find(mark, 1, true)
    local to = from and tail:find("\n", from + #mark, true)
    if to then
      pieces[#pieces + 1] = tail:sub(1, from - 1)
      return table.concat(pieces), tail:sub(from + #mark + 1, to - 1), tail:sub(to + 1)
    end
    if not from and #tail >= #mark then
      pieces[#pieces + 1] = tail:sub(1, -#mark)
      size = size + #pieces[#pieces]
      tail = tail:sub(1 - #mark)
    end
    if size > self.max_bytes then
      error.raise {
        kind = "limit", operation = "shell on " .. self.name, outcome = "unknown",
        message = ("the script wrote more than %d bytes"):format(self.max_bytes),
      }
    end
    local data, reason = self.transport:recv(stream)
    if not data then return nil, reason, table.concat(pieces) .. tail end
    tail = tail .. data
  end
end

local function raise_ended(self, reason, stdout)
  local cause = self.transport.why and self.transport:why()
  error.raise {
    kind = "closed", operation = "shell on " .. self.name, code = reason, outcome = "unknown", cause = cause,
    message = ("the shell ended before its script did (%s)"):format(reason), stdout = stdout,
    hint = "the node may have been stopped; the next script opens a new shell",
  }
end

local function exchange(self, text, input)
  local mark = crypto.random_hex(MARK_BYTES)
  self.transport:send(frame(text, mark, input))
  local early
  if input then
    local before, reason, after = read_to_mark(self, "stdout", mark)
    if not before then raise_ended(self, reason, after) end
    self.transport:send(input)
    early = after
  end
  local stdout, status, rest = read_to_mark(self, "stdout", mark, early)
  if not stdout then raise_ended(self, status, rest) end
  if rest ~= "" then log.debug("a command left running wrote after its script", { shell = self.name }) end
  local stderr, reason = read_to_mark(self, "stderr", mark)
  if not stderr then raise_ended(self, reason, stdout) end
  return { code = math.tointeger(tonumber(status)), stdout = stdout, stderr = stderr }
end

-- --------------------------------------------------------------------------------------------------- opening, losing

local function greet(self)
  local mark = crypto.random_hex(MARK_BYTES)
  self.transport:send(("printf '%s %%d\\n' $$; printf '%s\\n' >&2\n"):format(mark, mark))
  local _, pid, partial = read_to_mark(self, "stdout", mark)
  if not _ then raise_ended(self, pid, partial) end
  self.pid = math.tointeger(tonumber(pid))
  read_to_mark(self, "stderr", mark)
end

local function discard(self)
  local transport, pid = self.transport, self.pid
  self.transport, self.pid = nil, nil
  if transport then transport:kill(pid) end
end

-- True when a shell that was left open is still there; what was written meanwhile is thrown away.
local function still_there(self)
  while true do
    local ok, data = pcall(self.transport.recv, self.transport, "stdout", 0)
    if not ok then
      if error.is(data, "timeout") then return true end
      return false
    end
    if not data then return false end
    log.debug("a command left running wrote after its script", { shell = self.name })
  end
end

local function ensure_open(self)
  if self.transport then
    if still_there(self) then return end
    task.check()
    self.transport:close()
  end
  self.transport, self.pid = nil, nil
  task.timeout(OPEN_TIMEOUT, function()
    self.transport = self.open_transport()
    greet(self)
  end)
  self.generation = self.generation + 1
end

local function run(self, text, stdin)
  ensure_open(self)
  local input = type(stdin) == "function" and stdin() or stdin
  return exchange(self, text, input ~= "" and input or nil)
end

-- One script at a time. Everybody is woken and looks again: a task that is cancelled while it is woken can then not
-- take the turn of another with it.
local function take_turn(self)
  while self.busy do self.freed:wait() end
  self.busy = true
end

local function end_turn(self)
  self.busy = false
  self.freed:notify()
end

-- The time allowed here passed, and not one of a caller's.
local function raise_late(self, opened, seconds, cause)
  if not opened then
    error.raise {
      kind = "timeout", operation = "shell on " .. self.name, code = "open", retryable = true, cause = cause,
      message = ("no shell could be opened within %g s"):format(math.min(seconds, OPEN_TIMEOUT)),
    }
  end
  error.raise {
    kind = "timeout", operation = "shell on " .. self.name, code = "script", outcome = "unknown", cause = cause,
    message = ("the script did not end within %g s and was killed"):format(seconds),
  }
end

---Runs a script to its end; a status other than 0 is a result. Waits for its turn: the timeout counts from there on.
---Raises timeout (the script is killed with its shell), closed (the shell was lost), limit, and what opening raises.
---@param script string
---@param options? { stdin?: string|(fun(): string), env?: table<string, string>, timeout?: number }
---@return { code: integer, stdout: string, stderr: string }
function Shell:run(script, options)
  options = options or {}
  local text = compose(self, script, options.env)
  take_turn(self)
  local ok, result = pcall(task.timeout, options.timeout or DEFAULT_TIMEOUT, run, self, text, options.stdin)
  local opened = self.pid ~= nil
  if not ok then discard(self) end
  end_turn(self)
  if ok then return result end
  if error.is(result, "timeout", "deadline") and task.remaining() > 0 then
    raise_late(self, opened, options.timeout or DEFAULT_TIMEOUT, result)
  end
  rethrow(result, 0)
end

---Ends the shell. Idempotent; a later script opens a new one.
function Shell:close()
  local transport = self.transport
  self.transport, self.pid = nil, nil
  if transport then transport:close() end
end
Shell.__close = Shell.close

return shell

-- The side of who attaches: finds runs, and is a terminal, or a list of lines, for a session in one of them.

local throw = error
local error = require "pgafrun.error"
local net = require "pgafrun.net"
local process = require "pgafrun.process"
local runs = require "pgaf.attach.runs"
local suggest = require "pgaf.suggest"
local task = require "pgafrun.task"
local wire = require "pgaf.attach.wire"

local client = {}

local ANSWER_SECONDS = 3
-- For what Tab offers: keys wait meanwhile.
local COMPLETION_SECONDS = 1

-- ---------------------------------------------------------------------------------------------------------- finding

local HINTS = {
  ENOENT = "the run has ended, or was not started with --attachable: pgafrun attach lists what can be attached to",
  ECONNREFUSED = "nobody listens there any more: the run has ended",
  EACCES = "a run can be attached to by the user who started it, and by nobody else",
}

local function connect(path)
  local ok, connection = pcall(net.connect, path)
  if ok then return connection end
  task.check()
  error.raise {
    kind = "network", operation = "attach", code = connection.code, cause = connection,
    message = ("cannot attach to %s"):format(path), hint = HINTS[connection.code],
  }
end

-- The first message tells who it is, or why not.
local function greet(self)
  local ok, hello = pcall(task.timeout, ANSWER_SECONDS, self.receive, self)
  if not ok and error.is(hello, "timeout") then
    task.check()
    error.raise {
      kind = "timeout", operation = "attach", code = "busy",
      message = ("no answer within %d s: the run computes without waiting, or was stopped"):format(ANSWER_SECONDS),
    }
  end
  if not ok or not hello then
    error.raise { kind = "network", operation = "attach", message = "the run closed the connection", cause = hello }
  end
  if hello.type == "refused" then
    error.raise { kind = "refused", operation = "attach", message = tostring(hello.message) }
  end
  if hello.type ~= "hello" or hello.protocol ~= wire.PROTOCOL then
    error.raise {
      kind = "protocol", operation = "attach",
      message = ("the run is pgafrun %s, whose prompt this version cannot use"):format(tostring(hello.version)),
    }
  end
  return hello
end

---@class pgaf.attach.Found: pgaf.attach.Run
---@field hello? table what the run says of itself
---@field problem? string why it says nothing

---Everything that can be attached to, with what each says of itself. What dead runs left is removed.
---@return pgaf.attach.Found[]
function client.find()
  local found, me = {}, process.self().pid
  for _, run in ipairs(runs.list()) do
    if run.pid ~= me and not runs.remove_stale(run) then
      local ok, hello = pcall(function()
        local connection <close> = connect(run.path)
        return greet(wire.new(connection))
      end)
      task.check()
      if ok then run.hello = hello else run.problem = tostring(hello):match "[^\n]*" end
      found[#found + 1] = run
    end
  end
  return found
end

---The socket of the run that is meant.
---@param wanted string a process id, a script's name, or a socket's path
---@return string path
function client.path(wanted)
  if wanted:find("/", 1, true) then return wanted end
  local matches, names = {}, {}
  for _, run in ipairs(runs.list()) do
    if not runs.remove_stale(run) then
      names[#names + 1] = run.name
      if tostring(run.pid) == wanted or run.name == wanted then matches[#matches + 1] = run end
    end
  end
  if #matches == 1 then return matches[1].path end
  local meant = suggest(wanted, names)
  local pids = {}
  for i, run in ipairs(matches) do pids[i] = tostring(run.pid) end
  error.raise {
    kind = "usage", operation = "attach",
    message = #matches > 1 and
      ("%d runs of %s can be attached to: name one by its process, %s"):format(#matches, wanted,
        table.concat(pids, ", ")) or
      ("no run %s can be attached to%s"):format(wanted, meant and ("; did you mean %s?"):format(meant) or ""),
    hint = #matches == 0 and "runs started with --attachable can be; pgafrun attach lists them" or nil,
  }
end

-- ---------------------------------------------------------------------------------------------------------- talking

---@class pgaf.attach.Terminal who types and reads
---@field read fun(self, prompt: string): string?, string? nil at the end; "interrupted"
---@field write fun(self, text: string)
---@field foreground? fun(self, t: pgafrun.Task?)
---@field resized? fun(self): integer waits for another width
---@field complete? fun(before: string): false set here: what Tab calls, as pgafrun.line wants it
---@field completed? fun(self, before: string?, above: string?) the answer to that

local Talk = {}
Talk.__index = Talk

-- Waits until the run wants a line. False when it said farewell.
local function wait_for_prompt(self)
  while not self.prompt and not self.over do self.changed:wait() end
  return not self.over
end

-- Waits in a task that Ctrl-C cancels: then the run is asked to stop what it evaluates.
local function wait_interruptibly(self)
  while true do
    local waiting = self.group:spawn_named("an answer", pcall, wait_for_prompt, self)
    self.terminal:foreground(waiting)
    local ok, wanted = waiting:wait()
    self.terminal:foreground(nil)
    if ok then return wanted end
    task.check()
    self.wire:send { type = "interrupt" }
  end
end

-- A line, or nil at the end of the input. While it is typed the run may ask for it in another way.
local function read_line(self)
  while not self.over do
    local asked = self.prompt
    self.reading = self.group:spawn_named("the input", pcall, self.terminal.read, self.terminal, asked)
    local ok, line, why = self.reading:wait()
    self.reading = nil
    task.check()
    if ok and (line or why ~= "interrupted") then return line end
    if not ok and self.prompt == asked and not self.over then throw(line, 0) end
  end
end

local function type_lines(self)
  while wait_interruptibly(self) do
    local line = read_line(self)
    if not line then return end
    self.prompt = nil
    self.wire:send { type = "line", text = line }
  end
end

-- What is typed waits for the answer; one that comes too late is none.
local function answer_tab(self, asked, before, above)
  if self.asked ~= asked then return end
  self.asked = nil
  self.terminal:completed(before, above)
end

local function ask_run(self, before)
  self.wire:send { type = "complete", text = before }
  task.sleep(COMPLETION_SECONDS)
  answer_tab(self, before)
end

local function show_all(self)
  while true do
    local message = self.wire:receive()
    if not message or message.type == "bye" then
      self.farewell = message and tostring(message.message) or "the run is gone"
      break
    end
    if message.type == "output" then
      self.terminal:write(tostring(message.text))
    elseif message.type == "prompt" then
      local before = self.prompt
      self.prompt, self.failed = tostring(message.text), message.failed
      if self.reading and before ~= self.prompt then self.reading:cancel() end
      self.changed:notify()
    elseif message.type == "completion" then
      answer_tab(self, message.text, message.replaced, message.above)
    end
  end
  self.over = true
  self.changed:notify()
  if self.reading then self.reading:cancel() end
end

local function tell_width(self)
  while true do
    self.wire:send { type = "columns", columns = self.terminal:resized() }
  end
end

---Talks to the run at path until one of both has enough.
---@param path string
---@param terminal pgaf.attach.Terminal
---@param greeted? fun(hello: table) called with what the run says of itself
---@return boolean failed the last input ended with an error
---@return string? farewell what the run said at the end, if it was the one to end it
function client.talk(path, terminal, greeted)
  local connection <close> = connect(path)
  local self = setmetatable({
    wire = wire.new(connection), terminal = terminal, changed = task.condition(), over = false, failed = false,
  }, Talk)
  local hello = greet(self.wire)
  if greeted then greeted(hello) end
  local group <close> = task.group { name = "attach" }
  self.group = group
  group:spawn_named("what is shown", show_all, self)
  terminal.complete = function(before)
    self.asked = before
    group:spawn_named("a completion", pcall, ask_run, self, before)
    return false
  end
  if terminal.resized then group:spawn_named("the terminal's width", tell_width, self) end
  type_lines(self)
  group:cancel()
  return self.failed, self.farewell
end

return client

-- A prompt in another process: what is shown goes into a queue that a task of its own empties, what is typed comes as
-- lines. Whoever wants a line last gets it: a task that stops takes the prompt from the session that waits at it.

local complete = require "pgaf.repl.complete"
local task = require "pgafrun.task"
local wire = require "pgaf.attach.wire"

local front = {}

local QUEUE_BYTES = 4 * 1024 * 1024 -- unread by the other side: more, and it is given up
local LINES = 1000                  -- typed and not yet read
local DRAIN_SECONDS = 2
local PATIENCE = 1                  -- seconds that an input may keep the whole run from going on

---@class pgaf.attach.Front: pgaf.debugger.Front
---@field closed boolean
local Front = {}
Front.__index = Front

---@param connection pgafrun.net.Connection
---@return pgaf.attach.Front
function front.new(connection)
  return setmetatable({
    connection = connection, closed = false, width = 80,
    queue = {}, queued = 0, wanted = task.condition(),
    emptied = task.condition(), readers = {}, lines = {}, sessions = {},
  }, Front)
end

-- --------------------------------------------------------------------------------------------------------- showing

local function send(self, message)
  if self.closed then return end
  local text = wire.encode(message)
  self.queue[#self.queue + 1], self.queued = text, self.queued + #text
  if self.queued > QUEUE_BYTES then return self:close() end
  self.wanted:notify()
end

---Writes what is queued, until it is closed.
function Front:deliver()
  while not self.closed do
    local texts = self.queue
    self.queue = {}
    if #texts == 0 then
      self.wanted:wait()
    else
      local text = table.concat(texts)
      self.connection:write(text)
      self.queued = self.queued - #text
      self.emptied:notify()
    end
  end
end

---Waits until the other side has been sent all, if that does not take long.
function Front:drain()
  pcall(task.timeout, DRAIN_SECONDS, function()
    while self.queued > 0 and not self.closed do self.emptied:wait() end
  end)
end

function Front:write(text) send(self, { type = "output", text = text }) end

function Front:columns() return self.width end

function Front:send(message) send(self, message) end

-- --------------------------------------------------------------------------------------------------------- reading

-- The one that asked last.
local function pass_lines(self)
  local reader = self.readers[#self.readers]
  if reader and (self.closed or #self.lines > 0) then reader.condition:notify() end
end

---@param prompt string
---@param failed? boolean the input before ended with an error
---@return string?
function Front:read(prompt, failed)
  local reader = { condition = task.condition(), prompt = prompt }
  table.insert(self.readers, reader)
  local _ <close> = setmetatable({}, { __close = function()
    for i, one in ipairs(self.readers) do
      if one == reader then table.remove(self.readers, i) end
    end
  end })
  self.interrupted = false
  send(self, { type = "prompt", text = prompt, failed = failed or false })
  while not self.closed and (self.readers[#self.readers] ~= reader or #self.lines == 0) do reader.condition:wait() end
  if self.closed then return nil end
  return table.remove(self.lines, 1)
end

---A conversation is over: what is asked again is what the session beneath it waits for.
function Front:leave()
  table.remove(self.sessions)
  local reader = self.readers[#self.readers]
  if reader then send(self, { type = "prompt", text = reader.prompt, failed = false }) end
  pass_lines(self)
end

local function complete_for(self, text)
  local session = self.sessions[#self.sessions]
  if not session then return end
  local replaced, above = complete.answer(session, text)
  send(self, { type = "completion", text = text, replaced = replaced, above = above })
end

---A message of the other side.
---@param message table
function Front:receive(message)
  if message.type == "line" and type(message.text) == "string" then
    table.insert(self.lines, message.text)
    if #self.lines > LINES then return self:close() end
    pass_lines(self)
  elseif message.type == "interrupt" then
    self:interrupt()
  elseif message.type == "complete" and type(message.text) == "string" then
    complete_for(self, message.text)
  elseif message.type == "columns" and math.type(message.columns) == "integer" then
    self.width = math.max(20, math.min(message.columns, 1000))
  end
end

-- It may come before the input that it is about has begun.
function Front:interrupt()
  if self.running then
    self.running:cancel()
  elseif #self.lines > 0 or #self.readers == 0 then
    self.interrupted = true
  end
end

function Front:foreground(t)
  self.running = t
  if not t then return end
  t:patience(PATIENCE)
  if self.interrupted or self.closed then t:cancel() end
end

---The session that knows, from now on, what the input may go on with.
---@param session pgaf.repl.Session
function Front:completes(session) table.insert(self.sessions, session) end

---The other side is gone, or is to go: what it evaluates is cancelled, and a task that it had stopped goes on.
function Front:close()
  if self.closed then return end
  self.closed = true
  if self.running then self.running:cancel() end
  for _, reader in ipairs(self.readers) do reader.condition:notify() end
  self.wanted:notify()
  self.connection:close()
end

return front

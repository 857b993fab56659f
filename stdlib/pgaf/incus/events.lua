-- The server's events. They are hints, without order and without replay: after every connection a "resync" comes first,
-- which says that the state is to be read again.

local error = require "pgafrun.error"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local FIRST_PING = 10
local LONGEST_PAUSE = 5

---@class pgaf.incus.Event
---@field type "lifecycle"|"operation"|"resync"
---@field at number time.now() of its arrival
---@field metadata? table lifecycle: action, name, project, requestor ...; operation: the operation

---@class pgaf.incus.Events
---@field client pgaf.incus.Client
local Events = {}
Events.__index = Events

local events = {}

-- A listener exists from the first ping on; what happens before is not told.
local function connect(self)
  local query = { type = self.types }
  if self.client.project ~= "default" then query.project = self.client.project end
  local socket = self.client:websocket("/1.0/events", query)
  if not socket:wait_ping(FIRST_PING) then
    socket:close()
    error.raise {
      kind = "timeout", operation = "incus.events", retryable = true,
      message = ("no ping within %d s"):format(FIRST_PING),
    }
  end
  self.socket = socket
end

---@param client pgaf.incus.Client
---@param types? string default "lifecycle"
---@return pgaf.incus.Events
function events.open(client, types)
  local self = setmetatable({ client = client, types = types or "lifecycle", pause = 0 }, Events)
  connect(self)
  self.resync = true
  return self
end

local function reconnect(self, seconds)
  task.sleep(math.min(self.pause, seconds))
  if self.pause > seconds then return end
  local ok, problem = pcall(connect, self)
  if ok then
    self.pause, self.resync = 0, true
    return
  end
  task.check()
  if not error.is(problem) then error.raise(problem) end
  self.pause = math.min(math.max(0.1, self.pause * 2), LONGEST_PAUSE)
  log.debug("the event stream cannot be opened again yet", { why = problem.message })
end

local function take(self, seconds)
  local ok, message, kind = pcall(self.socket.recv, self.socket, seconds)
  local at = time.now()
  if not ok then
    if error.is(message, "timeout") and not error.is(message, "timeout", "deadline") then return nil end
    task.check()
    log.debug("the event stream broke", { why = tostring(message) })
  end
  if ok and message then
    local decoded, event = pcall(json.decode, message)
    if decoded and type(event) == "table" then
      event.at = at
      return event
    end
    log.warn("an event that is no JSON object was dropped", { remote = self.client.server.name, type = kind })
    return nil
  end
  self.socket:close()
  self.socket = nil
end

---The next event; nil when `seconds` passed. A stream that breaks is opened again, and a "resync" comes first then.
---@param seconds? number default: for ever
---@return pgaf.incus.Event?
function Events:next(seconds)
  local deadline = time.now() + (seconds or math.huge)
  repeat
    local left = math.max(0, deadline - time.now())
    if self.closed then return nil end
    if self.resync then
      self.resync = false
      return { type = "resync", at = time.now() }
    end
    if self.socket then
      local event = take(self, left < math.huge and left or nil)
      if event then return event end
    else
      reconnect(self, left)
    end
  until time.now() >= deadline
  return nil
end

---Idempotent.
function Events:close()
  self.closed = true
  if self.socket then self.socket:close() end
end
Events.__close = Events.close

return events

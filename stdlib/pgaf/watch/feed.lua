-- What keeps a model up to date: the monitor's notifications, the provider's events, and each server asked about
-- itself. Each source goes on when it fails: it says so to the model, and tries again after pauses that grow.

local throw = error
local error = require "pgafrun.error"
local look = require "pgaf.watch.look"
local monitor = require "pgaf.autofailover.watch"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

-- Looks at what tells its changes by itself: a backstop, and how the age of reports is learnt.
local MONITOR_SECONDS = 2.5
local MACHINES_SECONDS = 15
-- Machines of a provider whose events are only of this process.
local LOCAL_MACHINES_SECONDS = 2
-- LSNs tell nobody that they move.
local LOOK_SECONDS = 2
-- Notifications come in bursts: a server is asked this often at most.
local LEAST_SECONDS = 0.25
local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5
local MONITOR_LONGEST_PAUSE = 2
local EVENTS_OF_BEFORE = 40

-- Of what the provider tells of a machine: what becomes of it. Its configuration changes with each renewal of a lock.
local TELLS = {}
for _, what in ipairs {
  "created", "started", "stopped", "restarted", "shutdown", "paused", "resumed", "deleted", "renamed", "restored",
} do
  TELLS["instance-" .. what] = true
end

---@class pgaf.watch.Feed
---@field model pgaf.watch.Model
---@field provider pgaf.Provider
---@field reach pgaf.Reach
---@field inventory table
---@field tell fun() the model has changed; must not wait
---@field poke pgafrun.Condition
local Feed = {}
Feed.__index = Feed

local feed = {}

---What a person reads in one line: of a failure with a cause the cause, as whom it is about is told beside it.
---@param problem pgafrun.Error
---@return string
function feed.reason(problem)
  local innermost = problem.cause and problem.cause.message and problem.cause or problem
  return (tostring(innermost.message or innermost):match "^[^\n]*")
end

-- Runs f until it fails, which is told and no end. A mistake in here is one.
local function keep_trying(f, failed, wait)
  local pause = FIRST_PAUSE
  local function works() pause = FIRST_PAUSE end
  while true do
    local _, problem = pcall(f, works)
    task.check()
    if not error.is(problem) then throw(problem, 0) end
    failed(feed.reason(problem))
    wait(pause)
    pause = math.min(pause * 2, LONGEST_PAUSE)
  end
end

-- ---------------------------------------------------------------------------------------------------------- servers

local function ask_until_it_fails(self, name, works)
  local connection <close> = self.reach:node(name, "watch")
  while true do
    local asked = time.now()
    self.model:answered(name, look.ask(connection))
    works()
    self.tell()
    self.poke:wait(LOOK_SECONDS)
    task.sleep(math.max(0, asked + LEAST_SECONDS - time.now()))
  end
end

local function follow_server(self, name)
  keep_trying(function(works) ask_until_it_fails(self, name, works) end, function(reason)
    self.model:silent(name, time.now(), reason)
    self.tell()
  end, function(pause)
    task.sleep(LEAST_SECONDS)
    self.poke:wait(pause)
  end)
end

---Asks one server, once.
---@param name string
function Feed:ask(name)
  local ok, problem = pcall(function()
    local connection <close> = self.reach:node(name, "watch")
    self.model:answered(name, look.ask(connection))
  end)
  if ok then return end
  task.check()
  if not error.is(problem) then throw(problem, 0) end
  self.model:silent(name, time.now(), feed.reason(problem))
end

-- --------------------------------------------------------------------------------------------------------- machines

local function look_at_machine(self, name)
  local status = self.provider:node(name):status()
  self.model:machine(name, time.now(), status)
end

---Looks at all machines, once.
function Feed:look_at_machines()
  look_at_machine(self, self.inventory.monitor.name)
  for _, entry in ipairs(self.inventory.nodes) do look_at_machine(self, entry.name) end
  self.model:provider_told(time.now())
  self.tell()
end

local function follow_events(self, works)
  local stream = self.provider:events()
  local _ <close> = setmetatable({}, { __close = function() stream:close() end })
  self:look_at_machines()
  works()
  local pause = self.provider.kind == "local" and LOCAL_MACHINES_SECONDS or MACHINES_SECONDS
  local next_look = time.now() + pause
  while true do
    local event = stream:next(math.max(0.01, next_look - time.now()))
    if event and TELLS[event.action] then
      self.model:machine_event(event.node, event.at, event.action, event.by)
      self.tell()
      look_at_machine(self, event.node)
      self.poke:notify()
      self.tell()
    end
    if time.now() >= next_look then
      self:look_at_machines()
      next_look = time.now() + pause
    end
  end
end

local function follow_machines(self)
  keep_trying(function(works) follow_events(self, works) end, function(reason)
    self.model:provider_told(time.now(), reason)
    self.tell()
  end, task.sleep)
end

-- ------------------------------------------------------------------------------------------------------ the monitor

-- The model's sink; what the monitor says is a reason to ask the servers themselves.
local function sink_of(self)
  local sink, told = self.model:sink(), {}
  local lost = sink.lost
  function sink.lost(at, _, problem) lost(at, feed.reason(problem)) end
  for name, take in pairs(sink) do
    told[name] = function(...)
      take(...)
      self.tell()
      if name ~= "polled" and name ~= "event" then self.poke:notify() end
    end
  end
  return told
end

local function follow_monitor(self, group)
  monitor.start(group, function() return self.reach:monitor "watch" end, self.inventory.formation_id, sink_of(self),
    { poll = MONITOR_SECONDS, history = EVENTS_OF_BEFORE, longest_pause = MONITOR_LONGEST_PAUSE })
end

-- -------------------------------------------------------------------------------------------------------------- all

---@param provider pgaf.Provider
---@param reach pgaf.Reach
---@param inventory table
---@param model pgaf.watch.Model
---@param tell? fun() called after each change of the model; must not wait
---@return pgaf.watch.Feed
function feed.new(provider, reach, inventory, model, tell)
  return setmetatable({
    provider = provider, reach = reach, inventory = inventory, model = model, tell = tell or function() end,
    poke = task.condition(),
  }, Feed)
end

---Keeps the model up to date until the group ends. Returns at once.
---@param group pgafrun.Group
function Feed:start(group)
  group:spawn_named("watch the machines", follow_machines, self)
  group:spawn_named("begin to watch the monitor", follow_monitor, self, group)
  for _, entry in ipairs(self.inventory.nodes) do
    group:spawn_named("watch " .. entry.name, follow_server, self, entry.name)
  end
end

---Asks everybody now.
function Feed:refresh() self.poke:notify() end

return feed

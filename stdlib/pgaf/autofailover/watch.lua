-- Follows a formation while it changes: LISTEN for what the monitor says, the event table for what was missed (states
-- last a second or two, and a NOTIFY is not repeated for who was away), and a look at the node table each second,
-- because a listener can be half dead without knowing.
--
-- All of it goes to one sink with times of one clock, time.now(). A notification is stamped when it arrives; an event
-- row carries the monitor's own time, moved to our clock by what the reads tell of the difference.

local error = require "pgafrun.error"
local json = require "pgafrun.json"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local state = require "pgaf.autofailover.state"

local POLL_SECONDS = 1
-- After a notification its event row is there: read it soon, not at the next poll. Bursts are read once.
local SETTLE_SECONDS = 0.1
local RECONNECT_SECONDS = 0.2
local EVENTS_AT_ONCE = 500

local EVENTS_SQL = [[
select eventid, extract(epoch from eventtime)::float8 as wall, nodename as name,
       reportedstate::text as reported, goalstate::text as goal, reportedtli as timeline,
       reportedlsn::text as lsn, description
  from pgautofailover.event
 where formationid = $1 and eventid > $2
 order by eventid limit ]] .. EVENTS_AT_ONCE

-- The event before the last ones.
local HISTORY_SQL = [[
select coalesce(min(eventid) - 1, $3) as before from (select eventid from pgautofailover.event
 where formationid = $1 order by eventid desc limit $2) as last]]

---@class pgaf.WatchSink
---@field notified fun(at: number, n: { name: string, reported: string, goal: string, health: string })
---@field event fun(at: number, row: table)
---@field polled fun(formation: pgaf.FormationState)
---@field lost fun(at: number, reason: string, problem: pgafrun.Error) the monitor cannot be reached (once, until it is)
---@field found fun(at: number)

---@class pgaf.WatchOptions
---@field poll? number seconds from one look at the node table to the next, default 1
---@field history? integer how many of the events of before are told first, default none
---@field longest_pause? number seconds; pauses between attempts to reach the monitor double up to it; default 0.2

---@class pgaf.Watch
local Watch = {}
Watch.__index = Watch

-- The read with the shortest way knows the difference of the clocks best.
local function learn_clock(self, formation)
  if not self.uncertainty or formation.uncertainty < self.uncertainty then
    self.uncertainty, self.offset = formation.uncertainty, formation.clock_offset
  end
end

local function read_events(self, connection)
  while true do
    local rows = connection:query(EVENTS_SQL, { self.id, self.last_event }, { timeout = 5 }).rows
    for _, row in ipairs(rows) do
      self.last_event = row.eventid
      self.sink.event(row.wall + self.offset, row)
    end
    if #rows < EVENTS_AT_ONCE then return end
  end
end

local function first_event(self, connection, formation)
  if self.history == 0 then return formation.last_event end
  local parameters = { self.id, self.history, formation.last_event }
  return connection:query(HISTORY_SQL, parameters, { timeout = 5 }).rows[1].before
end

local function poll(self, connection)
  local formation = state.read(connection, self.id)
  if formation.known then
    learn_clock(self, formation)
    -- a monitor that knows less than was told is a new one
    if not self.last_event or formation.last_event < self.last_event then
      self.last_event = first_event(self, connection, formation)
    end
    read_events(self, connection)
  end
  self.sink.polled(formation)
end

local function deliver(self, notification)
  local ok, said = pcall(json.decode, notification.payload)
  if not ok or type(said) ~= "table" or said.formation ~= self.id then return false end
  self.sink.notified(notification.at, {
    name = said.name, reported = said.reportedState, goal = said.goalState, health = said.health,
  })
  return true
end

local function follow(self, connection)
  connection:listen("state")
  poll(self, connection)
  if self.was_lost then self.sink.found(time.now()) end
  self.was_lost, self.pause = false, RECONNECT_SECONDS
  self.ready = true
  self.started:notify()
  local next_poll = time.now() + self.poll
  while true do
    local notification = connection:notification(math.max(0, next_poll - time.now()))
    if notification and deliver(self, notification) then
      next_poll = math.min(next_poll, time.now() + SETTLE_SECONDS)
    end
    if time.now() >= next_poll then
      poll(self, connection)
      next_poll = time.now() + self.poll
    end
  end
end

local function run(self)
  while true do
    local connection
    local ok, problem = pcall(function()
      connection = self.connect()
      follow(self, connection)
    end)
    if connection then connection:close() end
    task.check()
    -- A mistake in here or in the sink is no reason to connect again for ever.
    if not ok and not error.is(problem) then error.raise { kind = "internal", message = tostring(problem) } end
    if not self.was_lost then self.sink.lost(time.now(), tostring(problem), problem) end
    self.was_lost = true
    task.sleep(self.pause)
    self.pause = math.min(self.pause * 2, self.longest_pause)
  end
end

local watch = {}

--- Starts following in `group`, until the group ends. Returns once the first read is done.
---@param group pgafrun.Group
---@param connect fun(): pgafrun.pg.Connection
---@param id string pg_auto_failover formation id
---@param sink pgaf.WatchSink its functions must not wait
---@param options? pgaf.WatchOptions
---@return pgaf.Watch
function watch.start(group, connect, id, sink, options)
  options = options or {}
  local self = setmetatable({
    connect = connect, id = id, sink = sink, started = task.condition(), poll = options.poll or POLL_SECONDS,
    history = options.history or 0, pause = RECONNECT_SECONDS,
    longest_pause = options.longest_pause or RECONNECT_SECONDS,
  }, Watch)
  group:spawn_named("watch the monitor", run, self)
  if not self.ready then self.started:wait(10) end
  return self
end

--- Half of the shortest round trip: how far off the times of event rows can be.
---@return number?
function Watch:clock_uncertainty() return self.uncertainty end

return watch

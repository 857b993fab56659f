-- The monitor's own record of what happened to a formation: each change of a state with its reason.

local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"
local watch = require "pgaf.autofailover.watch"

-- The last ones, in the order in which they happened.
local LAST_SQL = [[
select * from (
  select eventid, extract(epoch from eventtime)::float8 as wall, nodename as name, reportedstate::text as reported,
         goalstate::text as goal, reportedtli as timeline, reportedlsn::text as lsn, description
    from pgautofailover.event
   where formationid = $1 and ($2::text is null or nodename = $2)
   order by eventid desc limit $3::bigint) as last
 order by eventid]]

local events = {}

---@class pgaf.operate.Event
---@field eventid integer
---@field wall number by the monitor's clock, seconds since the epoch
---@field name string
---@field reported string
---@field goal string
---@field timeline integer
---@field lsn string
---@field description string

---@param context pgaf.operate.Context
---@param count integer
---@param name? string only this node's
---@return pgaf.operate.Event[]
function events.last(context, count, name)
  local connection <close> = context.reach:monitor("events")
  return connection:query(LAST_SQL, { context.inventory.formation_id, name, count, n = 3 },
    { timeout = 10, mutates = false }).rows
end

---Tells each as it comes, after the last ones, until the task is cancelled. A monitor that goes away is waited for.
---@param context pgaf.operate.Context
---@param count integer of those that were before
---@param name? string only this node's
---@param tell fun(event: pgaf.operate.Event)
---@param note fun(text: string) what becomes of the connection
function events.follow(context, count, name, tell, note)
  local started, told = false, {}
  local function one(event)
    if not name or event.name == name then tell(event) end
  end
  local group <close> = task.group { name = "events" }
  watch.start(group, function() return context.reach:monitor("events") end, context.inventory.formation_id, {
    notified = function() end,
    -- What comes before the last ones are told is among them.
    event = function(_, event)
      if started and not told[event.eventid] then one(event) end
      told[event.eventid] = nil
    end,
    polled = function() end,
    lost = function(_, reason) note("the monitor cannot be reached: " .. reason) end,
    found = function() note("the monitor is back") end,
  })
  for _, event in ipairs(events.last(context, count, name)) do
    told[event.eventid] = true
    one(event)
  end
  started = true
  group:wait()
end

---@param event pgaf.operate.Event
---@return string
function events.line(event)
  local when = os.date("%Y-%m-%d %H:%M:%S", math.floor(event.wall))
  return ("%s.%03d  %-14s %-18s -> %-18s %s"):format(when, math.floor(event.wall % 1 * 1000), event.name,
    event.reported, event.goal, event.description)
end

-- A formation nobody knows has no events, which is no answer.
---@param context pgaf.operate.Context
---@return string? problem
function events.unknown(context)
  local connection <close> = context.reach:monitor("events")
  local formation = state.read(connection, context.inventory.formation_id)
  return not formation.known and state.problems(formation)[1] or nil
end

return events

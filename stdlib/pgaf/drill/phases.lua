-- A fail-over split into its phases: between two moments that were seen, with the setting that decides its length.
-- A moment that nobody saw joins its phase to the next one, and is named.

local json = require "pgafrun.json"

local phases = {}

---@class pgaf.Phase
---@field name string
---@field from number time.now()
---@field to number
---@field seconds number
---@field setting string the setting that owns it, with its value
---@field outage boolean clients cannot write in it
---@field unseen string[] marks that were missed inside it

local function timer(name)
  return function(settings) return ("%s = %g s"):format(name, settings.timers[name]) end
end

local function promotion(settings)
  return ("wal_retrieve_retry_interval = %g s; checkpoint"):format(settings.wal_retrieve_retry_interval)
end

local function reconnection(settings)
  return ("the clients' connect_timeout = %g s"):format(settings.connect_timeout)
end

local function fixed(text)
  return function() return text end
end

-- What decides when the monitor notices: see pgaf.drill.prediction.
local function detection(settings)
  return settings.prediction and settings.prediction.terms[1].setting
    or timer("node_considered_unhealthy_timeout")(settings)
end

-- In order of time. Each ends with its mark.
local PHASES = {
  { mark = "dead", name = "processes die", setting = fixed("the provider's forced stop"), outage = true },
  { mark = "noticed", name = "the monitor notices", setting = detection, outage = true },
  { mark = "assigned", name = "a standby is chosen", setting = fixed("standbys report their LSN"), outage = true },
  { mark = "promoted", name = "promotion", setting = promotion, outage = true },
  { mark = "presumed_gone", name = "old primary presumed gone", setting = timer("primary_demote_timeout"),
    outage = true },
  { mark = "writable", name = "writing is opened", setting = fixed("pg_autoctl reloads PostgreSQL"), outage = true },
  { mark = "first_ack", name = "every client is back", setting = reconnection, outage = true },
  { mark = "start_sent", name = "(the drill waits)", setting = fixed("the drill") },
  { mark = "heard_of", name = "victim starts", setting = fixed("boot, pg_autoctl") },
  { mark = "rejoined", name = "victim rejoins", setting = fixed("pg_rewind, or a new base backup") },
  { mark = "synchronous", name = "synchronous again", setting = fixed("the keepers' reports, one a second") },
  { mark = "whole", name = "all healthy", setting = timer("health_check_period") },
}

---@class pgaf.PhaseSettings
---@field timers table<string, number>
---@field wal_retrieve_retry_interval number
---@field connect_timeout number
---@field prediction? pgaf.Prediction

--- The phases that can be told from the marks.
---@param marks table<string, { at: number }>
---@param settings pgaf.PhaseSettings
---@return pgaf.Phase[]
function phases.split(marks, settings)
  local list, unseen = json.as_array(), json.as_array()
  local from = marks.fault_sent and marks.fault_sent.at
  if not from then return list end
  for _, phase in ipairs(PHASES) do
    local mark = marks[phase.mark]
    if not mark then
      unseen[#unseen + 1] = phase.mark
    else
      -- Two moments can come in the other order (a promotion is quicker than being noticed by a look): then nothing
      -- was waited for in this phase.
      local to = math.max(mark.at, from)
      list[#list + 1] = {
        name = phase.name, from = from, to = to, seconds = to - from, setting = phase.setting(settings),
        outage = phase.outage or false, unseen = unseen,
      }
      from, unseen = to, json.as_array()
    end
  end
  return list
end

return phases

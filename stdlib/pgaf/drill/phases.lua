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
---@field key? string by which a budget names it
---@field budget? number seconds: what it and the phases in it that nobody saw may take, as far as they have a budget
---@field over? boolean longer than that; or nobody can tell, because it holds a phase without a budget

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

-- In order of time. Each ends with its mark, and has a key where a budget can name it.
local PHASES = {
  { mark = "dead", key = "death", name = "processes die", setting = fixed("the provider's forced stop"),
    outage = true },
  { mark = "noticed", key = "detection", name = "the monitor notices", setting = detection, outage = true },
  { mark = "assigned", key = "election", name = "a standby is chosen", setting = fixed("standbys report their LSN"),
    outage = true },
  { mark = "promoted", key = "promotion", name = "promotion", setting = promotion, outage = true },
  { mark = "presumed_gone", key = "presumed-gone", name = "old primary presumed gone",
    setting = timer("primary_demote_timeout"), outage = true },
  { mark = "writable", key = "opening", name = "writing is opened",
    setting = fixed("pg_autoctl reloads PostgreSQL"), outage = true },
  { mark = "first_ack", key = "reconnection", name = "every client is back", setting = reconnection, outage = true },
  { mark = "start_sent", name = "(the drill waits)", setting = fixed("the drill") },
  { mark = "heard_of", key = "start", name = "victim starts", setting = fixed("boot, pg_autoctl") },
  { mark = "rejoined", key = "rejoin", name = "victim rejoins", setting = fixed("pg_rewind, or a new base backup") },
  { mark = "synchronous", key = "synchronous", name = "synchronous again",
    setting = fixed("the keepers' reports, one a second") },
  { mark = "whole", key = "healthy", name = "all healthy", setting = timer("health_check_period") },
}

-- Side by side with these, and each from when the client had what it wants for the last time.
local PERSONAS = {
  { key = "proxy", name = "a proxy finds the primary", setting = "its health check, each 0.1 s here" },
  { key = "reader", name = "a reader sees new rows", setting = "the clients' timeouts; writes have to go on" },
  { key = "pinned", name = "a pinned client writes", setting = "it keeps to its node: only that node's return" },
}

---Every key that a budget can name, in order.
---@type string[]
phases.KEYS = {}
for _, list in ipairs { PHASES, PERSONAS } do
  for _, phase in ipairs(list) do phases.KEYS[#phases.KEYS + 1] = phase.key end
end

---Converts an argument.
---@param text string "promotion=2.5"
---@return { key: string, seconds: number }?, string? problem
function phases.budget(text)
  local key, number = text:match "^([%l-]+)=(.+)$"
  local seconds, known = tonumber(number), false
  for _, one in ipairs(phases.KEYS) do known = known or one == key end
  if known and seconds and seconds > 0 and seconds < math.huge then return { key = key, seconds = seconds } end
  if key and not known then
    return nil, ("there is no phase %s; there are %s"):format(key, table.concat(phases.KEYS, ", "))
  end
  return nil, ("PHASE=SECONDS is wanted, with seconds above zero, not '%s'"):format(text)
end

---@param list? { key: string, seconds: number }[] the last of a key holds
---@return table<string, number>
function phases.budgets(list)
  local budgets = {}
  for _, one in ipairs(list or {}) do budgets[one.key] = one.seconds end
  return budgets
end

---@class pgaf.PhaseSettings
---@field timers table<string, number>
---@field wal_retrieve_retry_interval number
---@field connect_timeout number
---@field prediction? pgaf.Prediction
---@field budgets? table<string, number> seconds, by the phases' keys
---@field no_failover? boolean nobody was promoted, and nobody had to be: those phases did not take place

-- The budgets of a phase and of those that it swallowed; `all`: each of them has one.
local function budget_of(members, settings)
  local sum, smallest, all
  for _, phase in ipairs(members) do
    local took_place = not (phase.outage and settings.no_failover)
    local one = took_place and settings.budgets and settings.budgets[phase.key]
    if one then
      sum, smallest = (sum or 0) + one, math.min(smallest or one, one)
    elseif took_place then
      all = false
    end
  end
  return sum, smallest, all ~= false
end

-- Phases that nobody could tell apart are within their budgets when the shortest covers them all, or all together do.
-- What the drill's own wait (without a key) swallowed cannot be judged.
local function hold_against_budget(made, members, settings)
  local sum, smallest, all = budget_of(members, settings)
  if not sum or not made.key then return made end
  made.budget = sum
  made.over = made.seconds > (all and sum or smallest) or nil
  return made
end

--- The phases that can be told from the marks.
---@param marks table<string, { at: number }>
---@param settings pgaf.PhaseSettings
---@return pgaf.Phase[]
function phases.split(marks, settings)
  local list, unseen, members = json.as_array(), json.as_array(), {}
  local from = marks.fault_sent and marks.fault_sent.at
  if not from then return list end
  for _, phase in ipairs(PHASES) do
    local mark = marks[phase.mark]
    members[#members + 1] = phase
    if not mark then
      unseen[#unseen + 1] = phase.mark
    else
      -- Two moments can come in the other order (a promotion is quicker than being noticed by a look): then nothing
      -- was waited for in this phase.
      local to = math.max(mark.at, from)
      list[#list + 1] = hold_against_budget({
        key = phase.key, name = phase.name, from = from, to = to, seconds = to - from,
        setting = phase.setting(settings), outage = phase.outage or false, unseen = unseen,
      }, members, settings)
      from, unseen, members = to, json.as_array(), {}
    end
  end
  return list
end

---@class pgaf.PersonaPhase
---@field key string
---@field name string
---@field setting string what decides it
---@field seconds number without what it wants; 0: it felt nothing
---@field from? number time.now()
---@field to? number nil: it felt nothing, or it was not back at the end
---@field recovered boolean
---@field budget? number seconds
---@field over? boolean

---Each client's own way back.
---@param silences table<string, pgaf.Silence?> the longest that the fault is answerable for, by key
---@param budgets? table<string, number>
---@return pgaf.PersonaPhase[]
function phases.personas(silences, budgets)
  local list = json.as_array()
  for i, persona in ipairs(PERSONAS) do
    local silence, budget = silences[persona.key], budgets and budgets[persona.key]
    local recovered = not silence or silence.to ~= nil
    local seconds = silence and silence.seconds or 0
    list[i] = {
      key = persona.key, name = persona.name, setting = persona.setting, seconds = seconds, recovered = recovered,
      from = silence and silence.from, to = silence and silence.to, budget = budget,
      over = budget and (not recovered or seconds > budget) or nil,
    }
  end
  return list
end

---Budgets of phases that were not seen: nothing could be held against them.
---@param budgets table<string, number>
---@param list pgaf.Phase[]
---@return string[] keys in order
function phases.not_seen(budgets, list)
  local seen, keys = {}, json.as_array()
  for _, persona in ipairs(PERSONAS) do seen[persona.key] = true end
  local members = {}
  for _, phase in ipairs(PHASES) do members[phase.mark] = phase end
  for _, phase in ipairs(list) do
    for _, mark in ipairs(phase.budget and phase.unseen or {}) do seen[members[mark].key or ""] = true end
    if phase.budget then seen[phase.key] = true end
  end
  for _, key in ipairs(phases.KEYS) do
    if budgets[key] and not seen[key] then keys[#keys + 1] = key end
  end
  return keys
end

return phases

-- Timers for a wanted fail-over time: the mildest ones whose predicted worst case keeps it. Between pg_auto_failover's
-- defaults and the quickest that are safe, all timers move together.

local error = require "pgafrun.error"
local prediction = require "pgaf.drill.prediction"

local tuning = {}

-- Milliseconds, network_partition_timeout in seconds, as inventories have them.
local DEFAULTS = {
  health_check_period = 5000, health_check_timeout = 5000, health_check_max_retries = 2,
  health_check_retry_delay = 2000, node_considered_unhealthy_timeout = 20000, primary_demote_timeout = 30000,
  network_partition_timeout = 20,
}
-- The quickest that is proposed. A node reports each second, and is given up only when its health check failed as well.
-- A primary stops itself network_partition_timeout after it heard of nobody, the least is 1 s; and until then, and 2 s
-- for doing it, no other node may take writes.
local QUICKEST = {
  health_check_period = 250, health_check_timeout = 350, health_check_max_retries = 1,
  health_check_retry_delay = 100, node_considered_unhealthy_timeout = 1200, primary_demote_timeout = 3100,
  network_partition_timeout = 1,
}
-- The primary's demotion after its network_partition_timeout, in milliseconds.
local DEMOTION = 2100

local NAMES = {
  "health_check_period", "health_check_timeout", "health_check_max_retries", "health_check_retry_delay",
  "node_considered_unhealthy_timeout", "primary_demote_timeout", "network_partition_timeout",
}
tuning.NAMES = NAMES

local function between(name, share)
  local value = QUICKEST[name] + (DEFAULTS[name] - QUICKEST[name]) * share
  if name == "network_partition_timeout" or name == "health_check_max_retries" then return math.floor(value) end
  return math.floor(value / 50) * 50
end

local function timers_at(share)
  local timers = {}
  for _, name in ipairs(NAMES) do timers[name] = between(name, share) end
  local safe = timers.network_partition_timeout * 1000 + DEMOTION
  timers.primary_demote_timeout = math.max(timers.primary_demote_timeout, safe)
  return timers
end

---Timers in the inventory's units, in seconds.
---@param timers table<string, number>
---@return table<string, number>
function tuning.seconds(timers)
  local seconds = {}
  for name, value in pairs(timers) do
    local plain = name == "network_partition_timeout" or name == "health_check_max_retries"
    seconds[name] = plain and value or value / 1000
  end
  return seconds
end

---@class pgaf.Tuning
---@field timers table<string, integer> in the inventory's units
---@field prediction pgaf.Prediction
---@field risks string[]

local function risks(timers)
  local told = {}
  if timers.node_considered_unhealthy_timeout < 5000 then
    told[#told + 1] = ("a primary that does not report for %.1f s and fails its health check (a busy machine, a " ..
      "long pause of its virtual machine) is failed over"):format(timers.node_considered_unhealthy_timeout / 1000)
  end
  if timers.health_check_timeout < 2000 then
    told[#told + 1] = ("a server that takes longer than %d ms to answer a new connection fails its health check"
      ):format(timers.health_check_timeout)
  end
  if timers.network_partition_timeout < 10 then
    told[#told + 1] = ("a primary that reaches neither monitor nor standby for %d s stops itself: a restart of a " ..
      "switch is an outage"):format(timers.network_partition_timeout)
  end
  return told
end

---@class pgaf.TuningInput
---@field standbys integer
---@field silent boolean see pgaf.drill.prediction
---@field wal_retrieve_retry_interval number
---@field connect_timeout number

---The mildest timers that keep the target. Raises kind "impossible-budget" with the arithmetic when none does.
---@param target number seconds
---@param input pgaf.TuningInput
---@return pgaf.Tuning
function tuning.propose(target, input)
  local function predict(timers)
    return prediction.compute {
      timers = tuning.seconds(timers), standbys = input.standbys, silent = input.silent,
      wal_retrieve_retry_interval = input.wal_retrieve_retry_interval, connect_timeout = input.connect_timeout,
    }
  end
  local quickest = predict(timers_at(0))
  if quickest.worst > target then
    error.raise {
      kind = "impossible-budget", operation = "tune",
      message = ("no safe timers keep a fail-over under %g s:\n  %s"):format(
        target, table.concat(prediction.arithmetic(quickest), "\n  ")),
      hint = "the primary must have stopped taking writes before another node takes any: primary_demote_timeout " ..
        "must be more than network_partition_timeout + 2 s, and that is whole seconds",
    }
  end
  -- The worst case grows with the share: the largest share that still keeps the target.
  local low, high = 0, 1
  if predict(timers_at(1)).worst <= target then low = 1 end
  for _ = 1, 20 do
    local middle = (low + high) / 2
    if predict(timers_at(middle)).worst <= target then low = middle else high = middle end
  end
  local timers = timers_at(low)
  return { timers = timers, prediction = predict(timers), risks = risks(timers) }
end

return tuning

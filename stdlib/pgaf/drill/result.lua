-- A drill's result as a table, from what was wanted to what earlier drills say about it.

local history = require "pgaf.drill.history"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local program = require "pgafrun.program"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local LOOK_BACK_SECONDS = 30

local result = {}

---One of which nothing is known but what was wanted.
---@param inventory table
---@param fault pgaf.Fault
---@param budget number
---@return table
function result.blank(inventory, fault, budget)
  return {
    formation = inventory.formation, environment = inventory.environment, provider = inventory.provider.kind,
    budget = budget, started = time.iso(), version = program.version, roles = {}, fault = fault.name,
    title = fault.title, hypothesis = fault.hypothesis, promotion = fault.promotion, broken = json.as_array(),
    may_stop = fault.writes == "stop",
  }
end

---How the drill was wanted, as far as its figures depend on it.
---@param options pgaf.DrillOptions
---@return table
function result.options(options)
  return {
    writers = options.writers, interval = options.interval, steady = options.steady, force = options.force,
    repair_timeout = options.repair_timeout,
  }
end

---What a fail-over depends on beside the monitor's timers.
---@param baseline pgaf.Baseline
---@return table
function result.settings(baseline)
  local settings = {
    wal_retrieve_retry_interval = baseline.wal_retrieve_retry_interval, nodes = {},
    number_sync_standbys = baseline.formation.number_sync_standbys,
  }
  for _, node in ipairs(baseline.formation.nodes) do
    settings.nodes[node.name] = {
      candidate_priority = node.candidate_priority, replication_quorum = node.replication_quorum,
    }
  end
  return settings
end

---What earlier drills say about it. Nothing that is the matter with them is a matter of this one.
---@param found table a result
---@param inventory table
---@return pgaf.history.Comparison?
function result.look_back(found, inventory)
  local ok, comparison, troubles = pcall(task.shield, LOOK_BACK_SECONDS, history.look_back, found, inventory)
  if not ok then return log.warn("the history could not be read", { why = tostring(comparison) }) end
  for _, trouble in ipairs(troubles) do
    log.warn("an earlier run is left out of the history", { folder = trouble.folder, why = trouble.problem })
  end
  return comparison
end

return result

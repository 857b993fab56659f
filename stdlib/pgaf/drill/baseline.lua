-- What a drill needs before it may touch anything: the formation whole, and everything reachable that it will need
-- later. Only reads.

local error = require "pgafrun.error"
local names_of = require "pgaf.names"
local task = require "pgafrun.task"
local connect = require "pgaf.connect"
local guc = require "pgaf.postgres.guc"
local state = require "pgaf.autofailover.state"

-- A formation that is whole is seen to be so within its stable time; a bit more for a transition that just ends.
local PATIENCE_SECONDS = 6

local baseline = {}

---@class pgaf.Baseline
---@field formation pgaf.FormationState
---@field timers table<string, number>
---@field primary string name
---@field standbys string[] names
---@field wal_retrieve_retry_interval number seconds, the longest of all standbys
---@field synchronous_commit string of the clients' sessions

local function unhealthy(reasons)
  error.raise {
    kind = "unhealthy", operation = "baseline", reasons = reasons,
    message = "the formation is not whole, nothing was touched:\n  " .. table.concat(reasons, "\n  "),
    hint = "pgafrun scripts/state.lua shows it whole; a drill on a degraded formation could end it",
  }
end

local function check_nodes(context)
  local reasons = {}
  for _, entry in ipairs(context.inventory.nodes) do
    local status = context.provider:node(entry.name):status()
    if status ~= "running" then reasons[#reasons + 1] = ("node %s is %s"):format(entry.name, status) end
  end
  if #reasons > 0 then unhealthy(reasons) end
end

local function find_roles(context, formation)
  local primary = state.primary(formation).name
  local standbys = names_of(context.inventory.nodes, primary)
  if #standbys == #context.inventory.nodes then
    unhealthy { ("the primary %s is not in the inventory: it could not be started again"):format(primary) }
  end
  return primary, standbys
end

-- A monitor that has just started fails nothing over yet.
local function wait_for_grace(formation, timers, say)
  local left = (timers.startup_grace_period or 0) - formation.monitor_uptime
  if left <= 0 then return end
  say(("the monitor has just started and does not fail over yet: waiting %.0f s"):format(math.ceil(left)))
  task.sleep(left)
end

local function retry_interval(context, standbys)
  local longest = 0
  for _, name in ipairs(standbys) do
    local connection <close> = context.reach:node(name, "drill baseline")
    local row = connection:query([[
select setting as value, unit from pg_settings where name = 'wal_retrieve_retry_interval']]).rows[1]
    longest = math.max(longest, guc.seconds(row.value, row.unit))
  end
  return longest
end

local PRIVILEGE_SQL = [[
select has_schema_privilege(current_user, 'pgaf_probe', 'create') as may_create,
       current_setting('synchronous_commit') as synchronous_commit
 where to_regnamespace('pgaf_probe') is not null]]

local function check_writer(context, primary)
  local connection <close> = context.reach:primary("drill baseline")
  local row = connection:query(PRIVILEGE_SQL).rows[1]
  if not (row and row.may_create) then
    error.raise {
      kind = "permission", operation = "baseline",
      message = ("role %s has no schema of its own in database %s"):format(
        connect.PROBE_ROLE, context.inventory.application.database),
      hint = "run pgafrun scripts/postgres_ha.lua again: it makes the role and its schema",
    }
  end
  local expected = context.provider:node(primary).hostname
  if connection.host ~= expected then
    unhealthy { ("writes go to %s, while the monitor's primary is %s"):format(connection.host, expected) }
  end
  return row.synchronous_commit
end

--- Raises kind "unhealthy" (with `reasons`) when the formation is not whole; anything else that is raised says what
--- could not be reached or is missing.
---@param context pgaf.DrillContext
---@param say fun(text: string)
---@return pgaf.Baseline
function baseline.read(context, say)
  local inventory = context.inventory
  local timers
  do
    local connection <close> = context.reach:monitor("drill baseline")
    timers = state.timers(connection)
  end
  check_nodes(context)
  local problems = {}
  local ok, formation = pcall(state.wait_whole, function() return context.reach:monitor("drill baseline") end,
    inventory.formation_id, {
      expected = names_of(inventory.nodes), timeout = PATIENCE_SECONDS,
      on_read = function(_, found) problems = found end,
    })
  task.check()
  if not ok then unhealthy(#problems > 0 and problems or { tostring(formation) }) end
  wait_for_grace(formation, timers, say)
  local primary, standbys = find_roles(context, formation)
  return {
    formation = formation, timers = timers, primary = primary, standbys = standbys,
    wal_retrieve_retry_interval = retry_interval(context, standbys),
    synchronous_commit = check_writer(context, primary),
  }
end

return baseline

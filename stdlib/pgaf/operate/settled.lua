-- Whether a formation is what an action needs before it, and has become what was wanted after it.

local throw = error
local error = require "pgafrun.error"
local log = require "pgafrun.log"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"

-- A formation that is well is seen to be so within state.STABLE_SECONDS; a bit more for a transition that just ends.
-- A change asked for while a setting is being applied would take half a minute.
local PATIENCE_SECONDS = 8
-- A slow machine's formation that is well now and then is looked at for longer.
local WAVERING_SECONDS = 30
local DEADLOCK = "40P01"
local TRIES = 3

local settled = {}

---@param context pgaf.operate.Context
---@return pgaf.FormationState
function settled.read(context)
  local connection <close> = context.reach:monitor("operate")
  local formation = state.read(connection, context.inventory.formation_id)
  if formation.known then return formation end
  return error.raise {
    kind = "missing", operation = "read the formation", message = state.problems(formation)[1],
    hint = "pgafrun postgres_ha makes it",
  }
end

---Calls one of the monitor's functions. Deadlocks with a node's report are known of it: it is asked again then.
---@param context pgaf.operate.Context
---@param sql string
---@param parameters any[]
---@return table<string, any>? row the first
function settled.ask(context, sql, parameters)
  for try = 1, TRIES do
    local connection <close> = context.reach:monitor("operate")
    local ok, result = pcall(connection.query, connection, sql, parameters, { timeout = 60, mutates = true })
    if ok then return result.rows[1] end
    task.check()
    if try == TRIES or not error.is(result, "postgres", DEADLOCK) then throw(result, 0) end
    task.sleep(0.5)
  end
end

---Names of the nodes that are in maintenance, or shall be.
---@param formation pgaf.FormationState
---@return table<string, boolean>
function settled.resting(formation)
  local names = {}
  for _, node in ipairs(formation.nodes) do
    if node.goal:find "maintenance$" then names[node.name] = true end
  end
  return names
end

---The formation with only those nodes that a function keeps.
---@param formation pgaf.FormationState
---@param keep fun(node: pgaf.NodeState): boolean?
---@return pgaf.FormationState
function settled.part(formation, keep)
  local nodes = {}
  for _, node in ipairs(formation.nodes) do
    if keep(node) then nodes[#nodes + 1] = node end
  end
  return setmetatable({ nodes = nodes }, { __index = formation })
end

local function wait(context, seconds, judge)
  local problems, well = {}, false
  local ok, formation, since = pcall(state.wait_whole, function() return context.reach:monitor("operate") end,
    context.inventory.formation_id, {
      timeout = seconds, judge = judge,
      on_read = function(_, found)
        if #found == 0 then well = true else problems = found end
      end,
    })
  if ok then return formation, since end
  task.check()
  if not error.is(formation, "timeout", "not-whole") then throw(formation, 0) end
  if #problems == 0 then problems = { "the monitor did not answer often enough to tell" } end
  return nil, problems, well
end

---Before anything is touched: raises kind "unhealthy" with the reasons where the formation is not what an action needs.
---@param context pgaf.operate.Context
---@param what string the action
---@param judge fun(formation: pgaf.FormationState): string[]
---@param hint? string
---@return pgaf.FormationState
function settled.insist(context, what, judge, hint)
  local formation, problems, well = wait(context, PATIENCE_SECONDS, judge)
  if not formation and well then formation, problems = wait(context, WAVERING_SECONDS, judge) end
  if formation then return formation end
  return error.raise {
    kind = "unhealthy", operation = what, reasons = problems, hint = hint or "pgafrun state shows the formation",
    message = "the formation is not fit for it, nothing was touched:\n  " .. table.concat(problems, "\n  "),
  }
end

---Afterwards: waits until the formation is what was wanted, and stays so.
---@param context pgaf.operate.Context
---@param what string the action
---@param judge fun(formation: pgaf.FormationState): string[]
---@return pgaf.FormationState formation, number since time.now()
function settled.wait(context, what, judge)
  local ok, formation, more = pcall(wait, context, context.timeout, judge)
  if not ok then
    if error.is(formation, "cancelled") then
      log.warn(what .. " was asked for, and goes on: pgafrun state shows what becomes of it")
    end
    throw(formation, 0)
  end
  if formation then return formation, more end
  return error.raise {
    kind = "timeout", operation = what, code = "not-settled", reasons = more,
    message = ("it was asked for, and after %g s the formation is not as wanted:\n  %s"):format(
      context.timeout, table.concat(more, "\n  ")),
    hint = "pgafrun state and pgafrun logs tell more; it may still come to be",
  }
end

return settled

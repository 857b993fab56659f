-- What the monitor keeps about a formation and its nodes, read first and set where it differs. By pg_auto_failover's
-- SQL functions: the command line reports errors as success and success as errors.

local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local literal = require("pgafrun.pg").quote_literal
local names_of = require "pgaf.names"
local states = require "pgaf.autofailover.state"
local time = require "pgafrun.time"

local registration = {}

local WHOLE_SECONDS = 180

---Why the formation is not whole; nil when it is.
---@param formation pgaf.Formation
---@param state pgaf.FormationState|false
---@return string?
function registration.not_whole(formation, state)
  if not state then return "the monitor does not answer" end
  local problems = states.problems(state, names_of(formation.nodes))
  for _, row in ipairs(state.nodes) do
    local begun_at = formation.by_name[row.name] and formation.by_name[row.name].begun_at
    if begun_at and row.report_age > time.now() - begun_at then
      problems[#problems + 1] = row.name .. " has not reported since it was started"
    end
  end
  return #problems > 0 and table.concat(problems, "; ") or nil
end

---Waits until all nodes are what they shall be: one primary, the others secondary, healthy, heard of just now.
---@param formation pgaf.Formation
---@return pgaf.Resource
function registration.whole(formation)
  return {
    kind = "formation", name = formation.name, reads = { formations.STATE },
    probe = function(_, _, facts) return registration.not_whole(formation, facts.sql.formation) end,
    wait = function()
      formation:wait(WHOLE_SECONDS, function(state) return registration.not_whole(formation, state) end,
        "formation " .. formation.name, "pgafrun scripts/state.lua shows it; the nodes' logs tell why")
    end,
  }
end

---A setting that differs at the monitor.
---@class pgaf.FormationSetting
---@field what string
---@field before string
---@field after string
---@field statement string that sets it

-- In the order they are set: a lower number_sync_standbys before nodes leave the quorum, a higher one after.
---@return pgaf.FormationSetting[]
local function differences(formation, state)
  if not state then
    error.raise {
      kind = "missing", operation = "formation settings", message = "the monitor does not answer",
      hint = "pgafrun scripts/state.lua shows the formation; the monitor's log tells why",
    }
  end
  local inventory = formation.inventory
  local id = literal(inventory.formation_id)
  local found = {}
  local function differ(what, before, after, statement, first)
    table.insert(found, first and 1 or #found + 1,
      { what = what, before = tostring(before), after = tostring(after), statement = statement })
  end
  for _, row in ipairs(state.nodes) do
    local target = formation.by_name[row.name]
    for _, name in ipairs(target and { "candidate_priority", "replication_quorum" } or {}) do
      local now, wanted = row[name], target.entry[name]
      if now ~= wanted then
        differ(("%s of %s"):format(name, row.name), now, wanted,
          ("select pgautofailover.set_node_%s(%s, %s, %s)"):format(name, id, literal(row.name), wanted))
      end
    end
  end
  local now, wanted = state.number_sync_standbys, inventory.formation_settings.number_sync_standbys
  if now ~= wanted then
    differ("number_sync_standbys", now, wanted,
      ("select pgautofailover.set_formation_number_sync_standbys(%s, %d)"):format(id, wanted), wanted < now)
  end
  return found
end

---number_sync_standbys, candidate_priority and replication_quorum.
---@param formation pgaf.Formation
---@return pgaf.Resource
function registration.settings(formation)
  local resource = { kind = "formation settings", name = formation.name, reads = { formations.STATE } }

  function resource:probe(_, facts)
    local says = {}
    for i, one in ipairs(differences(formation, facts.sql.formation)) do
      says[i] = ("%s is %s, not %s"):format(one.what, one.before, one.after)
    end
    return #says > 0 and table.concat(says, "; ") or nil
  end

  function resource:changes(_, facts)
    local list = {}
    for i, one in ipairs(differences(formation, facts.sql.formation)) do
      list[i] = { what = one.what, before = one.before, after = one.after }
    end
    return list
  end

  -- Each change goes through the primary (apply_settings); until that is over the monitor refuses a second one, and a
  -- fail-over would take half a minute. Where a standby is gone the primary stays there: nothing is begun then.
  function resource:apply(target, difference, facts)
    registration.whole(formation).wait()
    for _, one in ipairs(differences(formation, facts.sql.formation)) do
      formations.sql(target, "pg_auto_failover", one.statement .. ";")
      registration.whole(formation).wait()
    end
    return difference
  end

  return resource
end

return registration

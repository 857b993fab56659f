-- What the monitor keeps about a formation and its nodes, read first and set where it differs. By pg_auto_failover's
-- SQL functions: the command line reports errors as success and success as errors.

local formations = require "pgaf.autofailover.formation"
local literal = require("pgafrun.pg").quote_literal
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
  local problems = states.problems(state, formations.names(formation.nodes))
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
    reads = { formations.STATE },
    probe = function(_, _, facts) return registration.not_whole(formation, facts.sql.formation) end,
    wait = function()
      formation:wait(WHOLE_SECONDS, function(state) return registration.not_whole(formation, state) end,
        "formation " .. formation.name, "pgafrun scripts/state.lua shows it; the nodes' logs tell why")
    end,
  }
end

-- Statements in their order: a lower number_sync_standbys before nodes leave the quorum, a higher one after.
local function differences(formation, state)
  local inventory = formation.inventory
  local id = literal(inventory.formation_id)
  local found, statements = {}, {}
  local function differ(what, statement, first)
    found[#found + 1] = what
    table.insert(statements, first and 1 or #statements + 1, statement)
  end
  for _, row in ipairs(state.nodes) do
    local target = formation.by_name[row.name]
    local entry = target and target.entry
    if entry and row.candidate_priority ~= entry.candidate_priority then
      differ(("candidate_priority of %s is %d, not %d"):format(row.name, row.candidate_priority,
        entry.candidate_priority), ("select pgautofailover.set_node_candidate_priority(%s, %s, %d)"):format(
        id, literal(row.name), entry.candidate_priority))
    end
    if entry and row.replication_quorum ~= entry.replication_quorum then
      differ(("replication_quorum of %s is %s, not %s"):format(row.name, row.replication_quorum,
        entry.replication_quorum), ("select pgautofailover.set_node_replication_quorum(%s, %s, %s)"):format(
        id, literal(row.name), entry.replication_quorum))
    end
  end
  local wanted = inventory.formation_settings.number_sync_standbys
  if state.number_sync_standbys ~= wanted then
    differ(("number_sync_standbys is %d, not %d"):format(state.number_sync_standbys, wanted),
      ("select pgautofailover.set_formation_number_sync_standbys(%s, %d)"):format(id, wanted),
      wanted < state.number_sync_standbys)
  end
  return found, statements
end

---number_sync_standbys, candidate_priority and replication_quorum.
---@param formation pgaf.Formation
---@return pgaf.Resource
function registration.settings(formation)
  local resource = { reads = { formations.STATE } }

  function resource:probe(_, facts)
    local found = differences(formation, facts.sql.formation)
    return #found > 0 and table.concat(found, "; ") or nil
  end

  -- Each change goes through the primary (apply_settings); until that is over the monitor refuses a second one, and a
  -- fail-over would take half a minute.
  function resource:apply(target, difference, facts)
    local _, statements = differences(formation, facts.sql.formation)
    for _, statement in ipairs(statements) do
      formations.sql(target, "pg_auto_failover", statement .. ";")
      registration.whole(formation).wait()
    end
    return difference
  end

  return resource
end

return registration

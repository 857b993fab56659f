-- A formation in a few lines: what the monitor sees, and how an application connects.

local columns = require "pgaf.columns"
local task = require "pgafrun.task"

local summary = {}

local HEALTH = { [-1] = "unknown", [0] = "bad", [1] = "good" }

---The URI for applications: all hosts, the one that takes writes is chosen. Never a password.
---@param formation pgaf.Formation
---@return string
function summary.uri(formation)
  local hosts = {}
  for i, target in ipairs(formation.nodes) do hosts[i] = ("%s:%d"):format(target.node.hostname, target.entry.port) end
  local application = formation.inventory.application
  return ("postgresql://%s@%s/%s?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=ca.crt" ..
    "&connect_timeout=2"):format(application.user, table.concat(hosts, ","), application.database)
end

---The state as a table for people.
---@param state pgaf.FormationState
---@return string[] lines
function summary.lines(state)
  local rows = { { "node", "address", "state", "goal", "health", "timeline", "LSN", "priority", "quorum" } }
  for _, row in ipairs(state.nodes) do
    rows[#rows + 1] = {
      row.name, ("%s:%d"):format(row.host, row.port), row.reported, row.goal, HEALTH[row.health] or "?",
      tostring(row.timeline), row.lsn, tostring(row.candidate_priority), tostring(row.replication_quorum),
    }
  end
  return columns.lines(rows)
end

---Where the certificate of the URI's sslrootcert is kept.
---@param formation pgaf.Formation
---@return string
local function certificate_place(formation)
  return ("%s:%s"):format(formation.monitor.name, formation.monitor.paths.ca_crt)
end

---Writes state, URI and what is left to a person to the report.
---@param formation pgaf.Formation
---@param report pgaf.play.Report
function summary.tell(formation, report)
  -- a run of a part of the play says nothing of the monitor's machine
  local ok, state = pcall(formation.state, formation)
  task.check()
  if not ok then state = false end
  report:event("formation", {
    formation = formation.name, state = state or nil, uri = summary.uri(formation),
    restart_pending = formation.restart_pending,
  })
  report:say("")
  if state then
    for _, line in ipairs(summary.lines(state)) do report:say(line) end
    report:say(("number_sync_standbys %d"):format(state.number_sync_standbys))
    for _, row in ipairs(state.nodes) do
      if not formation.by_name[row.name] then
        report:say(row.name .. " is registered, and not in the inventory: its connections are refused from now on")
      end
    end
  else
    report:say(("the monitor of %s does not answer"):format(formation.name))
  end
  for _, target in ipairs(formation.targets) do
    local pending = formation.restart_pending and formation.restart_pending[target.name]
    if pending then
      report:say(("%s: these settings wait for a restart of PostgreSQL: %s"):format(target.name, pending))
    end
  end
  report:say("")
  report:say("for applications: " .. summary.uri(formation))
  report:say("  its ca.crt is " .. certificate_place(formation))
end

return summary

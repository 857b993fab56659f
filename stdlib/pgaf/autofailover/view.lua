-- A formation as a person looks at it: what its monitor knows of each node, what each node's machine does, what is not
-- as it should be, and how an application connects.

local columns = require "pgaf.columns"
local journals = require "pgaf.drill.journal"
local json = require "pgafrun.json"
local names_of = require "pgaf.names"
local state = require "pgaf.autofailover.state"

local view = {}

local HEALTH = { [-1] = "unknown", [0] = "bad", [1] = "good" }

---@class pgaf.View as `pgafrun state --json` writes it
---@field formation string
---@field whole boolean
---@field problems string[]
---@field nodes table[]
---@field uri string

---@param provider pgaf.Provider
---@param reach pgaf.Reach
---@param inventory pgaf.Inventory
---@return pgaf.View
function view.gather(provider, reach, inventory)
  local connection <close> = reach:monitor("state")
  local formation = state.read(connection, inventory.formation_id)
  local nodes = json.as_array()
  for i, node in ipairs(formation.nodes) do
    nodes[i] = {
      id = node.nodeid, name = node.name, host = node.host, port = node.port, reported = node.reported,
      goal = node.goal, health = HEALTH[node.health], report_age = node.report_age, timeline = node.timeline,
      lsn = node.lsn, candidate_priority = node.candidate_priority, replication_quorum = node.replication_quorum,
      provider = provider:node(node.name):status(),
    }
  end
  local problems = json.as_array(state.problems(formation, names_of(inventory.nodes)))
  for _, journal in ipairs(journals.open_runs(inventory)) do
    problems[#problems + 1] = "a drill was not put back (scripts/restore.lua does it): " .. journal:describe()
  end
  return {
    formation = inventory.formation, id = inventory.formation_id, database = formation.dbname,
    number_sync_standbys = formation.number_sync_standbys, whole = #problems == 0, problems = problems,
    nodes = nodes, timers = state.timers(connection), uri = reach:uri(),
  }
end

local HEADS = { "NODE", "HOST:PORT", "REPORTED", "GOAL", "HEALTH", "REPORT", "TLI", "LSN", "NODE IS" }
local AT_THE_RIGHT = { [6] = true, [7] = true }

---@param found pgaf.View
---@return string[] lines
function view.lines(found)
  local rows = { HEADS }
  for _, node in ipairs(found.nodes) do
    rows[#rows + 1] = {
      node.name, ("%s:%d"):format(node.host, node.port), node.reported, node.goal, node.health or "unknown",
      node.report_age and ("%.1f s"):format(node.report_age) or "never", tostring(node.timeline or "-"),
      node.lsn or "-", node.provider,
    }
  end
  local lines = columns.lines(rows, { right = AT_THE_RIGHT })
  lines[#lines + 1] = ""
  lines[#lines + 1] = found.whole and "the formation is whole" or "the formation is not whole:"
  for _, problem in ipairs(found.problems) do lines[#lines + 1] = "  " .. problem end
  lines[#lines + 1] = found.uri
  return lines
end

return view

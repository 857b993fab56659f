-- Shows a formation as its monitor knows it, and the URI that applications use.

local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local finish = require "pgaf.drill.finish"
local journals = require "pgaf.drill.journal"
local json = require "pgafrun.json"
local judge = require "pgaf.drill.judge"
local log = require "pgafrun.log"
local providers = require "pgaf.provider"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"

local SPEC = {
  name = "state",
  description = "Show the formation's nodes, whether it is whole, and the application's URI.",
  epilog = [[
Exit codes:
  0    the formation is whole
  1    it is not: the reasons are told
  3    the monitor cannot be reached, or a tool or a permission is missing
  64   usage, or a mistake in the inventory]],
}

local function declare(parser)
  parser:flag("--json", "One JSON object.")
end

local HEALTH = { [-1] = "unknown", [0] = "bad", [1] = "good" }

local function gather(provider, reach, inventory)
  local connection <close> = reach:monitor("state")
  local formation = state.read(connection, inventory.formation_id)
  local names = {}
  for i, entry in ipairs(inventory.nodes) do names[i] = entry.name end
  local nodes = json.as_array()
  for i, node in ipairs(formation.nodes) do
    nodes[i] = {
      id = node.nodeid, name = node.name, host = node.host, port = node.port, reported = node.reported,
      goal = node.goal, health = HEALTH[node.health], report_age = node.report_age, timeline = node.timeline,
      lsn = node.lsn, candidate_priority = node.candidate_priority, replication_quorum = node.replication_quorum,
      provider = provider:node(node.name):status(),
    }
  end
  local problems = json.as_array(state.problems(formation, names))
  for _, journal in ipairs(journals.open_runs(inventory)) do
    problems[#problems + 1] = "a drill was not put back (scripts/restore.lua does it): " .. journal:describe()
  end
  return {
    formation = inventory.formation, id = inventory.formation_id, database = formation.dbname,
    number_sync_standbys = formation.number_sync_standbys, whole = #problems == 0, problems = problems,
    nodes = nodes, timers = state.timers(connection), uri = reach:uri(),
  }
end

local ROW = "%-16s %-22s %-16s %-16s %-8s %8s %4s %-12s %-8s"

local function show(found)
  local function print_row(...) print((ROW:format(...):gsub("%s+$", ""))) end
  print_row("NODE", "HOST:PORT", "REPORTED", "GOAL", "HEALTH", "REPORT", "TLI", "LSN", "NODE IS")
  for _, node in ipairs(found.nodes) do
    print_row(node.name, ("%s:%d"):format(node.host, node.port), node.reported, node.goal, node.health or "unknown",
      node.report_age and ("%.1f s"):format(node.report_age) or "never", node.timeline or "-", node.lsn or "-",
      node.provider)
  end
  print()
  print(found.whole and "the formation is whole" or "the formation is not whole:")
  for _, problem in ipairs(found.problems) do print("  " .. problem) end
  print(found.uri)
end

local args, inventory = finish.parse(SPEC, declare, ...)
if not args then return judge.USAGE end

local ok, found = pcall(function()
  local provider <close> = providers.open(inventory)
  provider:check()
  local reach <close> = connect.open(provider, inventory)
  return gather(provider, reach, inventory)
end)
if not ok then
  task.check()
  if not error.is(found) then error.raise { kind = "internal", message = tostring(found) } end
  log.error(tostring(found))
  return judge.MISSING
end
if args.json then print(json.encode(found, { indent = 2 })) else show(found) end
return found.whole and judge.PASSED or judge.UNHEALTHY

-- Which versions a formation runs: a fail-over that got slower may be another version's.

local error = require "pgafrun.error"
local task = require "pgafrun.task"

local MONITOR_SQL = [[
select current_setting('server_version') as postgresql,
       (select extversion from pg_extension where extname = 'pgautofailover') as extension]]
local NODE_SQL = "select current_setting('server_version') as postgresql"
local ASK_SECONDS = 20

local versions = {}

---@class pgaf.NodeVersions
---@field postgresql? string of the server that runs
---@field extension? string of pg_auto_failover in the monitor's database
---@field pg_autoctl? string
---@field problem? string why some of it is not known

local function autoctl(node)
  local printed = node:run("pg_autoctl version", { user = node.provider.system_user, timeout = ASK_SECONDS }).stdout
  return printed:match "pg_autoctl version ([^\n]+)"
end

local function ask(context, name, is_monitor)
  local found = {}
  local ok, problem = pcall(function()
    found.pg_autoctl = autoctl(context.provider:node(name))
    local connection <close> = is_monitor and context.reach:monitor "drill versions"
      or context.reach:node(name, "drill versions")
    local row = connection:query(is_monitor and MONITOR_SQL or NODE_SQL).rows[1]
    found.postgresql, found.extension = row.postgresql, row.extension
  end)
  task.check()
  if not ok then found.problem = error.is(problem) and problem.message or tostring(problem) end
  return found
end

---Asks each node. What cannot be told is no reason not to drill: it says why.
---@param context pgaf.DrillContext
---@return table<string, pgaf.NodeVersions> by the nodes' names
function versions.read(context)
  local found, inventory = {}, context.inventory
  local group <close> = task.group { name = "versions" }
  group:spawn_named("versions " .. inventory.monitor.name, function()
    found[inventory.monitor.name] = ask(context, inventory.monitor.name, true)
  end)
  for _, entry in ipairs(inventory.nodes) do
    group:spawn_named("versions " .. entry.name, function() found[entry.name] = ask(context, entry.name, false) end)
  end
  group:wait()
  return found
end

return versions

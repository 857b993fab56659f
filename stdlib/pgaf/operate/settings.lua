-- The settings that a formation runs with now, beside what its inventory says.

local throw = error
local error = require "pgafrun.error"
local guc = require "pgaf.postgres.guc"
local settled = require "pgaf.operate.settled"
local sorted_keys = require "pgaf.sorted_keys"
local task = require "pgafrun.task"

-- What decides over a fail-over and over who waits for whom, beside what the inventory sets.
local TELLING = {
  "max_slot_wal_keep_size", "shared_buffers", "synchronous_commit", "synchronous_standby_names", "wal_keep_size",
  "wal_retrieve_retry_interval",
}

local ROWS_SQL = [[
select name, setting, unit, vartype, min_val as min, max_val as max, enumvals::text as enums,
       current_setting(name) as shown, pending_restart
  from pg_settings where name = any(string_to_array($1, ',')) order by name]]

local settings = {}

---@class pgaf.operate.Setting
---@field where string name of the node, or "formation"
---@field name string
---@field value string as the server shows it
---@field wanted? string of the inventory, where it says something
---@field differs boolean from the inventory
---@field pending_restart? boolean another value waits for a restart

local function setting(where, name, value, wanted)
  return {
    where = where, name = name, value = guc.show(value), wanted = wanted ~= nil and guc.show(wanted) or nil,
    differs = wanted ~= nil and guc.show(value) ~= guc.show(wanted),
  }
end

---A row of pg_settings beside what is wanted: "200ms" and 200 of a setting in milliseconds are the same.
---@param where string
---@param row table
---@param wanted any
---@return pgaf.operate.Setting
function settings.compare(where, row, wanted)
  local enums = {}
  for word in (row.enums or ""):gmatch "[^{},\"]+" do enums[#enums + 1] = word end
  local kind = {
    name = row.name, vartype = row.vartype, unit = row.unit, min = row.min, max = row.max, enumvals = enums,
  }
  local found = setting(where, row.name, row.shown, wanted)
  found.pending_restart = row.pending_restart or nil
  if wanted ~= nil then found.differs = guc.canonical(kind, wanted) ~= guc.canonical(kind, row.setting) end
  return found
end

local function ask(connection, where, names, wanted, list)
  local sql = connection:query(ROWS_SQL, { table.concat(names, ",") }, { timeout = 10, mutates = false })
  for _, row in ipairs(sql.rows) do list[#list + 1] = settings.compare(where, row, wanted[row.name]) end
end

local function of_monitor(context, list)
  local inventory, wanted = context.inventory, {}
  for name, value in pairs(inventory.timers) do
    if name ~= "network_partition_timeout" then wanted["pgautofailover." .. name] = value end
  end
  local connection <close> = context.reach:monitor("settings")
  ask(connection, inventory.monitor.name, sorted_keys(wanted), wanted, list)
end

local function of_formation(context, list)
  local inventory, formation = context.inventory, settled.read(context)
  list[#list + 1] = setting("formation", "number_sync_standbys", formation.number_sync_standbys,
    inventory.formation_settings.number_sync_standbys)
  for _, node in ipairs(formation.nodes) do
    local entry = {}
    for _, one in ipairs(inventory.nodes) do
      if one.name == node.name then entry = one end
    end
    for _, name in ipairs { "candidate_priority", "replication_quorum" } do
      list[#list + 1] = setting(node.name, name, node[name], entry[name])
    end
  end
end

-- What the inventory wants of a data node; "auto" is for the node itself to compute.
local function wanted_of(context)
  local postgres, wanted = context.inventory.postgres, {}
  for _, name in ipairs { "wal_keep_size", "max_slot_wal_keep_size", "wal_retrieve_retry_interval" } do
    wanted[name] = postgres[name]
  end
  if postgres.shared_buffers ~= "auto" then wanted.shared_buffers = postgres.shared_buffers end
  for name, value in pairs(postgres.settings) do wanted[name] = value end
  return wanted
end

---@param context pgaf.operate.Context
---@param more string[] names of further settings of the data nodes
---@return pgaf.operate.Setting[] settings, table<string, string> problems of nodes that could not be asked, by name
function settings.read(context, more)
  local list, problems, wanted, names = {}, {}, wanted_of(context), {}
  of_monitor(context, list)
  of_formation(context, list)
  for name in pairs(wanted) do names[name] = true end
  for _, name in ipairs(TELLING) do names[name] = true end
  for _, name in ipairs(more) do names[name] = true end
  for _, entry in ipairs(context.inventory.nodes) do
    local ok, problem = pcall(function()
      local connection <close> = context.reach:node(entry.name, "settings")
      ask(connection, entry.name, sorted_keys(names), wanted, list)
    end)
    task.check()
    if not ok then
      if not error.is(problem) then throw(problem, 0) end
      problems[entry.name] = tostring(problem)
    end
  end
  return list, problems
end

---Names that no node has.
---@param list pgaf.operate.Setting[]
---@param more string[]
---@return string[]
function settings.unknown(list, more)
  local known, unknown = {}, {}
  for _, one in ipairs(list) do known[one.name] = true end
  for _, name in ipairs(more) do
    if not known[name] then unknown[#unknown + 1] = name end
  end
  return unknown
end

return settings

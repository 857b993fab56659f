-- After a drill each write is looked up: on the new primary, and then on every other node once it has replayed what
-- the primary had. The workload must have stopped.

local task = require "pgafrun.task"
local ledger = require "pgaf.drill.ledger"

local CATCH_UP_SECONDS = 30

local audit = {}

-- As one text: a row each for a hundred thousand ids would cost many times as much.
local function read_ids(connection, table_name)
  local row = connection:query(("select string_agg(id::text, ',') as ids from %s"):format(table_name)).rows[1]
  local ids = {}
  for id in (row.ids or ""):gmatch("%d+") do ids[#ids + 1] = math.tointeger(tonumber(id)) end
  return ids
end

local function wait_replayed(connection, lsn)
  local row
  for _ = 1, CATCH_UP_SECONDS * 20 do
    row = connection:query([[
select coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false) as there,
       pg_last_wal_replay_lsn()::text as lsn]], { lsn }).rows[1]
    if row.there then return end
    task.sleep(0.05)
  end
  return ("has replayed up to %s of %s only"):format(row.lsn or "nothing", lsn)
end

-- How long nobody could write, as the data has it: from the last row before to the first that another server made than
-- the one that made the rows until then. By the nodes' own clocks, which are not this program's.
local GAP_SQL = [[
with d as (select at, server, port from %s),
     old as (select server, port from d order by at limit 1),
     new as (select d.at from d, old where (d.server, d.port) is distinct from (old.server, old.port)
              order by d.at limit 1)
select extract(epoch from new.at - (select max(d.at) from d where d.at < new.at))::float8 as seconds from new]]

local function look_at(context, name, table_name, ids, lsn)
  local connection <close> = context.reach:node(name, "drill audit")
  local problem = wait_replayed(connection, lsn)
  return { differs = ledger.difference(ids, read_ids(connection, table_name)), problem = problem }
end

---@class pgaf.AuditResult: pgaf.Audit
---@field rows integer
---@field nodes table<string, { differs: integer[]?, problem: string? }> every other node; without `differs` it could
---       not be looked at
---@field data_gap number? seconds; nil: one server made all rows

--- Looks everything up. Raises when the primary cannot be looked at.
---@param context pgaf.DrillContext
---@param workload pgaf.Workload
---@return pgaf.AuditResult
function audit.run(context, workload)
  local primary <close> = context.reach:primary("drill audit")
  local ids = read_ids(primary, workload.table_name)
  local result = workload.ledger:audit(ids)
  result.rows, result.nodes = #ids, {}
  local measured = primary:query(GAP_SQL:format(workload.table_name)).rows[1]
  result.data_gap = measured and measured.seconds
  local lsn = primary:query("select pg_current_wal_lsn()::text as lsn").rows[1].lsn
  for _, entry in ipairs(context.inventory.nodes) do
    if context.provider:node(entry.name).hostname ~= primary.host then
      local ok, found = pcall(look_at, context, entry.name, workload.table_name, ids, lsn)
      task.check()
      result.nodes[entry.name] = ok and found or { problem = tostring(found) }
    end
  end
  return result
end

return audit

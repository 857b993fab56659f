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

-- The gap as the data has it: the last row that the old primary made, the first of the new one. By the nodes' own
-- clocks, which are not this program's.
local GAP_SQL = [[
select extract(epoch from min(d.at) filter (where d.server = last.server and d.port = last.port)
               - max(d.at) filter (where d.server <> last.server or d.port <> last.port))::float8 as seconds
  from %s d, (select server, port from %s order by at desc limit 1) last]]

local function look_at(context, name, table_name, ids, lsn)
  local connection <close> = context.reach:node(name, "drill audit")
  local problem = wait_replayed(connection, lsn)
  return { differs = ledger.difference(ids, read_ids(connection, table_name)), problem = problem }
end

---@class pgaf.AuditResult: pgaf.Audit
---@field rows integer
---@field nodes table<string, { differs: integer[]?, problem: string? }> every other node; without `differs` it could
---       not be looked at
---@field data_gap number? seconds

--- Looks everything up. Raises when the primary cannot be looked at.
---@param context pgaf.DrillContext
---@param workload pgaf.Workload
---@return pgaf.AuditResult
function audit.run(context, workload)
  local primary <close> = context.reach:primary("drill audit")
  local ids = read_ids(primary, workload.table_name)
  local result = workload.ledger:audit(ids)
  result.rows, result.nodes = #ids, {}
  result.data_gap = primary:query(GAP_SQL:format(workload.table_name, workload.table_name)).rows[1].seconds
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

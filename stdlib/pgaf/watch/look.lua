-- Asks one server about itself: its role, its timeline, how far it has got, and, where it is the primary, how its
-- standbys stand to it. One query, which needs no rights but for the standing: what the role may not see comes as NULL.

local json = require "pgafrun.json"
local time = require "pgafrun.time"

local TIMEOUT_SECONDS = 2

-- A standby's timeline: the one it receives; without a connection to a primary, the one that its last restart point or
-- its recovery got to. CASE keeps each side's functions from the other side, where they raise.
local SQL = [[
select recovering, current_setting('transaction_read_only') = 'on' as read_only,
       case when recovering
            then coalesce((select received_tli from pg_stat_wal_receiver),
              (select greatest(c.timeline_id, r.min_recovery_end_timeline)
                 from pg_control_checkpoint() c, pg_control_recovery() r))
            else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 end as timeline,
       (case when recovering then coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
             else pg_current_wal_lsn() end)::text as lsn,
       case when recovering then pg_last_wal_replay_lsn()::text end as replayed,
       case when recovering
            then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 end as replay_age,
       case when not recovering then
         (select json_object_agg(application_name, json_build_object('state', state, 'sync', sync_state,
            'bytes', pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::int8,
            'seconds', extract(epoch from replay_lag)))
            from pg_stat_replication where application_name like 'pgautofailover\_standby\_%')::text end as standbys
  from (select pg_is_in_recovery() as recovering) as r]]

local look = {}

local function given(value) if value ~= json.null then return value end end

---The standbys as the query tells them.
---@param text string? JSON
---@return table<string, pgaf.watch.Standby>
function look.standbys(text)
  local found = {}
  for name, row in pairs(text and json.decode(text) or {}) do
    local bytes, seconds = given(row.bytes), given(row.seconds)
    found[name] = {
      state = given(row.state), sync = given(row.sync), lag_bytes = bytes and math.max(0, bytes),
      -- nothing was replayed lately, as nothing was written: there is no delay to tell
      lag_seconds = seconds or bytes and bytes <= 0 and 0 or nil,
    }
  end
  return found
end

---@param connection pgafrun.pg.Connection
---@return pgaf.watch.Own
function look.ask(connection)
  local row = connection:query(SQL, nil, { timeout = TIMEOUT_SECONDS, mutates = false }).rows[1]
  if row.recovering then row.standbys = nil else row.standbys = look.standbys(row.standbys) end
  row.at = time.now()
  return row
end

return look

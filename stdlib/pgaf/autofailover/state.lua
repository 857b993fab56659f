-- What the monitor knows of a formation, read in one query, and whether that is "whole".
--
-- The monitor's rows outlive the nodes: after a crash they still say `primary` with good health. Only the age of a
-- node's last report tells that somebody is there, so it is part of every judgement here.

local throw = error
local error = require "pgafrun.error"
local guc = require "pgaf.postgres.guc"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local state = {}

-- A keeper reports each second.
state.FRESH_SECONDS = 3
-- Transitions last a second or two: whole is only what stays whole for this long.
state.STABLE_SECONDS = 2

local STATE_SQL = [[
select n.nodeid, n.nodename as name, n.nodehost as host, n.nodeport as port, n.groupid,
       n.reportedstate::text as reported, n.goalstate::text as goal,
       n.reportedpgisrunning as running, n.reportedrepstate as replication, n.health,
       n.candidatepriority as candidate_priority, n.replicationquorum as replication_quorum,
       n.reportedtli as timeline, n.reportedlsn::text as lsn,
       extract(epoch from clock_timestamp() - n.reporttime)::float8 as report_age,
       extract(epoch from clock_timestamp() - n.healthchecktime)::float8 as check_age,
       extract(epoch from clock_timestamp() - n.statechangetime)::float8 as state_age,
       f.dbname, f.number_sync_standbys, f.kind,
       extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8 as monitor_uptime,
       extract(epoch from clock_timestamp())::float8 as monitor_wall,
       coalesce((select max(eventid) from pgautofailover.event), 0) as last_event
  from pgautofailover.formation f left join pgautofailover.node n using (formationid)
 where f.formationid = $1
 order by n.nodeid]]

local TIMERS_SQL = [[
select name, setting, unit from pg_settings where name like 'pgautofailover.%' order by name]]

---@class pgaf.NodeState
---@field nodeid integer
---@field name string
---@field host string
---@field port integer
---@field reported string FSM state the node said it has
---@field goal string FSM state the monitor wants
---@field running boolean PostgreSQL, by the node's own report
---@field health integer -1 unknown, 0 bad, 1 good
---@field report_age number seconds since the node was heard of
---@field timeline integer
---@field lsn string
---@field behind number? bytes that it has still to replay, by the reports; only in what pgaf.Formation:state reads

---@class pgaf.FormationState
---@field id string
---@field at number time.now() halfway through the query
---@field uncertainty number half of the query's round trip
---@field clock_offset number add it to the monitor's wall clock (epoch seconds) to get time.now()
---@field known boolean the monitor has this formation
---@field nodes pgaf.NodeState[] by node id
---@field number_sync_standbys integer
---@field monitor_uptime number
---@field last_event integer

local FORMATION_COLUMNS = { "dbname", "number_sync_standbys", "kind", "monitor_uptime", "monitor_wall", "last_event" }

--- Reads the formation.
---@param connection pgafrun.pg.Connection to the monitor
---@param id string the pg_auto_failover formation id
---@return pgaf.FormationState
function state.read(connection, id)
  local before = time.now()
  local result = connection:query(STATE_SQL, { id }, { timeout = 5 })
  local after = time.now()
  local formation = { id = id, at = (before + after) / 2, uncertainty = (after - before) / 2, nodes = {} }
  formation.known = result.rows[1] ~= nil
  for _, row in ipairs(result.rows) do
    for _, column in ipairs(FORMATION_COLUMNS) do
      formation[column], row[column] = row[column], nil
    end
    if row.nodeid then table.insert(formation.nodes, row) end
  end
  if formation.monitor_wall then formation.clock_offset = formation.at - formation.monitor_wall end
  return formation
end

--- The monitor's timers as it has them now, in seconds, by their names without "pgautofailover.".
---@param connection pgafrun.pg.Connection
---@return table<string, number|string>
function state.timers(connection)
  local timers = {}
  for _, row in ipairs(connection:query(TIMERS_SQL, nil, { timeout = 5 }).rows) do
    local name = row.name:gsub("^pgautofailover%.", "")
    timers[name] = guc.seconds(row.setting, row.unit) or tonumber(row.setting) or row.setting
  end
  return timers
end

---@param formation pgaf.FormationState
---@param name string
---@return pgaf.NodeState?
function state.node(formation, name)
  for _, node in ipairs(formation.nodes) do
    if node.name == name then return node end
  end
end

--- The node in reported and goal state `primary`.
---@param formation pgaf.FormationState
---@return pgaf.NodeState?
function state.primary(formation)
  for _, node in ipairs(formation.nodes) do
    if node.reported == "primary" and node.goal == "primary" then return node end
  end
end

-- What a primary is called that has no standby on purpose.
local ALONE = { wait_primary = true, single = true }

local function node_problem(node, resting, alone, uptime)
  if node.report_age and uptime and node.report_age > uptime then
    return node.name .. " has not been heard of since the monitor was started"
  end
  if node.report_age and node.report_age > state.FRESH_SECONDS then
    return ("%s was last heard of %.0f s ago (its rows at the monitor are of that time)"):format(
      node.name, node.report_age)
  end
  if node.reported ~= node.goal then
    return ("%s is on its way from %s to %s"):format(node.name, node.reported, node.goal)
  end
  if resting then return node.goal ~= "maintenance" and ("%s is %s"):format(node.name, node.goal) or nil end
  if node.goal ~= "primary" and node.goal ~= "secondary" and not (alone and ALONE[node.goal]) then
    return ("%s is %s"):format(node.name, node.goal)
  end
  if not node.running then return ("PostgreSQL does not run on %s"):format(node.name) end
  if node.health ~= 1 then
    return ("the monitor's health check of %s %s"):format(
      node.name, node.health == 0 and "fails" or "has not succeeded yet")
  end
end

local function missing_nodes(formation, expected, problems)
  for _, name in ipairs(expected or {}) do
    if not state.node(formation, name) then
      problems[#problems + 1] = ("%s is in the inventory and not registered at the monitor"):format(name)
    end
  end
end

--- Why the formation is not whole: nothing when every expected node is there, reported = goal, one primary, the others
--- secondary, all healthy and heard of just now. Nodes that rest have to be in maintenance instead; with
--- such a list, even an empty one, a primary that is the only one awake may do without a standby.
---@param formation pgaf.FormationState
---@param expected? string[] names of the data nodes
---@param resting? table<string, boolean> names of those that shall be in maintenance
---@return string[] reasons empty when whole
function state.problems(formation, expected, resting)
  if not formation.known then return { ("the monitor has no formation %s"):format(formation.id) } end
  local problems, primaries, secondaries, awake = {}, {}, 0, 0
  local rests = resting or {}
  missing_nodes(formation, expected, problems)
  for _, node in ipairs(formation.nodes) do
    if not rests[node.name] then awake = awake + 1 end
  end
  local alone = resting ~= nil and awake == 1
  for _, node in ipairs(formation.nodes) do
    problems[#problems + 1] = node_problem(node, rests[node.name], alone, formation.monitor_uptime)
    local leads = node.goal == "primary" or alone and ALONE[node.goal]
    if leads and not rests[node.name] then primaries[#primaries + 1] = node.name end
    if node.goal == "secondary" then secondaries = secondaries + 1 end
  end
  if #primaries == 0 then
    problems[#problems + 1] = "no node is primary"
  elseif #primaries > 1 then
    problems[#problems + 1] = "more than one primary: " .. table.concat(primaries, ", ")
  elseif secondaries == 0 and not alone then
    problems[#problems + 1] = "there is no secondary to fail over to"
  end
  return problems
end

---@class pgaf.WaitOptions
---@field expected? string[] names that must be registered
---@field timeout number seconds
---@field stable? number seconds it must stay whole, default STABLE_SECONDS
---@field poll? number default 0.25
---@field judge? fun(formation: pgaf.FormationState): string[] reasons why not yet, where whole is not what is wanted
---@field on_read? fun(formation: pgaf.FormationState, problems: string[])

-- Reads until it stays whole; a monitor that cannot be reached is one more reason, not an end.
local function poll_until_whole(connect, id, options, last)
  local since, connection
  local judge = options.judge or function(formation) return state.problems(formation, options.expected) end
  local _ <close> = setmetatable({}, { __close = function() if connection then connection:close() end end })
  while true do
    local ok, formation = pcall(function()
      if not connection or not connection:is_open() then connection = connect() end
      return state.read(connection, id)
    end)
    task.check()
    local problems = ok and judge(formation) or { tostring(formation) }
    if ok and options.on_read then options.on_read(formation, problems) end
    last.whole = #problems == 0
    if #problems > 0 then
      since, last.problems = nil, problems
    else
      since = since or formation.at
      if formation.at - since >= (options.stable or state.STABLE_SECONDS) then return formation, since end
    end
    task.sleep(options.poll or 0.25)
  end
end

--- Waits until the formation is whole and stays so.
---@param connect fun(): pgafrun.pg.Connection called again when the connection broke
---@param id string
---@param options pgaf.WaitOptions
---@return pgaf.FormationState formation, number since time.now() from which it was whole
---Raises kind "timeout", code "not-whole" with the reasons.
function state.wait_whole(connect, id, options)
  local last = { whole = false, problems = { "it was not read yet" } }
  local ok, formation, since = pcall(task.timeout, options.timeout, poll_until_whole, connect, id, options, last)
  if ok then return formation, since end
  task.check()
  if not error.is(formation, "timeout", "deadline") then throw(formation, 0) end
  error.raise {
    kind = "timeout", operation = "wait until the formation is whole", code = "not-whole", retryable = true,
    message = ("formation %s is not whole after %.0f s: %s%s"):format(
      id, options.timeout, last.whole and "it does not stay whole; just before: " or "",
      table.concat(last.problems, "; ")),
    hint = "pgafrun scripts/state.lua shows it; the nodes' logs tell why",
  }
end

return state

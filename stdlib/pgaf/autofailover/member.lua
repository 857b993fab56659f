-- The monitor and the data nodes as members of a formation: created, registered, running. What a killed run left half
-- made is finished; what is nobody's doing is explained and left alone.

local cluster = require "pgaf.autofailover.cluster"
local commands = require "pgaf.resource.commands"
local creation = require "pgaf.autofailover.creation"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local quote = require "pgaf.quote"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local member = {}

local CREATE_MONITOR_SECONDS = 120
local ANSWER_SECONDS = 60
-- Without any progress. pg_basebackup begins with a checkpoint, for which a busy primary takes 270 s by default; and
-- pg_autoctl itself would try for a quarter of an hour to reach a monitor that does not answer.
local JOIN_SECONDS = 300
local SEGMENT = 16 * 1024 * 1024
local HEALTH_CHECKS = 20
local HEALTH_CHECK_SECONDS = 0.3
local RETIRE_SECONDS = 120
local LOG_LINES = 15
local CONFIGURATION_LOOKS = 10

local SERVICE = { "service", "status" }

-- The words of the node's own log, when it does not come up.
local function with_logs(target, f, ...)
  local ok, raised = pcall(f, ...)
  if ok then return end
  task.check()
  if error.is(raised, "timeout") then
    local logs = target.node:service():logs(LOG_LINES)
    error.raise {
      kind = raised.kind, operation = raised.operation, code = raised.code, retryable = raised.retryable,
      hint = raised.hint, message = ("%s\n  the log of %s says%s"):format(
        raised.message, target.name, commands.last_lines(logs, LOG_LINES)),
    }
  end
  _G.error(raised, 0)
end

-- -------------------------------------------------------------------------------------------------------- monitor

local function wait_for_answer(formation, target, look)
  with_logs(target, formation.wait, formation, ANSWER_SECONDS, function(state)
    if look then look() end
    return not state and "it does not answer" or nil
  end, "monitor " .. target.name)
end

-- Of one that is complete, a creation changes nothing.
local function start_monitor(formation, target, tell)
  local service, argv = target.node:service(), creation.monitor(target)
  service:stop() -- it may be waiting for its next try
  formations.clear_leftovers(target)
  if formation.provider.kind ~= "local" then return creation.start(target, argv, tell) end
  -- The monitor's server listens on all addresses unless told otherwise, which only works while it is stopped.
  creation.run(target, argv, CREATE_MONITOR_SECONDS)
  formations.run(target, ("pg_autoctl config set postgresql.listen_addresses %s --pgdata %s 2>&1"):format(
    target.node:address(), quote.sh(target.paths.pgdata)))
  service:start()
end

---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function member.monitor(formation)
  return function(monitor)
    local cfg = monitor.paths.cfg
    local resource = {
      kind = "monitor", name = monitor.name, reads = { { "file", cfg }, SERVICE, formations.STATE }, settles = true,
    }

    function resource:probe(target, facts)
      local running = facts.service.status.status == "running"
      if running and facts.sql.formation then return nil end
      if running and target.begun_at then -- its machine was started just now: it is about to
        wait_for_answer(formation, target)
        return nil
      end
      if running then return "the monitor does not answer" end
      return facts.file[cfg] and "the monitor does not run" or "the monitor is not created"
    end

    function resource:changes(target, facts)
      return { { what = "monitor " .. target.name, before = self:probe(target, facts), after = "it runs and answers" } }
    end

    function resource:apply(target, difference, facts, tell)
      local existed = facts.file[cfg]
      local running = facts.service.status.status == "running"
      wait_for_answer(formation, target, not running and start_monitor(formation, target, tell) or nil)
      return difference .. (existed and ": started it" or ": created and started it")
    end

    return resource
  end
end

-- ------------------------------------------------------------------------------------------------------ data nodes

local function has_data(target, facts) return facts.content[target.paths.pgdata .. "/PG_VERSION"] ~= false end

local function refuse_unknown_data(formation, target, facts)
  local state = formation:state(true)
  local alone = not state or #state.nodes == 0
  if alone or facts.file[target.paths.cfg] or not has_data(target, facts) then return end
  error.raise {
    kind = "config", operation = "data node " .. target.name,
    message = ("%s is there, and pg_autoctl has no configuration for it (%s): it is left alone"):format(
      target.paths.pgdata, target.paths.cfg),
    hint = "if it is not needed, move it away; the node then gets a copy of the primary's data",
  }
end

local function is_complete(paths, facts)
  return facts.file[paths.cfg] and facts.file[paths.state] and not facts.file[paths.init]
end

local function is_being_created(paths, facts)
  return facts.service.status.status == "running" and facts.file[paths.init]
end

-- A monitor that does not answer has not forgotten anybody.
local function is_registered(formation, target)
  if formation:state() then return formation:row(target.name) ~= nil end
  return error.raise {
    kind = "missing", operation = "data node " .. target.name,
    message = ("the monitor %s does not answer: whether %s is registered is unknown"):format(
      formation.monitor.name, target.name),
    hint = "pgafrun scripts/state.lua shows the formation; the monitor's log tells why",
  }
end

-- What keeps the node from being a member; nil when it is one.
local function obstacle(formation, target, facts)
  local paths = target.paths
  local status = facts.service.status.status
  if is_complete(paths, facts) then
    -- what does not run is to be started, whatever a silent monitor knows
    local known = (formation:state() or status == "running") and is_registered(formation, target)
    if formation:state() and not known then return "was dropped from the monitor" end
    return status ~= "running" and "is not running (" .. status .. ")" or nil
  end
  if is_being_created(paths, facts) then return "is still being created" end
  if facts.file[paths.cfg] or facts.file[paths.init] then return "was left half made" end
  if formation:state() and is_registered(formation, target) then return "has lost what the monitor knows it for" end
  return "is not created"
end

-- A formation without any registered node begins with a cluster of its own; every other node copies the primary's.
local function prepare_data(formation, target, facts)
  local state = formation:state(true)
  if state and #state.nodes == 0 and not has_data(target, facts) then cluster.make(formation, target) end
end

local function is_alone(formation)
  local state = formation:state()
  return state and #state.nodes == 1
end

-- A member is `single`, `primary` or `secondary`. What the monitor has of the time before the start says nothing.
local STEADY = { single = true, primary = true, secondary = true, wait_primary = true }

local function why_no_member(row, target)
  if not row then return "it is not registered" end
  if row.report_age > time.now() - target.begun_at then return "it has not reported since it was started" end
  if row.reported ~= row.goal then return ("it is on its way from %s to %s"):format(row.reported, row.goal) end
  if not STEADY[row.goal] then return "it is " .. row.goal end
  return not row.running and "PostgreSQL does not run yet" or nil
end

-- The monitor takes a node for a standby when a health check has found it well, and looks at all of them every
-- health_check_period. When it loads its configuration it looks at once.
local function check_health_now(formation)
  formations.sql(formation.monitor, "postgres", "select pg_reload_conf();")
end

local function waits_for_health_check(row)
  return row and row.reported == "catchingup" and row.goal == "catchingup" and row.running and row.health ~= 1
end

-- How far it has come: data copied, states passed, WAL segments still to be replayed.
local function joined(formation, target, look)
  local checks, checked, left = 0, 0, math.huge
  return function(state)
    local copied = look and look() or ""
    if not state then return "the monitor does not answer" end
    local row = formation:row(target.name)
    if waits_for_health_check(row) and checks < HEALTH_CHECKS and time.now() > checked + HEALTH_CHECK_SECONDS then
      check_health_now(formation)
      checks, checked = checks + 1, time.now()
    end
    left = row and row.behind and math.min(left, row.behind // SEGMENT) or left
    return why_no_member(row, target), row and table.concat({ copied, row.reported, row.goal, left }, " ")
  end
end

local IN_CHARGE = { primary = true, wait_primary = true, single = true }

local function another_in_charge(target)
  return function(state)
    if not state then return "the monitor does not answer" end
    for _, row in ipairs(state.nodes) do
      if row.name ~= target.name and row.reported == row.goal and IN_CHARGE[row.goal] then return nil end
    end
    return "no other node has become primary"
  end
end

-- The monitor has a row of the node, and the node has nothing any more: it was made anew. Without force first, so that
-- the others find their roles (of a dead primary's standbys one is promoted); then the row goes for good.
local function retire(formation, target)
  local row = formation:row(target.name, true)
  if not row then return end
  local function remove(force)
    formations.sql(formation.monitor, "pg_auto_failover",
      ("select pgautofailover.remove_node(%d, %s);"):format(row.nodeid, force))
  end
  if #formation:state().nodes > 1 then
    if row.goal ~= "dropped" then remove(false) end
    formation:wait(RETIRE_SECONDS, another_in_charge(target), "removal of the lost node " .. target.name)
  end
  if formation:row(target.name, true) then remove(true) end
  formation:state(true)
end

local PARTITION = "network_partition_timeout"

local function partition_timeout(text) return tonumber((text or ""):match("\n%s*" .. PARTITION .. "%s*=%s*(%d+)")) end

-- Starts it, after it was made if need be: then what looks on at that is returned. A creation that an interrupted run
-- began goes on, and so does its copy of the data.
local function enter(formation, target, facts, tell)
  local service, argv = target.node:service(), creation.node(formation, target)
  target.begun_at = time.now()
  if is_being_created(target.paths, facts) then return creation.watch(target, argv, tell) end
  local complete_and_registered = is_complete(target.paths, facts) and is_registered(formation, target)
  service:stop()
  formations.clear_leftovers(target)
  if not complete_and_registered then
    refuse_unknown_data(formation, target, facts)
    -- options of an earlier try are kept in the configuration and would win: an unfinished one is made anew
    if not facts.file[target.paths.state] then
      retire(formation, target)
      formations.run(target, "rm -f " .. quote.sh(target.paths.cfg))
    end
    prepare_data(formation, target, facts)
    if formation:state() then check_health_now(formation) end -- the next one is not while it cannot answer yet
    return creation.start(target, argv, tell)
  end
  service:start()
end

-- The next run makes it anew: what it was told may have been wrong.
local function stop_unfinished(target)
  target.facts:forget()
  local facts = target.facts:fetch { { "file", target.paths.init }, { "file", target.paths.state } }
  if facts.file[target.paths.init] or not facts.file[target.paths.state] then target.node:service():stop() end
end

local HINT = "the monitor's events tell more: select * from pgautofailover.last_events(20)"
-- The next base backup begins with a checkpoint, which takes its time: after this one there is little left to write.
local CHECKPOINT = "psql -XAtq -p %d -d postgres -c checkpoint"

---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function member.node(formation)
  return function(node)
    local paths = node.paths
    local resource = {
      kind = "data node", name = node.name,
      reads = {
        { "file", paths.cfg }, { "file", paths.state }, { "file", paths.init }, cluster.fact(node), SERVICE,
      },
      settles = true,
    }

    function resource:probe(target, facts)
      local why = obstacle(formation, target, facts)
      return why and target.name .. " " .. why or nil
    end

    function resource:changes(target, facts)
      return {
        {
          what = "data node " .. target.name, before = "it " .. obstacle(formation, target, facts),
          after = "it is a member, and runs",
        },
      }
    end

    function resource:apply(target, difference, facts, tell)
      local look = enter(formation, target, facts, tell)
      local ok, raised = pcall(with_logs, target, formation.wait, formation, JOIN_SECONDS,
        joined(formation, target, look), "join " .. target.name, HINT)
      if not ok then
        task.check()
        if error.is(raised, "timeout") then stop_unfinished(target) end
        _G.error(raised, 0)
      end
      if is_alone(formation) then formations.run(target, CHECKPOINT:format(target.entry.port)) end
      if is_being_created(paths, facts) then return difference .. ": waited for that" end
      return difference .. (is_complete(paths, facts) and ": started it" or ": created and started it")
    end

    return resource
  end
end

-- `pg_autoctl reload` signals whoever has the number in its pid file: after a boot, and before the new pg_autoctl has
-- written its own, that is any process.
local RELOAD = [[
pid=$(head -n 1 %s) && [ "$(cat "/proc/$pid/comm")" = pg_autoctl ] && kill -HUP "$pid" || :]]

-- pg_autoctl writes its configuration anew when it starts: what is read meanwhile may be a part of it.
local function whole_configuration(target, resource, facts)
  local cfg = target.paths.cfg
  for _ = 1, CONFIGURATION_LOOKS do
    if not facts.content[cfg] or partition_timeout(facts.content[cfg]) then break end
    task.sleep(0.1)
    target.facts:forget()
    facts = target.facts:fetch(resource.reads)
  end
  return facts
end

---The keeper's own timer, in pg_autoctl.cfg; a running keeper reads it again.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource[]
function member.keeper(formation)
  return function(node)
    local cfg = node.paths.cfg
    local resource = {
      kind = "keeper", name = node.name, reads = { { "content", cfg }, { "file", cfg }, SERVICE },
    }
    local wanted = formation.inventory.timers[PARTITION]

    function resource:probe(target, facts)
      facts = whole_configuration(target, self, facts)
      if not facts.content[cfg] then
        error.raise { kind = "missing", operation = "keeper on " .. node.name, message = "there is no " .. cfg }
      end
      local now = partition_timeout(facts.content[cfg])
      if now ~= wanted then return ("%s is %s, not %d"):format(PARTITION, now or "not set", wanted) end
      if facts.file[cfg].mode ~= "0600" then return ("%s has mode %s"):format(cfg, facts.file[cfg].mode) end
      return nil
    end

    function resource:changes(_, facts)
      local changes, now = {}, partition_timeout(facts.content[cfg])
      if now ~= wanted then
        changes[1] = { what = PARTITION, before = now and tostring(now) or "not set", after = tostring(wanted) }
      end
      if facts.file[cfg].mode ~= "0600" then
        changes[#changes + 1] = { what = cfg .. ": mode", before = facts.file[cfg].mode, after = "0600" }
      end
      return changes
    end

    function resource:apply(target, _, facts)
      formations.run(target, ("pg_autoctl config set timeout.%s %d --pgdata %s 2>&1"):format(
        PARTITION, wanted, quote.sh(target.paths.pgdata)))
      formations.run(target, "chmod 600 " .. quote.sh(cfg))
      if facts.service.status.status == "running" then
        formations.run(target, RELOAD:format(quote.sh(target.paths.pidfile)))
      end
    end

    return { resource }
  end
end

return member

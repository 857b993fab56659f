-- A formation as plays see it: the monitor and the data nodes as targets, and what is known about them all together.

local throw = error
local error = require "pgafrun.error"
local facts = require "pgaf.facts"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local MONITOR_DATABASE = "pg_auto_failover"
local POLL_SECONDS = 0.05
-- Quicker than su and runuser, which open a session.
local BECOME = "setpriv --reuid=%s --regid=%s --init-groups"

---A monitor or data node, with what steps want of it at hand.
---@class pgaf.Member: pgaf.Target
---@field node pgaf.Node
---@field facts pgaf.Facts
---@field entry table of the inventory
---@field role "monitor"|"node"
---@field paths table<string, string>
---@field begun_at number? time.now() when this run started it: what was reported before says nothing
---@field owner string the OS user that PostgreSQL runs as
---@field complete table<string, boolean> files that name the other members (see peers.lua), by path: all of them

---@class pgaf.Formation
---@field inventory pgaf.Inventory
---@field provider pgaf.Provider
---@field name string
---@field targets pgaf.Member[] the monitor first
---@field monitor pgaf.Member
---@field nodes pgaf.Member[] in the inventory's order: the first registers first
---@field owner string
---@field root string the OS user that system files belong to
local Formation = {}
Formation.__index = Formation

local formation = {}

-- Names for group expressions: the field's own, which an inventory cannot give another meaning, and the inventory's.
local OWN_GROUPS = { monitor = true, data = true, quorum = true }

local function groups_of(entry, role)
  local groups = { role == "monitor" and "monitor" or "data" }
  if role == "node" and entry.replication_quorum then groups[#groups + 1] = "quorum" end
  for _, group in ipairs(entry.groups or {}) do
    if not OWN_GROUPS[group] then groups[#groups + 1] = group end
  end
  return groups
end

local function member(self, entry, role)
  local node = self.provider:node(entry.name)
  local target = {
    name = entry.name, node = node, entry = entry, role = role, owner = self.owner, paths = node:paths(),
    groups = groups_of(entry, role), vars = entry.vars, complete = {},
    facts = facts.new(node, entry.port, self.root ~= self.owner and BECOME:format(self.owner, self.owner) or nil),
  }
  self.by_name[entry.name] = target
  self.targets[#self.targets + 1] = target
  return target
end

---@param provider pgaf.Provider
---@param inventory pgaf.Inventory
---@return pgaf.Formation
function formation.open(provider, inventory)
  local self = setmetatable({
    inventory = inventory, provider = provider, name = inventory.formation, owner = provider.system_user,
    root = provider:can("packages") and "root" or provider.system_user, targets = {}, nodes = {}, by_name = {},
  }, Formation)
  self.monitor = member(self, inventory.monitor, "monitor")
  for i, entry in ipairs(inventory.nodes) do self.nodes[i] = member(self, entry, "node") end
  return self
end

---Does what will be needed soon while others still wait. Its failure is told to whoever needs it.
---@param f function
---@param ... any
function Formation:in_background(f, ...)
  local group = self.provider.group
  if group then group:spawn_named("ahead", pcall, f, ...) end
end

---What is wrong before anything was touched: an instance of somebody else with a node's name.
function Formation:refuse_foreign()
  local foreign = {}
  do
    local group <close> = task.group { name = "looking" }
    for _, target in ipairs(self.targets) do
      group:spawn(function()
        local status = target.node:status()
        if status == "foreign" then foreign[#foreign + 1] = target.name end
        if status == "running" then self:in_background(target.node.warm_up or target.node.run, target.node, ":") end
      end)
    end
  end
  if #foreign == 0 then return end
  table.sort(foreign)
  error.raise {
    kind = "foreign", operation = "formation " .. self.name,
    message = ("%s %s, and carr%s not the tag of formation %s: nothing was touched"):format(table.concat(foreign, ", "),
      #foreign == 1 and "exists" or "exist", #foreign == 1 and "ies" or "y", self.name),
    hint = "give the nodes of the inventory other names, or remove those instances yourself",
  }
end

---Looks whether all is right before anything is touched, and touches nothing.
function Formation:look()
  local group <close> = task.group { name = "before anything" }
  group:spawn(self.provider.check, self.provider)
  group:spawn(self.refuse_foreign, self)
end

---Looks, and takes the right to change the formation. For a play's `before`: others see it only when a step is about to
---change something (the lock's `hold`), so that a run which changes nothing writes nothing.
---@param what string who will
---@return pgaf.provider.Lock
function Formation:claim(what)
  self:look()
  local lock = self.provider:lock(what, true)
  -- not before: what is read while somebody else changes it is of no use
  for _, target in ipairs(self.targets) do self:in_background(target.facts.prefetch, target.facts) end
  return lock
end

---Where a node's connections to others come from, for access rules.
---@param target pgaf.Member
---@return string cidr
function Formation:source(target)
  -- whatever loopback address a server has, its clients come from 127.0.0.1
  if self.provider.kind == "local" then return "127.0.0.1/32" end
  return target.node:address() .. "/32"
end

---The members that have an address by now: one that this run has not launched yet has none.
---@return pgaf.Member[]
function Formation:there()
  local members = {}
  for _, target in ipairs(self.targets) do
    if target.node:known_address() then members[#members + 1] = target end
  end
  return members
end

---The password kept under `name` (see passwords.lua).
---@param name "monitor"|"replication"|"probe"
---@return pgaf.Secret
function Formation:password(name)
  local value = self.passwords and self.passwords[name]
  if not value then
    error.raise { kind = "missing", operation = "formation " .. self.name, message = "no password yet: " .. name }
  end
  return value
end

-- ----------------------------------------------------------------------------------------- what the monitor knows

-- The columns are named as in state.lua, whose judgement it is given to.
local STATE = {
  "sql", "formation", database = MONITOR_DATABASE, query = [[
select json_build_object('known', true, 'dbname', f.dbname, 'number_sync_standbys', f.number_sync_standbys,
  'monitor_uptime', extract(epoch from clock_timestamp() - pg_postmaster_start_time()),
  'nodes', coalesce((select json_agg(json_build_object('nodeid', nodeid, 'name', nodename, 'host', nodehost,
    'port', nodeport, 'reported', reportedstate, 'goal', goalstate, 'running', reportedpgisrunning,
    'health', health, 'timeline', reportedtli, 'lsn', reportedlsn,
    'behind', (select max(reportedlsn) from pgautofailover.node m where m.formationid = n.formationid) - reportedlsn,
    'candidate_priority', candidatepriority,
    'replication_quorum', replicationquorum,
    'report_age', extract(epoch from clock_timestamp() - reporttime)) order by nodeid)
    from pgautofailover.node n where n.formationid = f.formationid), '[]'))
from pgautofailover.formation f where f.formationid = 'default']],
}
formation.STATE = STATE

---The monitor's view; false when it does not answer.
---@param fresh? boolean do not take what an earlier step has read
---@return pgaf.FormationState|false
function Formation:state(fresh)
  if fresh then self.monitor.facts:forget() end
  return self.monitor.facts:fetch({ STATE }).sql.formation
end

---@param name string of a data node
---@param fresh? boolean
---@return pgaf.NodeState?
function Formation:row(name, fresh)
  local state = self:state(fresh)
  for _, row in ipairs(state and state.nodes or {}) do
    if row.name == name then return row end
  end
  return nil
end

---Reads the monitor's view until `judge` is content.
---@param seconds number
---@param judge fun(state: pgaf.FormationState|false): string?, any why not yet (nil ends the waiting), and progress:
---when that changes, the seconds begin anew
---@param operation string
---@param hint? string
function Formation:wait(seconds, judge, operation, hint)
  local why, progress = "it was not read yet", nil
  local deadline = time.now() + seconds
  local function look()
    local now
    why, now = judge(self:state(true))
    if now ~= progress then progress, deadline = now, time.now() + seconds end
  end
  repeat
    local ok, raised = pcall(task.timeout, math.max(0, deadline - time.now()), look)
    if ok and not why then return end
    task.check()
    if not ok and not error.is(raised, "timeout", "deadline") then throw(raised, 0) end
    if ok then task.sleep(POLL_SECONDS) end
  until not ok or time.now() > deadline
  error.raise {
    kind = "timeout", operation = operation, retryable = true, hint = hint,
    message = ("not so after %g s%s: %s"):format(seconds, progress and " without progress" or "", why),
  }
end

-- --------------------------------------------------------------------------------------------------- doing things

---Runs a script as PostgreSQL's user, in its environment.
---@param target pgaf.Member
---@param script string
---@param options? table as for node:run
---@return { code: integer, stdout: string, stderr: string }
function formation.run(target, script, options)
  options = options or {}
  options.user = target.owner
  return target.node:run(script, options)
end

---Runs SQL as the superuser over the node's own socket; a secret in it stays out of the server's log.
---@param target pgaf.Member
---@param database string
---@param sql string
---@return string output
function formation.sql(target, database, sql)
  local quiet = "set log_statement = 'none'; set log_min_error_statement = 'panic'; " ..
    "set log_min_duration_statement = -1;\n"
  return formation.run(target, ("psql -XAtq -v ON_ERROR_STOP=1 -p %d -d %s -f -"):format(
    target.entry.port, require("pgaf.quote").sh(database)), { stdin = quiet .. sql .. "\n" }).stdout
end

-- A killed `pg_autoctl create` leaves a postmaster, and a controller that starts it again: they are found by their
-- name and the folder they work in. Pid files of theirs go too.
local LEFTOVERS = [[
base=%s
pids() {
  for process in /proc/[0-9]*; do
    case $(cat "$process/comm" 2>/dev/null) in
      postgres|pg_autoctl|pg_ctl|initdb|pg_basebackup|pg_rewind) ;;
      *) continue;;
    esac
    case $(readlink "$process/cwd" 2>/dev/null) in "$base"|"$base"/*|%s|%s/*) echo "${process#/proc/}";; esac
  done
}
tries=0
while list=$(pids) && [ -n "$list" ]; do
  [ $tries -lt 100 ] || { echo "processes survive: $list" >&2; exit 1; }
  kill -9 $list 2>/dev/null
  tries=$((tries + 1)); sleep 0.05
done
rm -f %s %s]]

---Ends what a killed command left running on a node whose service does not run.
---@param target pgaf.Member
function formation.clear_leftovers(target)
  local quote = require "pgaf.quote"
  local paths = target.paths
  local data = quote.sh(paths.pgdata)
  target.node:run(LEFTOVERS:format(quote.sh(paths.base), data, data, quote.sh(paths.pgdata .. "/postmaster.pid"),
    quote.sh(paths.pidfile)), { user = "root", timeout = 30 })
end

return formation

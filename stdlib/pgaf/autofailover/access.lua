-- Who may log in where: pg_hba.conf, pg_ident.conf and .pgpass. Nothing is trusted; what is not listed is refused.

local quote = require "pgaf.quote"
local secret = require "pgaf.secret"

local access = {}

local HEAD = "# Written by pgafrun: changes by hand are lost. Who is not listed is refused.\n"

local function add(lines, kind, databases, role, source, method)
  lines[#lines + 1] = ("%-7s %-28s %-26s %-18s %s"):format(kind, databases, role, source, method)
end

---@param formation pgaf.Formation
---@param members? pgaf.Member[] who is let in, default all
---@return string
function access.monitor_hba(formation, members)
  local lines = {}
  add(lines, "local", "all", formation.owner, "", "peer")
  -- pg_autoctl's own listener on the monitor
  add(lines, "local", "pg_auto_failover", "autoctl_node", "", "peer map=pgafrun")
  local seen = {}
  local function from(source)
    if not seen[source] then
      add(lines, "hostssl", "pg_auto_failover", "autoctl_node", source, "scram-sha-256")
    end
    seen[source] = true
  end
  for _, target in ipairs(members or formation.targets) do
    if target.role == "node" then from(formation:source(target)) end
  end
  for _, network in ipairs(formation.inventory.operator_networks) do from(network) end
  return HEAD .. table.concat(lines, "\n") .. "\n"
end

---@param formation pgaf.Formation
---@return string
function access.monitor_ident(formation)
  return ("%spgafrun %s autoctl_node\n"):format(HEAD, formation.owner)
end

---The same on all data nodes: any of them may be the primary.
---@param formation pgaf.Formation
---@param members? pgaf.Member[] who is let in, default all
---@return string
function access.node_hba(formation, members)
  local application = formation.inventory.application
  local lines, seen = {}, {}
  add(lines, "local", "all", formation.owner, "", "peer")
  -- the monitor's health check: its role has a password that everybody knows, and may do nothing
  add(lines, "hostssl", "postgres", "pgautofailover_monitor", formation:source(formation.monitor), "scram-sha-256")
  for _, target in ipairs(members or formation.targets) do
    local source = formation:source(target)
    if target.role == "node" and not seen[source] then
      -- postgres: pg_rewind's database; the application's: the keeper looks at its replication slot there
      add(lines, "hostssl", "replication,postgres," .. application.database, "pgautofailover_replicator", source,
        "scram-sha-256")
      seen[source] = true
    end
  end
  for _, network in ipairs(application.networks) do
    add(lines, "hostssl", application.database, application.user, network, "scram-sha-256")
  end
  for _, network in ipairs(formation.inventory.operator_networks) do
    add(lines, "hostssl", application.database, "pgaf_probe", network, "scram-sha-256")
  end
  return HEAD .. table.concat(lines, "\n") .. "\n"
end

---@return string
function access.node_ident() return HEAD end

---What a data node logs in with: at the monitor, and at other data nodes.
---@param formation pgaf.Formation
---@return string
function access.pgpass(formation)
  local monitor = formation.monitor
  return ("%s:%d:pg_auto_failover:autoctl_node:%s\n*:*:*:pgautofailover_replicator:%s\n"):format(
    quote.pgpass(monitor.node.hostname), monitor.entry.port,
    quote.pgpass(secret.reveal(formation:password "monitor")),
    quote.pgpass(secret.reveal(formation:password "replication")))
end

return access

-- What pg_auto_failover, or prudence, would refuse: found in the inventory, before anything is touched.

local rules = {}

local PLACEHOLDER = "changeme-DEV-ONLY"
-- The keeper's poll and the demotion itself, after its network_partition_timeout (seconds).
local DEMOTION_MARGIN = 2

-- Settings that belong to this tool, to pg_auto_failover, or to the command line it starts PostgreSQL with.
local OWNED = {
  "archive_cleanup_command", "cluster_name", "config_file", "data_directory", "default_transaction_read_only",
  "external_pid_file", "hba_file", "hot_standby", "ident_file", "listen_addresses", "password_encryption", "port",
  "primary_conninfo", "primary_slot_name", "recovery_target_timeline", "restore_command", "shared_buffers", "ssl",
  "ssl_ca_file", "ssl_cert_file", "ssl_key_file", "synchronous_standby_names", "unix_socket_directories",
  "wal_keep_size", "max_slot_wal_keep_size", "wal_retrieve_retry_interval", "wal_level", "wal_log_hints",
}
for _, name in ipairs(OWNED) do OWNED[name] = true end

local function count_quorum(inventory)
  local count = 0
  for _, node in ipairs(inventory.nodes) do
    if node.replication_quorum then count = count + 1 end
  end
  return count
end

-- The highest number_sync_standbys that the monitor takes: it wants one standby more than the number, and whichever
-- node is primary is no standby.
local function highest_number_sync_standbys(inventory)
  return math.max(0, count_quorum(inventory) - 2)
end

---Fills in what depends on other values: pg_auto_failover's own choice is 1 as soon as two standbys are in the quorum.
---@param inventory pgaf.Inventory
function rules.complete(inventory)
  local settings = inventory.formation_settings
  if not settings.number_sync_standbys then
    settings.number_sync_standbys = math.min(1, highest_number_sync_standbys(inventory))
  end
end

local function check_number_sync_standbys(inventory, report)
  local wanted, highest = inventory.formation_settings.number_sync_standbys, highest_number_sync_standbys(inventory)
  if wanted <= highest then return end
  local quorum = count_quorum(inventory)
  report("formation_settings.number_sync_standbys", (
    "%d cannot be kept: the monitor wants at least %d standbys in the replication quorum for it, and of the %d " ..
    "data nodes %d are in the quorum, one of them being the primary, which leaves %d. Write %d%s"):format(
    wanted, wanted + 1, #inventory.nodes, quorum, math.max(0, quorum - 1), highest,
    highest == 0 and ": commits still wait for a standby as long as a healthy one is there, and writes go on " ..
      "without it when the last one is lost" or ", or add data nodes"))
end

local function check_timers(inventory, report)
  local timers = inventory.timers
  local demote, partition = timers.primary_demote_timeout, timers.network_partition_timeout
  local least = (partition + DEMOTION_MARGIN) * 1000
  if demote > least then return end
  report("timers.primary_demote_timeout", (
    "%d ms must be more than network_partition_timeout + %d s = %d s + %d s = %d ms: a primary that is cut off " ..
    "stops itself only after network_partition_timeout, and until then a new one must not take writes. Write %d " ..
    "or more, or lower network_partition_timeout"):format(
    demote, DEMOTION_MARGIN, partition, DEMOTION_MARGIN, least, least + 1))
end

local function check_names(inventory, report)
  local seen = { [inventory.monitor.name] = "monitor.name" }
  for i, node in ipairs(inventory.nodes) do
    local path = ("nodes[%d].name"):format(i)
    if seen[node.name] then
      report(path, ("%q is taken by %s already"):format(node.name, seen[node.name]))
    end
    seen[node.name] = path
  end
  local user = inventory.application.user
  if user:find("^pg_") or user:find("^pgautofailover_") or user == "pgaf_probe" or user == "postgres" or
    user == "autoctl" or user == "autoctl_node" then
    report("application.user", ("%q is a name that PostgreSQL, pg_auto_failover or this tool uses itself"):format(user))
  end
  local database = inventory.application.database
  if database == "postgres" or database:find("^template[01]$") or database == "pg_auto_failover" then
    report("application.database", ("%q exists in every cluster and is not the application's"):format(database))
  end
end

-- On one machine two servers cannot have one address and port; of addresses left out, each node gets its own.
local function check_addresses(inventory, report)
  if inventory.provider.kind ~= "local" then return end
  local seen = {}
  local function check(host, path)
    local place = host.address and ("%s:%d"):format(host.address, host.port)
    if place and seen[place] then report(path, ("%s is taken by %s already"):format(place, seen[place])) end
    if host.address and not host.address:find("^127%.") then
      report(path .. ".address", ("%s is no loopback address (127.x.x.x)"):format(host.address))
    end
    if place then seen[place] = path end
  end
  check(inventory.monitor, "monitor")
  for i, node in ipairs(inventory.nodes) do check(node, ("nodes[%d]"):format(i)) end
end

local function check_settings(inventory, report)
  for name in pairs(inventory.postgres.settings) do
    if rules.is_owned(name) then
      report("postgres.settings." .. name, "is not for here: it is set by this tool or by pg_auto_failover; " ..
        "see the keys of postgres and timers")
    end
  end
end

---Whether on nodes of a formation a setting belongs to this tool or to pg_auto_failover.
---@param name string
---@return boolean
function rules.is_owned(name) return OWNED[name] == true or name:find("^pgautofailover%.") ~= nil end

---Why this text may not be a password here; nil when it may.
---@param inventory pgaf.Inventory
---@param text string
---@return string?
function rules.password_refusal(inventory, text)
  if text == PLACEHOLDER and inventory.environment ~= "lab" then
    return ("is the placeholder %q, and this inventory is for %s: only environment = \"lab\" may use it"):format(
      PLACEHOLDER, inventory.environment)
  end
  if not text:find("^[\x20-\x7e]+$") then
    return "has characters beyond printable ASCII (or a line break), which clients normalise in different ways"
  end
  return nil
end

local function check_passwords(inventory, report)
  local function check(value, path)
    if type(value) ~= "string" then return end
    local refusal = rules.password_refusal(inventory, value)
    if refusal then
      report(path, refusal)
    elseif inventory.environment ~= "lab" then
      report(path, ("is written in clear, and this inventory is for %s: take it from pgaf.secret (env, file, " ..
        "command, vault)"):format(inventory.environment))
    end
  end
  check(inventory.application.password, "application.password")
  check(inventory.monitor_password, "monitor_password")
  check(inventory.replication_password, "replication_password")
end

---Reports every rule that the inventory breaks.
---@param inventory pgaf.Inventory complete
---@param report pgaf.schema.Report
function rules.check(inventory, report)
  check_names(inventory, report)
  check_addresses(inventory, report)
  check_number_sync_standbys(inventory, report)
  check_timers(inventory, report)
  check_settings(inventory, report)
  check_passwords(inventory, report)
end

return rules

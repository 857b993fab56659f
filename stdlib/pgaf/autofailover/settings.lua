-- PostgreSQL's settings: node.conf beside PGDATA, included by the last line of postgresql.conf. Neither pg_basebackup
-- nor pg_rewind copies it, and it wins over what pg_auto_failover writes, above all over memory sizes that are computed
-- from the machine and not from the container.

local access = require "pgaf.autofailover.access"
local formations = require "pgaf.autofailover.formation"
local peers = require "pgaf.autofailover.peers"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local secret = require "pgaf.secret"
local task = require "pgafrun.task"

local settings = {}

local MEGABYTE = 1024 * 1024
-- No limit is told as "max", or as a number near the largest there is.
local NO_LIMIT = 1 << 50
local RELOAD_SECONDS = 10

-- cgroup version 2, and 1.
local LIMIT_FILES = { "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes" }
local MEMORY = { { "content", LIMIT_FILES[1] }, { "content", LIMIT_FILES[2] } }

---Bytes that the node's container may use; nil without a limit.
---@param facts pgaf.Snapshot
---@return integer?
function settings.memory_limit(facts)
  for _, path in ipairs(LIMIT_FILES) do
    local limit = math.tointeger(tonumber((facts.content[path] or ""):match("%d+")))
    if limit and limit < NO_LIMIT then return limit end
  end
  return nil
end

local function megabytes(bytes) return ("%dMB"):format(math.max(1, bytes // MEGABYTE)) end

-- A quarter of the container's memory, as PostgreSQL's documentation advises; without a limit PostgreSQL's own default.
local function memory_of_node(postgres, limit)
  local shared = postgres.shared_buffers
  if shared == "auto" then shared = limit and megabytes(math.max(16 * MEGABYTE, limit // 4)) or "128MB" end
  return shared, limit and megabytes(limit * 7 // 10) or "512MB"
end

-- The monitor's database is a few megabytes.
local function memory_of_monitor(limit)
  return megabytes(math.min(64 * MEGABYTE, (limit or 1 << 40) // 4)), "256MB"
end

local function common(paths)
  return {
    unix_socket_directories = paths.run,
    hba_file = paths.hba, ident_file = settings.ident_path(paths),
    -- pg_rewind copies the source's own; these are the node's
    ssl_ca_file = paths.ca_crt, ssl_cert_file = paths.server_crt, ssl_key_file = paths.server_key,
    ssl_min_protocol_version = "TLSv1.2", password_encryption = "scram-sha-256",
    -- pg_autoctl sets `ddl` on the monitor, which would log passwords
    log_statement = "none",
    work_mem = "4MB", maintenance_work_mem = "64MB",
  }
end

---@param paths table<string, string>
---@return string
function settings.ident_path(paths) return paths.ident or paths.pg .. "/pg_ident.conf" end

---What node.conf sets.
---@param formation pgaf.Formation
---@param target pgaf.Member
---@param limit? integer bytes of memory
---@return table<string, string|number|boolean>
function settings.values(formation, target, limit)
  local inventory = formation.inventory
  local values = common(target.paths)
  if target.role == "monitor" then
    values.shared_buffers, values.effective_cache_size = memory_of_monitor(limit)
    for name, value in pairs(inventory.timers) do
      -- this one is the keepers'
      if name ~= "network_partition_timeout" then values["pgautofailover." .. name] = value end
    end
    return values
  end
  local postgres = inventory.postgres
  values.shared_buffers, values.effective_cache_size = memory_of_node(postgres, limit)
  for _, name in ipairs { "wal_keep_size", "max_slot_wal_keep_size", "wal_retrieve_retry_interval" } do
    values[name] = postgres[name]
  end
  for name, value in pairs(postgres.settings) do values[name] = value end
  return values
end

---The text of node.conf.
---@param values table<string, string|number|boolean>
---@return string
function settings.render(values)
  local lines = {}
  for name, value in pairs(values) do lines[#lines + 1] = ("%s = %s"):format(name, quote.conf(value)) end
  table.sort(lines)
  return "# Written by pgafrun: changes by hand are lost. postgresql.conf includes it last.\n" ..
    table.concat(lines, "\n") .. "\n"
end

-- ------------------------------------------------------------------------------------------------- in the server

local CHANGED_AT = "files changed at"

-- When the files came to be what they are: by the system's own clock to a fraction of a second, which the server's
-- pg_stat_file cuts off. The time of the inode, because a file is written under another name and renamed.
local function times_fact(paths)
  return {
    "sh", CHANGED_AT, script = "stat -c '%.9Z %n' -- " .. quote.sh_list {
      paths.node_conf, paths.hba, settings.ident_path(paths), paths.ca_crt, paths.server_crt, paths.server_key,
    } .. " || :",
  }
end

-- What the running server says of the files: when did it load them, is one of our settings set again after node.conf
-- (by ALTER SYSTEM, or further down in postgresql.conf), refused, or waiting for a restart, is a line of pg_hba.conf
-- wrong? All files are read once.
local function server_fact(paths)
  return {
    "sql", "server", database = "postgres", query = ([[
with file as materialized (select * from pg_file_settings),
  ours as (select * from file where sourcefile = %s)
select json_build_object(
  'loaded', extract(epoch from pg_conf_load_time())::float8,
  'overridden', (select json_agg(distinct jsonb_build_object('name', ours.name, 'wanted', ours.setting,
      'now', theirs.setting, 'file', theirs.sourcefile))
    from ours join file theirs on theirs.name = ours.name and theirs.seqno > ours.seqno),
  'refused', (select json_agg(name || ': ' || error) from ours where error is not null
    and name not in (select name from pg_settings where pending_restart)),
  'pending', (select json_agg(name) from pg_settings where pending_restart
    and name !~ '^(recovery_target|primary_)'),
  'hba', (select json_agg('line ' || line_number || ': ' || error) from pg_hba_file_rules where error is not null))]])
      :format(quote.conf(paths.node_conf)),
  }
end

local function list(values, separator)
  if type(values) ~= "table" or #values == 0 then return nil end
  return table.concat(values, separator or ", ")
end

local function auto_conf(paths) return paths.pgdata .. "/postgresql.auto.conf" end

-- What is set again after node.conf. A server that does not run cannot be asked; what ALTER SYSTEM left is in its file.
local function overridden(formation, target, facts)
  local now, found = facts.sql.server, {}
  if now then return type(now.overridden) == "table" and now.overridden or found end
  local path = auto_conf(target.paths)
  local ours = settings.values(formation, target)
  for name, value in ("\n" .. (facts.content[path] or "")):gmatch("\n([%w_.]+) = '([^\n]*)'") do
    if ours[name] ~= nil then
      found[#found + 1] = { name = name, now = value, wanted = tostring(ours[name]), file = path }
    end
  end
  return found
end

local function by_alter_system(one) return one.file:match("[^/]+$") == "postgresql.auto.conf" end

local function names_of(differing)
  local names = {}
  for i, one in ipairs(differing) do
    names[i] = ("%s (%s)"):format(one.name, by_alter_system(one) and "by ALTER SYSTEM" or "in " .. one.file)
  end
  return list(names)
end

local function not_in_force(paths, now, differing)
  if #differing > 0 then return "set again after node.conf: " .. names_of(differing) end
  if not now then return nil end
  if list(now.refused, "; ") then return "refused by the server: " .. list(now.refused, "; ") end
  if list(now.hba, "; ") then return paths.hba .. ": " .. list(now.hba, "; ") end
  return nil
end

-- It is a signal to the server: the time to act on it is given here.
local function reload(target, fact, before)
  formations.sql(target, "postgres", "select pg_reload_conf();")
  pcall(task.timeout, RELOAD_SECONDS, function()
    repeat
      task.sleep(0.02)
      target.facts:forget()
      local now = target.facts:fetch({ fact }).sql.server
    until not now or now.loaded ~= before.loaded
  end)
  task.check()
end

-- The line that includes node.conf becomes the last one again.
local INCLUDE_LAST = [[
set -e; umask 077
cd %s
grep -vF "'../node.conf'" postgresql.conf >postgresql.conf.new
echo "include_if_exists = '../node.conf'" >>postgresql.conf.new
mv postgresql.conf.new postgresql.conf]]

-- What ALTER SYSTEM RESET does, for a server that does not run.
local RESET = [[
set -e; umask 077
cd %s
grep -vE '^(%s) = ' postgresql.auto.conf >postgresql.auto.conf.new || [ $? -eq 1 ]
mv postgresql.auto.conf.new postgresql.auto.conf]]

-- Takes back what is set again after node.conf; what was done.
local function take_back(target, differing, runs)
  local reset, statements, moved = {}, {}, false
  for _, one in ipairs(differing) do
    if by_alter_system(one) then
      reset[#reset + 1] = one.name
      statements[#statements + 1] = ("alter system reset %s;"):format(one.name)
    elseif not moved then
      formations.run(target, INCLUDE_LAST:format(quote.sh(target.paths.pgdata)))
      moved = true
    end
  end
  if #reset > 0 and runs then
    formations.sql(target, "postgres", table.concat(statements, "\n"))
  elseif #reset > 0 then
    formations.run(target, RESET:format(quote.sh(target.paths.pgdata), (table.concat(reset, "|"):gsub("%.", "[.]"))))
  end
  return (#reset > 0 and ", reset " .. list(reset) or "") .. (moved and ", put node.conf last" or "")
end

-- Those of the files that the running server has not loaded yet; one that does not run will read them when it starts.
local function not_loaded(facts, paths)
  local now, found, wanted = facts.sql.server, {}, {}
  for _, path in ipairs(paths or {}) do wanted[path] = true end
  for changed, path in (now and facts.sh[CHANGED_AT] or ""):gmatch "(%S+) ([^\n]+)" do
    if (not paths or wanted[path]) and tonumber(changed) > now.loaded then found[#found + 1] = path end
  end
  return list(found)
end

---For the step that writes files which the server has to load: what was written by a run that was killed before the
---handler came to it counts as a change of this one. The handler does the loading.
---@param member pgaf.Member
---@param paths string[]
---@return pgaf.Resource
function settings.to_load(member, paths)
  return {
    kind = "configuration", name = member.paths.node_conf, settles = true,
    reads = { server_fact(member.paths), times_fact(member.paths) },
    probe = function(_, _, facts)
      local found = not_loaded(facts, paths)
      return found and "the server has not loaded " .. found or nil
    end,
    apply = function() return "the server is to load it" end,
  }
end

---For the handler: the running server has loaded all of its files.
---@param member pgaf.Member
---@return pgaf.Resource
function settings.loaded(member)
  local fact = server_fact(member.paths)
  return {
    kind = "configuration", name = member.paths.node_conf, reads = { fact, times_fact(member.paths) },
    probe = function(_, _, facts)
      local found = not_loaded(facts)
      return found and "the server has not loaded " .. found or nil
    end,
    apply = function(_, target, _, facts)
      reload(target, fact, facts.sql.server)
      return "reloaded the configuration"
    end,
  }
end

---In the running server nothing wins over node.conf, and nothing in the files is refused.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function settings.in_force(formation)
  return function(member)
    local paths = member.paths
    local fact = server_fact(paths)
    local in_force = {
      kind = "settings in force", name = paths.node_conf, reads = { fact, { "content", auto_conf(paths) } },
    }

    function in_force:probe(target, facts)
      local now = facts.sql.server
      formation.restart_pending = formation.restart_pending or {}
      formation.restart_pending[target.name] = now and list(now.pending) or nil
      return not_in_force(paths, now, overridden(formation, target, facts))
    end

    function in_force:changes(target, facts)
      local changes = {}
      for i, one in ipairs(overridden(formation, target, facts)) do
        changes[i] = { what = one.name, before = one.now, after = one.wanted }
      end
      return changes
    end

    function in_force:apply(target, _, facts)
      local now = facts.sql.server
      local back = take_back(target, overridden(formation, target, facts), now)
      if now then reload(target, fact, now) end
      return (now and "reloaded the configuration" or "the server does not run") .. back
    end

    return in_force
  end
end

-- What differs in it is nobody's business, and in check mode its passwords may not even have been made.
local function pgpass(formation, target)
  local path = target.paths.pgpass
  local made = resource.file {
    path = path, user = formation.owner, content = function() return secret.value(access.pgpass(formation)) end,
  }
  function made.changes(_, _, facts)
    return { { what = path, secret = true, before = facts.file[path] and "" or nil, after = "" } }
  end
  return made
end

---node.conf, pg_hba.conf and pg_ident.conf as they shall be, and .pgpass on data nodes.
---@param formation pgaf.Formation
---@param hba? fun(formation: pgaf.Formation): fun(target: pgaf.Member): pgaf.Resource default peers.access
---@return fun(target: pgaf.Member): pgaf.Resource[]
function settings.files(formation, hba)
  return function(target)
    local paths, owner = target.paths, formation.owner
    local is_monitor = target.role == "monitor"
    local function owned(path, content)
      return resource.file { path = path, user = owner, content = content, shown = true }
    end
    target.facts:want(MEMORY)
    local resources = {
      owned(paths.node_conf, function()
        local limit = settings.memory_limit(target.facts:fetch(MEMORY))
        return settings.render(settings.values(formation, target, limit))
      end),
      (hba or peers.access)(formation)(target),
      owned(settings.ident_path(paths), function()
        return (is_monitor and access.monitor_ident or access.node_ident)(formation)
      end),
    }
    if not is_monitor then resources[#resources + 1] = pgpass(formation, target) end
    resources[#resources + 1] = settings.to_load(target, { paths.node_conf, paths.hba, settings.ident_path(paths) })
    return resources
  end
end

---What names the other nodes, for when all are there: /etc/hosts and pg_hba.conf.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource[]
function settings.peers(formation)
  return function(target)
    local hba = target.paths.hba
    local resources = {
      peers.in_the_end(hba, peers.access(formation)(target)),
      peers.in_the_end(hba, settings.to_load(target, { hba })),
    }
    if formation.provider:can "packages" then
      table.insert(resources, 1, peers.in_the_end(peers.HOSTS, peers.names(formation)()))
    end
    return resources
  end
end

return settings

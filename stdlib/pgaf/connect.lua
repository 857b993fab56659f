-- How this program reaches the formation's PostgreSQL servers: by libpq over TLS, each server proven to be the one
-- that the formation's own CA signed. What is needed for it (the CA's certificate, two passwords) is fetched from the
-- nodes; passwords stay inside functions and are in no table, argument or log.
--
-- A force-stopped node may close no connection: every one has connect_timeout and tcp_user_timeout, so that silence
-- is noticed too.

local throw = error
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local pg = require "pgafrun.pg"

local MONITOR_DATABASE = "pg_auto_failover"
local MONITOR_ROLE = "autoctl_node"
local PROBE_ROLE = "pgaf_probe"
-- Seconds. A dead host costs a client with several hosts this much at each attempt.
local CONNECT_TIMEOUT = 1
-- Milliseconds without an acknowledgement of sent data until the kernel gives the connection up.
local TCP_USER_TIMEOUT = 2000

local connect = { CONNECT_TIMEOUT = CONNECT_TIMEOUT, PROBE_ROLE = PROBE_ROLE }

---@class pgaf.Reach
---@field inventory table
---@field provider pgaf.Provider
local Reach = {}
Reach.__index = Reach

---@param provider pgaf.Provider
---@param inventory table
---@return pgaf.Reach to be closed: it keeps a copy of the CA's certificate
function connect.open(provider, inventory)
  return setmetatable({ provider = provider, inventory = inventory, secrets = {} }, Reach)
end

--- Splits a line of a password file at its colons; "\:" and "\\" are literal.
---@param line string
---@return string[]
function connect.split_pgpass(line)
  local fields, field, i = {}, {}, 1
  while i <= #line do
    local c = line:sub(i, i)
    if c == "\\" and i < #line then
      i = i + 1
      field[#field + 1] = line:sub(i, i)
    elseif c == ":" then
      fields[#fields + 1] = table.concat(field)
      field = {}
    else
      field[#field + 1] = c
    end
    i = i + 1
  end
  fields[#fields + 1] = table.concat(field)
  return fields
end

--- The password of database and user in a password file's text.
---@param text string
---@param database string
---@param user string
---@return string?
function connect.find_password(text, database, user)
  for line in text:gmatch("[^\r\n]+") do
    local fields = connect.split_pgpass(line)
    local fits = fields[5] and (fields[3] == database or fields[3] == "*") and (fields[4] == user or fields[4] == "*")
    if line:sub(1, 1) ~= "#" and fits then return fields[5] end
  end
end

-- The role that may read the monitor: every data node knows its password, so any that can be read will do.
local function monitor_password(self)
  for _, entry in ipairs(self.inventory.nodes) do
    local node = self.provider:node(entry.name)
    local readable, text = pcall(function() return node:pull(node:paths().pgpass) end)
    local password = readable and text and connect.find_password(text, MONITOR_DATABASE, MONITOR_ROLE)
    if password then return password end
  end
  error.raise {
    kind = "missing", operation = "connect to the monitor",
    message = ("no data node of formation %s has the monitor's password in its .pgpass"):format(
      self.inventory.formation),
    hint = "provision the formation first: pgafrun scripts/postgres_ha.lua",
  }
end

local function probe_password(self)
  local node = self.provider:node(self.inventory.monitor.name)
  local text = node:pull(node:paths().home .. "/probe_password")
  if text then return (text:gsub("%s+$", "")) end
  error.raise {
    kind = "missing", operation = "connect as " .. PROBE_ROLE,
    message = ("the monitor node %s keeps no password of the role %s"):format(node.name, PROBE_ROLE),
    hint = "the formation was not provisioned for drills: run pgafrun scripts/postgres_ha.lua again",
  }
end

local SOURCES = { monitor = monitor_password, probe = probe_password }

-- A function, so that the secret is in no table that somebody may print.
local function password(self, name)
  local secret = self.secrets[name]
  if not secret then
    local text = SOURCES[name](self)
    secret = function() return text end
    self.secrets[name] = secret
  end
  return secret
end

--- Path of a copy of the CA's certificate, for this process alone.
---@return string
function Reach:ca()
  if self.certificate then return self.certificate:path() end
  local node = self.provider:node(self.inventory.monitor.name)
  local text = node:pull(node:paths().ca_crt)
  if not text then
    error.raise {
      kind = "missing", operation = "connect to the formation",
      message = ("the monitor node %s has no CA certificate at %s"):format(node.name, node:paths().ca_crt),
      hint = "provision the formation first: pgafrun scripts/postgres_ha.lua",
    }
  end
  -- Another task may have fetched it meanwhile, and a connection that is being made reads that file: it has to stay.
  self.certificate = self.certificate or fs.in_memory(text)
  return self.certificate:path()
end

-- One host, or several in order: what libpq takes as lists.
local function servers(self, entries)
  local hosts, addresses, ports = {}, {}, {}
  for _, entry in ipairs(entries) do
    local node = self.provider:node(entry.name)
    -- The address of a stopped node is not known; its name alone would have to be resolved by a server of theirs.
    local known, address = pcall(node.address, node)
    if known and address then
      hosts[#hosts + 1], addresses[#addresses + 1], ports[#ports + 1] = node.hostname, address, tostring(entry.port)
    end
  end
  if #hosts == 0 then
    error.raise {
      kind = "network", operation = "connect", code = "EHOSTUNREACH",
      message = ("no address is known of %s"):format(entries[1].name), retryable = true,
      hint = "is the node running?",
    }
  end
  return table.concat(hosts, ","), table.concat(addresses, ","), table.concat(ports, ",")
end

local function conninfo(self, entries, fields)
  local info = {
    sslmode = "verify-full", sslrootcert = self:ca(), connect_timeout = CONNECT_TIMEOUT,
    tcp_user_timeout = TCP_USER_TIMEOUT, keepalives_idle = 2, keepalives_interval = 1, keepalives_count = 3,
  }
  info.host, info.hostaddr, info.port = servers(self, entries)
  for key, value in pairs(fields) do info[key] = value end
  return info
end

-- The transport's message names addresses; people know nodes.
local function dial(what, info, options)
  local ok, connection = pcall(pg.connect, info, options)
  if ok then return connection end
  local problem = connection
  if not error.is(problem) or problem.kind == "cancelled" then throw(problem, 0) end
  error.raise {
    kind = problem.kind, code = problem.code, operation = "connect", cause = problem, retryable = problem.retryable,
    hint = problem.hint, message = ("cannot reach %s: %s"):format(what, problem.message),
  }
end

--- To the monitor's database, as the role that nodes use: it reads all and may call pg_auto_failover's functions.
---@param purpose string shown in pg_stat_activity
---@return pgafrun.pg.Connection
function Reach:monitor(purpose)
  return dial("the monitor " .. self.inventory.monitor.name, conninfo(self, { self.inventory.monitor }, {
    dbname = MONITOR_DATABASE, user = MONITOR_ROLE, password = password(self, "monitor"),
    application_name = "pgafrun " .. purpose, connect_timeout = 2,
  }), { timeout = 5 })
end

local function probe(self, entries, purpose, attributes)
  local what = #entries == 1 and "node " .. entries[1].name or "a data node that fits " .. attributes
  return dial(what, conninfo(self, entries, {
    dbname = self.inventory.application.database, user = PROBE_ROLE, password = password(self, "probe"),
    application_name = "pgafrun " .. purpose, target_session_attrs = attributes,
  }), { timeout = CONNECT_TIMEOUT * #entries + 2 })
end

--- To one data node, whatever its role is.
---@param name string
---@param purpose string
---@return pgafrun.pg.Connection
function Reach:node(name, purpose)
  for _, entry in ipairs(self.inventory.nodes) do
    if entry.name == name then return probe(self, { entry }, purpose, "any") end
  end
  error.raise { kind = "usage", operation = "connect", message = name .. " is no data node of the inventory" }
end

--- To whichever data node takes writes, as an application with several hosts in its URI does.
---@param purpose string
---@return pgafrun.pg.Connection
function Reach:primary(purpose) return probe(self, self.inventory.nodes, purpose, "read-write") end

--- To any data node; `turn` says which of them is tried first.
---@param purpose string
---@param turn integer
---@return pgafrun.pg.Connection
function Reach:any(purpose, turn)
  local all, entries = self.inventory.nodes, {}
  for i = 1, #all do entries[i] = all[(turn + i - 2) % #all + 1] end
  return probe(self, entries, purpose, "any")
end

--- The URI an application uses (without its password).
---@return string
function Reach:uri()
  local hosts = {}
  for i, entry in ipairs(self.inventory.nodes) do
    hosts[i] = ("%s:%d"):format(self.provider:node(entry.name).hostname, entry.port)
  end
  local application = self.inventory.application
  return ("postgres://%s@%s/%s?target_session_attrs=read-write&sslmode=verify-full&connect_timeout=2"):format(
    application.user, table.concat(hosts, ","), application.database)
end

--- Lets go of the copy of the certificate. Idempotent.
function Reach:close()
  if self.certificate then self.certificate:close() end
  self.certificate = nil
end
Reach.__close = Reach.close

return connect

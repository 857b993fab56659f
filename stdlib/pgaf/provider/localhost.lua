-- The `local` provider: a node is a folder and the process tree that lives in it, on a loopback address of its own.
-- For a laptop or a CI without Incus; run as an unprivileged user, who becomes PostgreSQL's superuser.
--
-- What belongs to a node is told by the working folder: pg_autoctl runs in the node's folder and the postmaster and
-- its backends in PGDATA below it, whatever session or parent they have. So a node can be killed as a container is:
-- all at once.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local net = require "pgafrun.net"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local tree = require "pgaf.provider.process_tree"
local LocalService = require "pgaf.provider.local_service"

local PRIVATE = tonumber("600", 8)
-- A unix socket's path has 107 characters at most, and "/.s.PGSQL.65535" comes after it.
local LONGEST_RUN_DIR = 90
local PROBE_SECONDS = 1

---@class pgaf.local.Provider: pgaf.Provider
local Provider = {}
Provider.__index = Provider

---@class pgaf.local.Node: pgaf.Node
local Node = {}
Node.__index = Node

local function expand_home(path)
  if path:sub(1, 1) ~= "~" then return path end
  local home = process.getenv("HOME")
  if not home then
    error.raise { kind = "usage", operation = "local", message = "the root folder starts with ~ and HOME is not set" }
  end
  return home .. path:sub(2)
end

-- The folder with pg_autoctl's PostgreSQL: the highest major that has the extension, or the one that was asked for.
local function find_bindir(wanted)
  local base = "/usr/lib/postgresql"
  local majors = {}
  for _, name in ipairs(fs.stat(base) and fs.list(base) or {}) do
    local major = math.tointeger(tonumber(name))
    if major and fs.stat(("%s/%d/lib/pgautofailover.so"):format(base, major)) then majors[#majors + 1] = major end
  end
  table.sort(majors)
  for _, major in ipairs(majors) do
    if major == wanted then return ("%s/%d/bin"):format(base, major), major end
  end
  local highest = majors[#majors]
  return highest and ("%s/%d/bin"):format(base, highest), highest
end

---@param inventory table
---@return pgaf.local.Provider
local function open(inventory)
  local settings = inventory.provider
  local root = expand_home(settings.root or ("~/.local/state/pgafrun/" .. inventory.formation))
  local self = setmetatable({}, Provider)
  self.kind = "local"
  self.formation = inventory.formation
  self.root = root
  self.inventory = inventory
  self.system_user = process.self().user
  self.wanted_major = inventory.postgres and inventory.postgres.version
  self.bindir = settings.bindir
  self.entries = {}
  self.handles = {}
  self.streams = {}
  local entries = { inventory.monitor, table.unpack(inventory.nodes) }
  for i, entry in ipairs(entries) do
    self.entries[entry.name] = { address = entry.address or ("127.0.0.%d"):format(10 + i), port = entry.port }
  end
  return self
end

-- A port that another program has is found here, not by a server that fails to start.
local function check_port(self, name, entry)
  if not entry.port or tree.pids(self:node(name).base)[1] then return end
  if not net.probe(entry.address, entry.port, PROBE_SECONDS) then return end
  error.raise {
    kind = "usage", operation = "local provider",
    message = ("%s:%d, the address of %s, is in use by another program"):format(entry.address, entry.port, name),
    hint = "give the node another port in the inventory, or end that program (ss -ltnp shows it)",
  }
end

--- Raises when this machine cannot be used; touches nothing.
function Provider:check()
  local me = process.self()
  if me.uid == 0 then
    error.raise {
      kind = "permission", operation = "local provider",
      message = "PostgreSQL refuses to run as root",
      hint = "run pgafrun as an ordinary user, for example: runuser -u USER -- pgafrun ...",
    }
  end
  self:find_programs()
  for _, name in ipairs { "pg_autoctl", "openssl" } do
    if process.run { "sh", "-c", "command -v " .. name }.code ~= 0 then
      error.raise {
        kind = "missing", operation = "local provider", message = name .. " is not installed (not in PATH)",
        hint = "install PostgreSQL with pg_auto_failover: ./bootstrap deps",
      }
    end
  end
  for name in pairs(self.entries) do
    local run = self:node(name):paths().run
    if #run > LONGEST_RUN_DIR then
      error.raise {
        kind = "usage", operation = "local provider",
        message = ("the socket folder %s is too long for a unix socket (%d characters, at most %d)"):format(
          run, #run, LONGEST_RUN_DIR),
        hint = "set a shorter provider.root in the inventory",
      }
    end
  end
  for name, entry in pairs(self.entries) do check_port(self, name, entry) end
end

function Provider:find_programs()
  if self.major then return end
  local bindir, major = find_bindir(self.wanted_major)
  if self.bindir then
    local version = process.run { self.bindir .. "/postgres", "--version" }
    major = math.tointeger(tonumber(version.stdout:match("(%d+)")))
  end
  bindir = self.bindir or bindir
  if not bindir or not major then
    error.raise {
      kind = "missing", operation = "local provider",
      message = "no PostgreSQL with the pg_auto_failover extension under /usr/lib/postgresql",
      hint = "install it (./bootstrap deps), or set provider.bindir in the inventory",
    }
  end
  self.bindir, self.major = bindir, major
end

---@return integer major version of PostgreSQL
function Provider:postgres_major()
  self:find_programs()
  return self.major
end

---@param name string
---@return pgaf.local.Node
function Provider:node(name)
  local node = self.handles[name]
  if not node then
    local entry = self.entries[name] or {}
    node = setmetatable({ name = name, provider = self, base = self.root .. "/" .. name }, Node)
    node.hostname, node.user = entry.address, self.system_user
    self.handles[name] = node
  end
  return node
end

--- Existing nodes that carry our tag, by name.
function Provider:nodes()
  local found = {}
  for _, name in ipairs(fs.stat(self.root) and fs.list(self.root) or {}) do
    local status = self:node(name):status()
    if status ~= "absent" and status ~= "foreign" then found[#found + 1] = self:node(name) end
  end
  return found
end

--- The right to change this formation, until close or the end of the process.
function Provider:lock(what)
  fs.mkdir(self.root)
  local me = process.self()
  local lock, holder = fs.lock(self.root .. "/.lock",
    ("%s@%s, process %d, %s, since %s"):format(me.user, me.host, me.pid, what, require("pgafrun.time").iso()))
  if not lock then
    error.raise {
      kind = "locked", operation = what,
      message = ("formation %s is being changed by %s"):format(self.formation, holder),
      hint = "wait until that run has ended, or end it",
    }
  end
  return lock
end

local ABILITIES = {
  freeze = { true },
  cut = { false, "cutting the network of a process tree needs root; use the incus provider" },
  snapshot = { false, "process trees have no snapshots; use the incus provider" },
  systemd = { false, "process trees have no systemd" },
  packages = { false, "programs are those of this machine" },
}

function Provider:can(capability)
  return table.unpack(ABILITIES[capability] or { false, "unknown capability " .. tostring(capability) })
end

function Provider:emit(node, action)
  for stream in pairs(self.streams) do
    table.insert(stream.queue, { at = require("pgafrun.time").now(), node = node, action = action })
    stream.arrived:notify()
  end
end

--- What happened to nodes through this provider.
function Provider:events()
  local provider = self
  local stream = { queue = {}, arrived = task.condition() }
  function stream.next(_, seconds)
    if #stream.queue == 0 then stream.arrived:wait(seconds) end
    return table.remove(stream.queue, 1)
  end
  function stream.close() provider.streams[stream] = nil end
  self.streams[stream] = true
  return stream
end

function Provider:close() self.streams = {} end
Provider.__close = Provider.close

-- ---------------------------------------------------------------------------------------------------------- nodes

---@return table<string, string>
function Node:paths()
  local base, provider = self.base, self.provider
  provider:find_programs()
  local data = base .. "/pg/data"
  return {
    base = base, pg = base .. "/pg", pgdata = data,
    node_conf = base .. "/pg/node.conf", hba = base .. "/pg/pg_hba.conf", ident = base .. "/pg/pg_ident.conf",
    ca = base .. "/ca", tls = base .. "/tls", ca_crt = base .. "/tls/ca.crt", server_crt = base .. "/tls/server.crt",
    server_key = base .. "/tls/server.key", home = base .. "/home", pgpass = base .. "/home/.pgpass",
    run = base .. "/run", config = base .. "/config", share = base .. "/share",
    cfg = base .. "/config/pg_autoctl" .. data .. "/pg_autoctl.cfg",
    state = base .. "/share/pg_autoctl" .. data .. "/pg_autoctl.state",
    init = base .. "/share/pg_autoctl" .. data .. "/pg_autoctl.init",
    pidfile = base .. "/run/pg_autoctl" .. data .. "/pg_autoctl.pid",
    bindir = provider.bindir, log = base .. "/autoctl.log",
  }
end

function Node:environment()
  local paths = self:paths()
  return {
    HOME = paths.home, PGPASSFILE = paths.pgpass, PGDATA = paths.pgdata, PGHOST = paths.run,
    PGSSLMODE = "verify-full", PGSSLROOTCERT = paths.ca_crt,
    XDG_CONFIG_HOME = paths.config, XDG_DATA_HOME = paths.share, XDG_RUNTIME_DIR = paths.run,
    LANG = "C.UTF-8", LC_ALL = "C.UTF-8", PATH = paths.bindir .. ":/usr/local/bin:/usr/bin:/bin",
  }
end

-- Power is what a container's running state is elsewhere: kept in a file, since a process tree may be empty.
local function read_tag(self)
  if not fs.stat(self.base) then return nil end
  local ok, text = pcall(fs.read, self.base .. "/.pgafrun.json")
  local parsed, tag = pcall(json.decode, ok and text or "")
  return parsed and type(tag) == "table" and tag or {}
end

local function write_tag(self, power)
  local tag = { formation = self.provider.formation, node = self.name, power = power }
  fs.write(self.base .. "/.pgafrun.json", json.encode(tag) .. "\n", { mode = PRIVATE })
end

function Node:status()
  local tag = read_tag(self)
  if not tag then return "absent" end
  if tag.formation ~= self.provider.formation or tag.node ~= self.name then return "foreign" end
  return tag.power
end

local function refuse_foreign(self, what)
  error.raise {
    kind = "foreign", operation = what,
    message = ("%s exists and is not a node of formation %s: left alone"):format(self.base, self.provider.formation),
    hint = "choose another provider.root or node name, or move the folder away",
  }
end

--- What launch would change; reads only.
---@return string? difference, pgaf.Change[]? changes
function Node:difference()
  local status = self:status()
  if status == "foreign" then refuse_foreign(self, "launch " .. self.name) end
  if status == "running" then return nil end
  local absent = status == "absent"
  return absent and "it does not exist" or "it is " .. status,
    { { what = "node " .. self.name, before = absent and "missing" or status, after = "running" } }
end

--- Processes have nothing to boot.
function Node:wait_until_ready() end

--- Makes the node's folders. True when it was not there.
---@return boolean changed, string? what
function Node:launch()
  local status = self:status()
  if status == "foreign" then refuse_foreign(self, "launch " .. self.name) end
  local made = status == "absent"
  if made then
    fs.mkdir(self.base)
    write_tag(self, "running")
  end
  local paths = self:paths()
  for _, key in ipairs { "pg", "tls", "home", "run", "config", "share" } do fs.mkdir(paths[key]) end
  if not made and status ~= "running" then self:start() end
  return made, made and "launched" or nil
end

function Node:delete()
  local status = self:status()
  if status == "absent" then return end
  if status == "foreign" then refuse_foreign(self, "delete " .. self.name) end
  tree.kill(self.base)
  fs.remove_tree(self.base)
  self.provider:emit(self.name, "instance-deleted")
end

--- Power on: what was enabled runs again, as after a container's boot.
function Node:start()
  local status = self:status()
  if status == "frozen" then return self:thaw() end
  write_tag(self, "running")
  local service = self:service()
  if service:is_installed() and service:status() ~= "running" then service:start() end
  if status ~= "running" then self.provider:emit(self.name, "instance-started") end
end

--- Power off. force: every process gets SIGKILL at once.
function Node:stop(options)
  if not (options and options.force) then
    local ok = pcall(task.timeout, options and options.timeout or 60, function() self:service():stop() end)
    if not ok then task.check() end
  end
  tree.kill(self.base)
  write_tag(self, "stopped")
  self.provider:emit(self.name, "instance-stopped")
end

function Node:freeze()
  tree.signal(self.base, "STOP")
  write_tag(self, "frozen")
  self.provider:emit(self.name, "instance-paused")
end

function Node:thaw()
  write_tag(self, "running")
  tree.signal(self.base, "CONT")
  self.provider:emit(self.name, "instance-resumed")
end

function Node:address() return self.hostname end
Node.known_address = Node.address

local function fail_command(self, what, result)
  local lines = {}
  for line in result.stderr:gmatch("[^\n]+") do lines[#lines + 1] = line end
  local last = table.concat(lines, "\n    ", math.max(1, #lines - 9))
  error.raise {
    kind = "command", operation = "run on " .. self.name,
    code = tostring(result.code or ("signal " .. tostring(result.signal))),
    command = what:match "^`(.*)`$" or what, result = result,
    message = ("%s ended with %s%s"):format(what,
      result.code and "status " .. result.code or "signal " .. tostring(result.signal),
      last ~= "" and ":\n    " .. last or ""),
  }
end

local function run_process(self, options, what)
  local environment = self:environment()
  for name, value in pairs(options.env or {}) do environment[name] = value end
  local argv = table.move(options, 1, #options, 1, {})
  argv.env, argv.stdin, argv.timeout, argv.umask = environment, options.stdin, options.timeout or 60, tonumber("77", 8)
  argv.cwd = options.cwd or self.base
  local result = process.run(argv)
  if options.check ~= false and result.code ~= 0 then fail_command(self, what, result) end
  return result
end

--- A POSIX shell script. It travels in the environment: unlike an argument, that is this user's alone to read.
function Node:run(script, options)
  options = options or {}
  local env = { PGAFRUN_SCRIPT = script }
  for name, value in pairs(options.env or {}) do env[name] = value end
  local first = script:match("[^\n%s][^\n]*") or "an empty script"
  return run_process(self, {
    "sh", "-c", 'pgafrun_script=$PGAFRUN_SCRIPT; unset PGAFRUN_SCRIPT; eval "$pgafrun_script"',
    env = env, stdin = options.stdin, timeout = options.timeout, check = options.check,
  }, "`" .. first .. "`")
end

function Node:exec(options)
  return run_process(self, options, "`" .. table.concat(options, " ") .. "`")
end

local function describe(path)
  local stat = fs.stat(path)
  if not stat or stat.type ~= "file" then return false end
  return { sha256 = crypto.sha256(fs.read(path)), mode = ("%04o"):format(stat.mode & tonumber("7777", 8)) }
end

--- Digest and mode of each path; false for what is not a file.
function Node:files(list)
  local found = {}
  local user = self.provider.system_user
  for _, path in ipairs(list) do
    local file = describe(path)
    if file then file.user, file.group = user, user end
    found[path] = file
  end
  return found
end

function Node:push(path, content, options)
  local mode = options and options.mode or "0600"
  local now = describe(path)
  if now and now.mode == mode and now.sha256 == crypto.sha256(content) then return false end
  fs.write(path, content, { mode = tonumber(mode, 8) })
  return true
end

function Node:pull(path)
  if not fs.stat(path) then return nil end
  return fs.read(path)
end

function Node:service()
  if not self.the_service then self.the_service = LocalService.new(self) end
  return self.the_service
end

--- Waits for the end of the node's processes and tells when it was (time.now()).
function Node:watch_death()
  return tree.watch(self.base, self:paths().pgdata)
end

return { open = open }

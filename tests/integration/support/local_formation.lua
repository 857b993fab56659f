-- A formation of the `local` provider in a folder of its own, driven by the program itself, as an unprivileged user:
-- PostgreSQL refuses to run as root, so root's tests run as the user of PostgreSQL's package.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local program = require "pgafrun.program"

local PUBLIC = tonumber("755", 8)

local local_formation = {}

---@class LocalFormation
---@field folder string
---@field values table the inventory; changed in place, written before each run
local LocalFormation = {}
LocalFormation.__index = LocalFormation

local function must(...)
  local result = process.run { ... }
  if result.code ~= 0 then error(table.concat({ ... }, " ") .. " failed: " .. result.stderr) end
end

local function serialize(value)
  if type(value) ~= "table" then return ("%q"):format(value) end
  local parts = {}
  for key, one in pairs(value) do
    parts[#parts + 1] = ("[%s] = %s"):format(serialize(key), serialize(one))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

---@param octet integer of the loopback addresses 127.0.OCTET.x: no two tests have the same
---@return LocalFormation
function local_formation.new(octet)
  local self = setmetatable({ folder = fs.mkdtemp "pgafrun-f-" }, LocalFormation)
  self.as_root = process.self().uid == 0
  -- the other user may not be able to read the checkout or the build
  for _, part in ipairs { "stdlib", "scripts", "vendor" } do
    must("cp", "-r", program.roots[1] .. "/" .. part, self.folder)
  end
  must("cp", process.getenv "PGAFRUN_TEST_BINARY" or "/proc/self/exe", self.folder .. "/pgafrun")
  fs.chmod(self.folder, PUBLIC)
  fs.mkdir(self.folder .. "/home")
  if self.as_root then must("chown", "-R", "postgres:", self.folder) end
  local function address(n) return ("127.0.%d.%d"):format(octet, n) end
  self.values = {
    environment = "lab", formation = "test", provider = { kind = "local", root = self.folder .. "/f" },
    monitor = { name = "mon", port = 6610, address = address(1) },
    nodes = {
      { name = "n1", port = 6611, address = address(2) }, { name = "n2", port = 6612, address = address(3) },
    },
    postgres = { source = "distribution", shared_buffers = "16MB", wal_keep_size = "32MB", settings = {} },
    timers = { health_check_period = 500, health_check_retry_delay = 200 },
    application = { database = "appdb", password = "changeme-DEV-ONLY", networks = { "127.0.0.1/32" } },
    operator_networks = { "127.0.0.1/32" },
  }
  return self
end

-- Options for process: the command, as the other user, with nothing of our environment.
function LocalFormation:command(...)
  local command = { ... }
  if self.as_root then
    command = { "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", ... }
  end
  command.env = {
    PATH = "/usr/local/bin:/usr/bin:/bin", LANG = "C.UTF-8", HOME = self.folder .. "/home",
    TMPDIR = self.folder .. "/home", PGAFRUN_PATH = self.folder,
    -- Incus' client and other users' formations are not for tests
    ASAN_OPTIONS = process.getenv "ASAN_OPTIONS",
  }
  command.cwd, command.timeout = self.folder, 170
  return command
end

function LocalFormation:write_inventory()
  fs.write(self.folder .. "/inventory.lua", "return " .. serialize(self.values) .. "\n", { mode = tonumber("644", 8) })
end

---Runs one of the scripts to its end.
---@param script string "postgres_ha"
---@param ... string arguments
---@return { code: integer, stdout: string, stderr: string }
function LocalFormation:run(script, ...)
  self:write_inventory()
  return process.run(self:command(self.folder .. "/pgafrun", "-i", "inventory.lua", script, ...))
end

---Starts one and leaves it alone.
---@return pgafrun.process.Child child, string output path of what it writes
function LocalFormation:start(script, ...)
  self:write_inventory()
  local command = self:command(self.folder .. "/pgafrun", "-i", "inventory.lua", script, ...)
  command.output, command.timeout = self.folder .. "/started.log", nil
  return process.daemon(command), command.output
end

---Runs a command in a node's environment.
---@param node string
---@param ... string
---@return { code: integer, stdout: string, stderr: string }
function LocalFormation:on(node, ...)
  local command = self:command(...)
  local base = ("%s/f/%s"):format(self.folder, node)
  for name, value in pairs {
    HOME = base .. "/home", PGPASSFILE = base .. "/home/.pgpass", PGDATA = base .. "/pg/data", PGHOST = base .. "/run",
    XDG_CONFIG_HOME = base .. "/config", XDG_DATA_HOME = base .. "/share", XDG_RUNTIME_DIR = base .. "/run",
    PGSSLMODE = "verify-full", PGSSLROOTCERT = base .. "/tls/ca.crt", LC_ALL = "C.UTF-8",
  } do command.env[name] = value end
  command.cwd = base
  return process.run(command)
end

---@param node string
---@param path string below the node's folder
---@return string
function LocalFormation:path(node, path) return ("%s/f/%s/%s"):format(self.folder, node, path) end

---Removes formation and folder.
function LocalFormation:close()
  self:run("destroy", "--yes")
  fs.remove_tree(self.folder)
end

return local_formation

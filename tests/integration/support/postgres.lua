-- Real PostgreSQL servers for tests: each in a private directory, run by an unprivileged user, gone afterwards.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"

local postgres = {}

local function must(options)
  local r = process.run(options)
  if r.code ~= 0 then
    error(("%s failed (%s): %s%s"):format(table.concat(options, " "), r.code or r.signal, r.stdout, r.stderr))
  end
  return r.stdout
end

-- The newest installed version's programs, wherever the distribution keeps them.
local function find_binaries()
  local versions = fs.stat "/usr/lib/postgresql" and fs.list "/usr/lib/postgresql" or {}
  table.sort(versions, function(a, b) return (tonumber(a) or 0) > (tonumber(b) or 0) end)
  for _, version in ipairs(versions) do
    local path = "/usr/lib/postgresql/" .. version .. "/bin/"
    if fs.stat(path .. "initdb") then return path end
  end
  return must({ "pg_config", "--bindir" }):match "^%S+" .. "/"
end

local binaries = find_binaries()

-- PostgreSQL refuses to run as root.
local as_user = {}
if process.self().uid == 0 then
  local user = process.run({ "id", "-u", "postgres" }).code == 0 and "postgres" or "nobody"
  local group = must({ "id", "-g", user }):match "%d+"
  as_user = { "setpriv", "--reuid=" .. user, "--regid=" .. group, "--clear-groups" }
  postgres.owner = user .. ":" .. group
end

local function run_as_user(program, ...)
  local argv = table.move(as_user, 1, #as_user, 1, { cwd = "/" })
  for _, argument in ipairs { binaries .. program, ... } do argv[#argv + 1] = argument end
  return must(argv)
end

local function own(path)
  if postgres.owner then must { "chown", "-R", postgres.owner, path } end
end

local Cluster = {}
Cluster.__index = Cluster

local next_port = 20000 + process.self().pid % 20000

local function start_on_free_port(cluster)
  local problem
  for _ = 1, 20 do
    cluster.port, next_port = next_port, next_port + 1
    local ok, e = pcall(cluster.start, cluster)
    if ok then return cluster end
    problem = e
  end
  error(tostring(problem) .. "\n" .. fs.read(cluster.folder .. "/log"))
end

function Cluster:start()
  run_as_user("pg_ctl", "-D", self.data, "-s", "-w", "-t", "60", "-l", self.folder .. "/log",
    "-o", ("-p %d -k %s"):format(self.port, self.folder), "start")
end

---@param mode "fast"|"immediate"
function Cluster:stop(mode)
  run_as_user("pg_ctl", "-D", self.data, "-s", "-w", "-m", mode, "stop")
end

---Keywords for pg.connect, by TCP, with what is in `more` above them.
function Cluster:keywords(more)
  local keywords = { host = "127.0.0.1", port = self.port, user = "postgres", dbname = "postgres" }
  for name, value in pairs(more or {}) do keywords[name] = value end
  return keywords
end

function Cluster:remove()
  pcall(self.stop, self, "immediate")
  fs.remove_tree(self.folder)
end

local function new_cluster()
  local cluster = setmetatable({ folder = fs.mkdtemp "pgafrun-postgres" }, Cluster)
  cluster.data = cluster.folder .. "/data"
  own(cluster.folder)
  return cluster
end

local configuration = [[
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 40
password_encryption = 'scram-sha-256'
log_min_messages = fatal
]]

---A cluster of its own. hba: the text of pg_hba.conf. configure(folder) returns more configuration, and may put files
---there.
---@param options { hba: string, configure: (fun(folder: string): string)? }
function postgres.cluster(options)
  local cluster = new_cluster()
  run_as_user("initdb", "-D", cluster.data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
  local more = options.configure and options.configure(cluster.folder) or ""
  fs.append(cluster.data .. "/postgresql.conf", configuration .. more)
  fs.write(cluster.data .. "/pg_hba.conf", options.hba)
  own(cluster.folder)
  return start_on_free_port(cluster)
end

---A standby that follows it.
function postgres.standby(primary)
  local cluster = new_cluster()
  run_as_user("pg_basebackup", "-D", cluster.data, "-R", "-X", "stream", "-c", "fast", "--no-sync",
    "-d", ("host=127.0.0.1 port=%d user=postgres"):format(primary.port))
  return start_on_free_port(cluster)
end

---A certificate authority and a server certificate signed by it: ca.crt, server.crt, server.key in the folder.
---extra.crt is another authority's.
function postgres.certificates(folder, name)
  local function openssl(...) must { "openssl", cwd = folder, ... } end
  local function authority(file)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
      "-subj", "/CN=" .. file, "-keyout", file .. ".key", "-out", file .. ".crt")
  end
  authority "ca"
  authority "extra"
  openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" .. name,
    "-keyout", "server.key", "-out", "server.csr")
  fs.write(folder .. "/san", "subjectAltName = DNS:" .. name)
  openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
    "-extfile", "san", "-out", "server.crt")
  fs.chmod(folder .. "/server.key", tonumber("600", 8))
end

return postgres

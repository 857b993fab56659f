-- The drill's clients on a whole formation: how finely one of them sees, and at which cost; and how many writes a
-- second many of them get acknowledged, each entered in the ledger, beside pgbench with as many clients.
--
--     pgafrun -i INVENTORY tests/bench/workload.lua [CLIENTS [SECONDS]]

local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local fs = require "pgafrun.fs"
local passwords = require "pgaf.autofailover.passwords"
local pg = require "pgafrun.pg"
local process = require "pgafrun.process"
local providers = require "pgaf.provider"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local workload = require "pgaf.drill.workload"

local RESOLUTION, CORE, RATIO = 0.005, 0.10, 0.8
local TICKS_A_SECOND = 100

local arguments, inventory = cli.parse({
  name = "workload", description = "What the drill's clients can do, beside pgbench.",
}, function(parser)
  parser:argument("clients"):default("8"):convert(math.tointeger)
  parser:argument("seconds"):default("10"):convert(tonumber)
end, ...)

local background <close> = task.group { name = "provider" }
local provider <close> = providers.open(inventory, background)
local reach <close> = connect.open(provider, inventory)

-- Seconds of processor time that this process has used.
local function used()
  local file = assert(io.open "/proc/self/stat")
  local fields = file:read("a"):match "%) (.*)"
  file:close()
  local ticks, i = 0, 0
  for field in fields:gmatch "%S+" do
    i = i + 1
    if i == 12 or i == 13 then ticks = ticks + tonumber(field) end
  end
  return ticks / TICKS_A_SECOND
end

-- Lets clients write for a while. Returns the ledger, and the seconds of processor time it took.
local function write(clients, interval)
  local name = "bench_workload"
  local work = workload.new(reach, name, { writers = clients, interval = interval })
  do
    local connection <close> = reach:primary "bench"
    connection:query(("drop table if exists %s.%s"):format(workload.SCHEMA, name))
    work:create_table(connection)
  end
  local group <close> = task.group { name = "clients" }
  work:start(group)
  task.sleep(1) -- all are connected
  local since, before = time.now(), used()
  task.sleep(arguments.seconds)
  local cost, til = used() - before, time.now()
  work:stop()
  local connection <close> = reach:primary "bench"
  connection:query(("drop table %s.%s"):format(workload.SCHEMA, name))
  return work, since, til, cost
end

local function show(what, value, limit, text) print(("%-34s %s   x %.2f of %s"):format(what, value, limit, text)) end

do
  local work, since, til, cost = write(1, RESOLUTION)
  local book = work.ledger
  local n = book:acknowledged_between(since, til)
  local every, share = (til - since) / n, cost / (til - since)
  show("one client writes every", ("%8.2f ms"):format(every * 1000), every / RESOLUTION, "the 5 ms asked")
  show("and takes of one core", ("%8.1f %%"):format(share * 100), share / CORE, "the 10 % allowed")
end

local ours
do
  local work, since, til, cost = write(arguments.clients, 0)
  ours = work.ledger:acknowledged_between(since, til) / (til - since)
  print(("%-34s %8.0f a second, %.0f %% of one core"):format(
    ("%d clients, with the ledger"):format(arguments.clients), ours, cost / (til - since) * 100))
end

-- The same row into the same kind of table, as the application, over the same URI.
local function pgbench()
  local folder = fs.mkdtemp "pgafrun-bench-"
  local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
  fs.write(folder .. "/ca.crt", fs.read(reach:ca()))
  fs.write(folder .. "/write.sql", "insert into bench_pgbench (id) values (1);\n")
  local application = inventory.application
  local hosts, addresses, ports = {}, {}, {}
  for i, entry in ipairs(inventory.nodes) do
    local node = provider:node(entry.name)
    hosts[i], addresses[i], ports[i] = node.hostname, node:address(), tostring(entry.port)
  end
  local env = {
    PATH = process.getenv "PATH",
    PGPASSWORD = passwords.reveal(inventory, application.password, "application.password"),
    PGHOST = table.concat(hosts, ","), PGHOSTADDR = table.concat(addresses, ","), PGPORT = table.concat(ports, ","),
    PGUSER = application.user, PGDATABASE = application.database, PGSSLMODE = "verify-full",
    PGSSLROOTCERT = folder .. "/ca.crt", PGTARGETSESSIONATTRS = "read-write", HOME = folder,
  }
  local connection <close> = pg.connect {
    host = env.PGHOST, hostaddr = env.PGHOSTADDR, port = env.PGPORT, user = env.PGUSER, dbname = env.PGDATABASE,
    password = env.PGPASSWORD, sslmode = env.PGSSLMODE, sslrootcert = env.PGSSLROOTCERT,
    target_session_attrs = "read-write",
  }
  connection:query "drop table if exists bench_pgbench"
  connection:query [[create table bench_pgbench (id bigint not null, at timestamptz not null default clock_timestamp(),
    server inet default inet_server_addr(), port integer default inet_server_port())]]
  local result = process.run {
    "pgbench", "-n", "-M", "extended", "-c", tostring(arguments.clients), "-j", "1", "-T", tostring(arguments.seconds),
    "-f", folder .. "/write.sql", env = env, timeout = arguments.seconds + 30,
  }
  connection:query "drop table bench_pgbench"
  local rate = tonumber(result.stdout:match "tps = ([%d.]+)")
  if not rate then error("pgbench: " .. result.stderr) end
  return rate
end

local theirs = pgbench()
print(("%-34s %8.0f a second"):format(("%d clients of pgbench"):format(arguments.clients), theirs))
show("ours beside pgbench's", ("%8.2f"):format(ours / theirs), ours / theirs / RATIO, "the 0.8 asked")

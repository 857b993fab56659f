-- scripts/postgres_ha.lua and destroy.lua on the local provider, from nothing to nothing: killed half-way and repeated,
-- two at once, drift, and what is refused. One formation serves all tests, in the order of their names.
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local pg = require "pgafrun.pg"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local local_formation = dofile(here .. "/support/local_formation.lua")

local T = {}
local f = local_formation.new(77)

local function provision(...)
  local result = f:run("postgres_ha", ...)
  return result, result.stdout .. result.stderr
end

local function assert_ok(result, text) lu.assertEquals(result.code, 0, text) end

-- A run that finds all as the inventory says.
local function assert_unchanged()
  local result, text = provision()
  assert_ok(result, text)
  lu.assertStrContains(text, "nothing changed in ")
end

-- Steps that changed something, by "step node".
local function changes(...)
  local result = f:run("postgres_ha", "--json", ...)
  local found, recap, formation = {}, nil, nil
  for line in result.stdout:gmatch("[^\n]+") do
    local event = json.decode(line)
    if event.event == "finished" and event.status == "changed" then
      found[event.step .. " " .. event.node] = event.detail
    end
    if event.event == "recap" then recap = event end
    if event.event == "formation" then formation = event end
  end
  lu.assertEquals(result.code, 0, result.stdout .. result.stderr)
  return found, recap, formation
end

local function names(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local function as_application(password)
  local hosts, ports = {}, {}
  for i, node in ipairs(f.values.nodes) do hosts[i], ports[i] = node.address, tostring(node.port) end
  return pg.connect {
    host = table.concat(hosts, ","), port = table.concat(ports, ","), user = "app", dbname = "appdb",
    password = password, sslmode = "verify-full", sslrootcert = f:path("mon", "tls/ca.crt"),
    target_session_attrs = "read-write", connect_timeout = 2,
  }
end

local function query(node, port, database, sql)
  local result = f:on(node, "psql", "-XAtq", "-p", tostring(port), "-d", database, "-c", sql)
  lu.assertEquals(result.code, 0, result.stderr)
  return (result.stdout:gsub("\n$", ""))
end

function T.test_01_what_the_monitor_would_refuse_is_refused_before_anything_is_made()
  f.values.formation_settings = { number_sync_standbys = 1 }
  local result, text = provision()
  f.values.formation_settings = nil
  lu.assertEquals(result.code, 64)
  lu.assertStrContains(text, "number_sync_standbys: 1 cannot be kept")
  lu.assertNil(fs.stat(f.folder .. "/f"))
end

function T.test_02_production_refuses_the_placeholder_password()
  f.values.environment = "production"
  local result, text = provision()
  f.values.environment = "lab"
  lu.assertEquals(result.code, 64)
  lu.assertStrContains(text, 'is the placeholder "changeme-DEV-ONLY"')
  lu.assertNil(fs.stat(f.folder .. "/f"))
end

function T.test_02_secrets_that_cannot_be_had_are_told_before_anything_is_made()
  fs.write(f.folder .. "/secrets.lua", [[
local secret = require "pgaf.secret"
return {
  monitor_password = secret.env "PGAFRUN_TEST_UNSET",
  replication_password = secret.file "/nonexistent/password",
}
]], { mode = tonumber("644", 8) })
  for _, option in ipairs { "--quiet", "--check" } do
    local result, text = provision(option, "-e", "@" .. f.folder .. "/secrets.lua")
    lu.assertEquals(result.code, 64, text)
    lu.assertStrContains(text, "secrets.lua:3: monitor_password: cannot be read")
    lu.assertStrContains(text, "secrets.lua:4: replication_password: cannot be read")
    lu.assertFalse(fs.stat(f.folder .. "/f/n1") or fs.stat(f.folder .. "/f/mon") or false)
  end
end

function T.test_03_usage_errors_are_one_line_and_64()
  local result = f:run("postgres_ha", "--no-such-option")
  lu.assertEquals(result.code, 64)
  lu.assertEquals(select(2, result.stderr:gsub("\n", "")), 1)
  result = f:run("postgres_ha", "--help")
  lu.assertEquals(result.code, 0)
  lu.assertStrContains(result.stdout, "--json")
end

function T.test_04_a_folder_of_somebody_else_is_left_alone()
  fs.mkdir(f.folder .. "/f/n2", tonumber("755", 8))
  fs.write(f.folder .. "/f/n2/precious", "data")
  if f.as_root then process.run { "chown", "-R", "postgres:", f.folder .. "/f" } end
  local result, text = provision()
  lu.assertEquals(result.code, 1)
  lu.assertStrContains(text, "n2 exists, and carries not the tag of formation test: nothing was touched")
  lu.assertEquals(fs.list(f.folder .. "/f/n2"), { "precious" })
  lu.assertNil(fs.stat(f.folder .. "/f/n1"))
  result = f:run("destroy", "--yes")
  lu.assertEquals(result.code, 0)
  lu.assertEquals(fs.read(f.folder .. "/f/n2/precious"), "data")
  fs.remove_tree(f.folder .. "/f")
end

function T.test_05_a_second_run_at_the_same_time_is_refused_with_the_holder()
  local child, log = f:start "postgres_ha"
  repeat task.sleep(0.02) until fs.read(log):find("changed", 1, true) or child:wait(0)
  local result, text = provision()
  lu.assertEquals(result.code, 1)
  lu.assertStrContains(text, "formation test is being changed by ")
  lu.assertStrContains(text, ("process %d"):format(child.pid))
  process.kill(child.pid, "KILL")
  child:wait()
end

function T.test_06_killed_half_way_at_several_moments_and_repeated()
  -- each goes on from where the one before was killed
  for _, seconds in ipairs { 0.4, 1.5, 1, 2.5 } do
    local child = f:start "postgres_ha"
    if not child:wait(seconds) then process.kill(child.pid, "KILL") end
    child:wait()
  end
  local result, text = provision()
  assert_ok(result, text)
  lu.assertStrContains(text, "n1    127.0.77.2:6611")
  lu.assertStrContains(text, "postgresql://app@127.0.77.2:6611,127.0.77.3:6612/appdb?target_session_attrs=read-write" ..
    "&sslmode=verify-full")
  lu.assertNotStrContains(text, "changeme")
end

function T.test_07_a_second_run_changes_nothing_and_says_so()
  assert_unchanged()
  local found, recap, formation = changes()
  lu.assertEquals(names(found), {})
  lu.assertEquals(recap.changed, false)
  lu.assertEquals(#formation.state.nodes, 2)
end

-- An input a line; each of these is answered by one line or more.
local PROMPT = [[
formation
primary().name
primary():sql("select 6 * 7 as answer, null as nothing")[1].answer
nodes["n2"]:sql "select pg_is_in_recovery()"
nodes["n1"]:exec "echo from $(basename $PGDATA)"
monitor:events(2)
nodes["n2"]:logs { lines = 1 }
#formation:state().nodes
monitor:sql "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'pgafrun repl'"
require("pgafrun.task").sleep(0.5)
#formation:state().nodes
primary():sql "select nothing_of_this_name"
]]

function T.test_08_at_the_prompt_it_can_be_asked_and_a_lost_monitor_is_told()
  f:write_inventory()
  local command = f:command(f.folder .. "/pgafrun", "-i", "inventory.lua", "repl")
  command.stdin = PROMPT
  local r = process.run(command)
  lu.assertEquals(r.code, 1, r.stdout .. r.stderr) -- the last one
  local at = 1
  for _, part in ipairs {
    "\nthe formation is whole\n", '"n1"\n', '"42"\n', "pg_is_in_recovery\n-----------------\nt\n1 row\n", "from data\n",
    "New state is reported by", "2\n", "the connection to the monitor had been lost; there is a new one\n2\n",
    'column "nothing_of_this_name" does not exist [postgres 42703]',
  } do
    local _, last = r.stdout:find(part, at, true)
    lu.assertNotNil(last, ("%s is not in\n%s"):format(part, r.stdout))
    at = last
  end
end

function T.test_08_what_was_made_is_as_it_was_promised()
  local connection <close> = as_application "changeme-DEV-ONLY"
  local row = connection:query("select rolsuper, ssl, version, current_setting('server_encoding') as encoding, " ..
    "current_setting('data_checksums') as checksums, current_setting('wal_retrieve_retry_interval') as retry " ..
    "from pg_roles, pg_stat_ssl where rolname = current_user and pid = pg_backend_pid()").rows[1]
  lu.assertEquals({ row.rolsuper, row.ssl, row.encoding, row.checksums, row.retry },
    { false, true, "UTF8", "on", "200ms" })
  for _, node in ipairs { "mon", "n1", "n2" } do
    lu.assertNotStrContains(fs.read(f:path(node, "pg/pg_hba.conf")), "trust")
    lu.assertEquals(fs.stat(f:path(node, "tls/server.key")).mode, tonumber("600", 8))
    local data = f:path(node, "pg/data")
    local cfg = f:path(node, "config") .. "/pg_autoctl" .. data .. "/pg_autoctl.cfg"
    lu.assertEquals(fs.stat(cfg).mode, tonumber("600", 8))
  end
  lu.assertEquals(query("n1", 6611, "postgres", "select count(*) from pg_roles where rolsuper and rolcanlogin"), "1")
  lu.assertEquals(query("n1", 6611, "postgres", "select count(*) from pg_authid where rolcanlogin and rolpassword " ..
    "is not null and rolpassword not like 'SCRAM-SHA-256$%'"), "0")
  lu.assertEquals(query("mon", 6610, "postgres", "show pgautofailover.health_check_period"), "500ms")
end

function T.test_09_drift_is_mended_and_nothing_else_is_touched()
  query("mon", 6610, "postgres", "alter system set pgautofailover.health_check_period = 9000")
  query("mon", 6610, "postgres", "select pg_reload_conf()")
  fs.append(f:path("n2", "pg/pg_hba.conf"), "host all all 0.0.0.0/0 trust\n")
  query("n1", 6611, "postgres", "alter role app superuser")
  lu.assertEquals(names((changes())), { "reload PostgreSQL n2", "roles n1", "settings in force mon", "settings n2" })
  lu.assertEquals(query("mon", 6610, "postgres", "show pgautofailover.health_check_period"), "500ms")
  lu.assertEquals(query("n1", 6611, "postgres", "select rolsuper from pg_roles where rolname = 'app'"), "f")
  assert_unchanged()
end

function T.test_10_a_changed_inventory_changes_what_it_says()
  f.values.application.password = "another-password"
  f.values.timers.startup_grace_period = 8000
  f.values.timers.network_partition_timeout = 15
  f.values.nodes[2].candidate_priority = 40
  f.values.postgres.settings.work_mem = "5MB"
  lu.assertEquals(names((changes())), {
    "formation settings mon", "keeper n1", "keeper n2", "reload PostgreSQL mon", "reload PostgreSQL n1",
    "reload PostgreSQL n2", "roles n1", "settings mon", "settings n1", "settings n2",
  })
  local connection <close> = as_application "another-password"
  lu.assertEquals(connection:query("show work_mem").rows[1].work_mem, "5MB")
  lu.assertEquals(query("mon", 6610, "pg_auto_failover",
    "select candidatepriority from pgautofailover.node where nodename = 'n2'"), "40")
  assert_unchanged()
end

function T.test_11_a_setting_that_needs_a_restart_is_told()
  f.values.postgres.settings.max_connections = 77
  local found, _, formation = changes()
  lu.assertEquals(names(found), { "reload PostgreSQL n1", "reload PostgreSQL n2", "settings n1", "settings n2" })
  lu.assertEquals(formation.restart_pending.n1, "max_connections")
  f.values.postgres.settings.max_connections = nil
  provision()
  assert_unchanged()
end

-- `pg_autoctl create` has the same pid file, and lives on when its pgafrun is killed: it runs, and serves nothing.
function T.test_12_a_creation_that_outlives_its_run_is_no_service()
  local pidfile = f:path("mon", "run") .. "/pg_autoctl" .. f:path("mon", "pg/data") .. "/pg_autoctl.pid"
  f:on("mon", "pg_autoctl", "stop", "--pgdata", f:path("mon", "pg/data"))
  repeat task.sleep(0.05) until not fs.stat(pidfile)
  local creation = f:command("sh", "-c", "sleep 30; :", "create")
  creation.timeout, creation.cwd, creation.output = nil, f:path("mon", "pg"), f.folder .. "/creation.log"
  local child = process.daemon(creation)
  fs.write(pidfile, child.pid .. "\n", { mode = tonumber("644", 8) })
  local found = changes()
  process.kill(child.pid, "KILL")
  child:wait()
  lu.assertStrContains(found["monitor mon"], "the monitor does not run: started it")
  assert_unchanged()
end

function T.test_13_a_stopped_node_is_started_and_a_dropped_one_taken_in_again()
  local data = f:path("n2", "pg/data")
  f:on("n2", "pg_autoctl", "stop", "--pgdata", data)
  task.sleep(2)
  local found = changes()
  lu.assertStrContains(found["member n2"], "n2 is not running")
  assert_unchanged()
  lu.assertEquals(f:on("n2", "pg_autoctl", "drop", "node", "--pgdata", data).code, 0)
  found = changes()
  lu.assertStrContains(found["member n2"], "n2 was dropped from the monitor")
  assert_unchanged()
end

function T.test_14_data_that_pg_autoctl_knows_nothing_of_is_explained_and_left_alone()
  local data = f:path("n2", "pg/data")
  local cfg = f:path("n2", "config") .. "/pg_autoctl" .. data .. "/pg_autoctl.cfg"
  f:on("n2", "pg_autoctl", "stop", "--pgdata", data)
  task.sleep(2)
  fs.rename(cfg, cfg .. ".away")
  local result, text = provision()
  lu.assertEquals(result.code, 1)
  lu.assertStrContains(text, data .. " is there, and pg_autoctl has no configuration for it")
  lu.assertStrContains(text, "move it away")
  lu.assertTrue(fs.stat(data .. "/PG_VERSION") ~= nil)
  fs.rename(cfg .. ".away", cfg)
  result, text = provision()
  assert_ok(result, text)
end

function T.test_15_another_database_name_is_explained()
  f.values.application.database = "otherdb"
  local result, text = provision()
  f.values.application.database = "appdb"
  lu.assertEquals(result.code, 1)
  lu.assertStrContains(text, 'the formation was made for the database "appdb", the inventory says "otherdb"')
end

function T.test_16_destroy_asks_and_then_leaves_nothing()
  local result = f:run "destroy"
  lu.assertEquals(result.code, 64)
  lu.assertStrContains(result.stderr, "this would remove mon, n1, n2")
  result = f:run("destroy", "--yes", "--name", "other")
  lu.assertEquals(result.code, 64)
  lu.assertTrue(fs.stat(f.folder .. "/f/n1") ~= nil)
  result = f:run("destroy", "--yes")
  lu.assertEquals(result.code, 0, result.stderr)
  lu.assertNil(fs.stat(f.folder .. "/f/n1"))
  lu.assertEquals(process.run({ "pgrep", "-f", f.folder .. "/f/" }).stdout, "")
  result = f:run("destroy", "--yes")
  lu.assertEquals(result.code, 0)
  lu.assertStrContains(result.stdout, "nothing to remove")
end

-- Whatever failed before: nothing stays.
function T.test_99_remove_what_is_left() f:close() end

test.run("provision", T)

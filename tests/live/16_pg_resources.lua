-- time-limit: 600
-- The resources of PostgreSQL on a real server of the distribution in a container of its own: what differs, what is
-- done, that it is so then, and that what somebody changes by hand is found and mended. Then those of pg_auto_failover,
-- in a play that makes a formation on the local provider. All is deleted at the end, however it ends.

local error = require "pgafrun.error"
local facts = require "pgaf.facts"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local process = require "pgafrun.process"
local resource = require "pgaf.resource"
local secret = require "pgaf.secret"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local container = dofile(here .. "/lib/container.lua")

local SOCKET = "/var/run/postgresql"

local group <close> = task.group()
local box <close> = container.new(group, "pgaf-live-pg-resources")
local node, target = box.node, box.target

local function sh(script) return node:run(script, { timeout = 300 }).stdout end

local function sql(statement, database, port)
  return node:run(("runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -h %s -p %d -d %s"):format(
    SOCKET, port or 5432, database or "postgres"), { stdin = statement }).stdout
end

-- Of the server on port 5432, unless the parameters say otherwise.
local server = setmetatable({}, {
  __index = function(_, name)
    return function(options)
      options.socket = options.socket or SOCKET
      return resource[name](options)
    end
  end,
})

local function probe(made) return box:probe(made) end

local function same(made) lu.assertNil((probe(made))) end

local function converge(made) return box:converge(made) end

local function drift(made, statement, database)
  sql(statement, database)
  return converge(made)
end

local function expect(kind, code, f, ...)
  local ok, raised = pcall(f, ...)
  lu.assertFalse(ok, "no error was raised")
  lu.assertTrue(error.is(raised, kind, code), tostring(raised))
  return raised
end

local function refused_probe(made) return expect("config", nil, probe, made) end

local function refused(made)
  local difference, snapshot = probe(made)
  return expect("config", nil, made.apply, made, target, difference, snapshot)
end

local T = {}

function T.test_01_a_server_that_is_not_there_is_told()
  local raised = expect("postgres", nil, probe, server.pg_role { name = "app" })
  lu.assertStrContains(raised.message, SOCKET .. "/.s.PGSQL.5432")
  sh [[
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -o DPkg::Lock::Timeout=300 update >/dev/null
    apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends install postgresql >/dev/null]]
end

function T.test_02_role()
  local password, other = secret.value "the-first-password-1", secret.value "the-other-password-2"
  converge(server.pg_role { name = "group_a", login = false })
  local wanted = { name = "app", password = password, connection_limit = 5, member_of = { "group_a" },
    valid_until = "2035-01-31" }
  local made = server.pg_role(wanted)
  local _, _, done = converge(made)
  lu.assertStrContains(done, "role app: made")
  lu.assertEquals(sql "select rolcanlogin, rolsuper, rolconnlimit, rolpassword ~ '^SCRAM-SHA-256' from pg_authid \
    where rolname = 'app'", "t|f|5|t\n")
  -- it is that password: a login over TCP says so
  local login = "PGPASSWORD=$(cat) psql -XAt -h 127.0.0.1 -U app -d postgres -c 'select current_user'"
  lu.assertEquals(node:run(login, { stdin = secret.reveal(password) }).stdout, "app\n")
  lu.assertStrContains(drift(made, "alter role app superuser createdb"), "superuser")
  drift(made, "alter role app connection limit 7 valid until 'infinity'")
  drift(made, "revoke group_a from app")
  drift(made, "drop role app")
  local _, changes = drift(made, "alter role app password 'something-else-3'")
  lu.assertEquals({ changes[1].what, changes[1].secret }, { "app: password", true })
  wanted.password = other
  converge(server.pg_role(wanted))
  expect("command", "2", node.run, node, login, { stdin = secret.reveal(password) })
  lu.assertEquals(node:run(login, { stdin = secret.reveal(other) }).stdout, "app\n")
  -- neither the passwords nor their verifiers are in the server's log
  sh [[! grep -E 'the-first|the-other|SCRAM-SHA-256[$]' /var/log/postgresql/*.log]]
  sql "grant pg_monitor to app"
  wanted.exact = true
  converge(server.pg_role(wanted))
  lu.assertStrContains(refused_probe(server.pg_role { name = "x", member_of = { "nobody" } }).message, "nobody")
  lu.assertStrContains(refused_probe(server.pg_role { name = "postgres", state = "absent" }).message, "postgres")
  lu.assertStrContains(server.pg_role({ name = "app", password = "in clear" }).problems[1], "secret")
end

function T.test_03_database()
  local made = server.pg_database { name = "app db", owner = "app", encoding = "utf-8", locale = "C.UTF-8" }
  converge(made)
  drift(made, 'alter database "app db" owner to postgres')
  converge(server.pg_database { name = "app db", connection_limit = 9 })
  lu.assertStrContains(refused_probe(server.pg_database { name = "app db", encoding = "LATIN1" }).message,
    "cannot be changed")
  lu.assertStrContains(server.pg_database({ name = "app db", state = "absent" }).problems[1], "force")
  sql 'alter role app nologin'
  local raised = expect("postgres", "2BP01", function()
    local gone = server.pg_role { name = "app", state = "absent" }
    local difference, snapshot = probe(gone)
    gone:apply(target, difference, snapshot)
  end)
  lu.assertStrContains(raised.hint, "REASSIGN OWNED")
  sql 'alter role app login'
end

function T.test_04_extension()
  local made = server.pg_extension { name = "hstore", database = "app db", version = "1.7" }
  converge(made)
  lu.assertStrContains(drift(server.pg_extension { name = "hstore", database = "app db", version = "latest" },
    "drop extension hstore; create extension hstore version '1.7'", '"app db"'), "1.8")
  sql("create schema things", '"app db"')
  converge(server.pg_extension { name = "hstore", database = "app db", schema = "things" })
  lu.assertStrContains(refused_probe(server.pg_extension { name = "no_such", database = "app db" }).message, "no_such")
  expect("missing", nil, probe, server.pg_extension { name = "hstore", database = "no such" })
  converge(server.pg_extension { name = "hstore", database = "app db", state = "absent" })
end

function T.test_05_grants()
  sql([[create table a(); create table "B x"(); create sequence s; grant insert on a to group_a;
    create function f(x int, y text) returns int language sql as 'select 1']], '"app db"')
  local function grant(options)
    options.role, options.database = options.role or "group_a", "app db"
    return server.pg_grant(options)
  end
  converge(grant { on = "database", privileges = { "connect", "temp" } })
  converge(grant { on = "schema", privileges = { "usage" } })
  local made = grant { on = "tables", privileges = { "select" } }
  converge(made)
  lu.assertEquals(sql("select has_table_privilege('group_a', 'a', 'insert')", '"app db"'), "t\n")
  made = grant { on = "tables", privileges = { "select" }, exact = true, default_of = "app" }
  converge(made)
  lu.assertEquals(sql("select has_table_privilege('group_a', 'a', 'insert')", '"app db"'), "f\n")
  sql("grant create on schema public to app; set role app; create table later()", '"app db"')
  lu.assertEquals(sql("select has_table_privilege('group_a', 'later', 'select')", '"app db"'), "t\n")
  drift(made, 'grant delete on "B x" to group_a; revoke select on a from group_a', '"app db"')
  converge(grant { on = "sequences", names = { "s" }, privileges = { "all" }, grant_option = true })
  converge(grant { on = "functions", names = { "f(integer,text)" }, privileges = { "execute" } })
  converge(grant { role = "public", on = "functions", names = { "f" }, privileges = { "execute" }, state = "absent" })
  lu.assertEquals(sql("select has_function_privilege('pg_monitor', 'f(int,text)', 'execute')", '"app db"'), "f\n")
  -- what another grantor gave, only that one can take
  sql([[grant select on a, "B x" to app with grant option; set role app; grant select on a, "B x" to pg_monitor]],
    '"app db"')
  local given = grant { role = "pg_monitor", on = "tables", privileges = { "select" }, state = "absent" }
  lu.assertStrContains(converge(given), "(granted by app)")
  -- everybody may execute what is made later: by PostgreSQL's own default, in all schemas or in none
  local later = { role = "public", on = "functions", privileges = { "execute" }, default_of = "app", state = "absent" }
  lu.assertStrContains(refused_probe(grant(later)).message, "cannot be revoked for schema public alone")
  later.default_in = "database"
  converge(grant(later))
  local makes = [[set role app; create or replace function later_f() returns int language sql as 'select 1';
    select has_function_privilege('pg_monitor', 'later_f()', 'execute')]]
  lu.assertEquals(sql(makes, '"app db"'), "f\n")
  drift(grant(later), "alter default privileges for role app in schema public grant execute on routines to public",
    '"app db"')
  sql("drop function later_f()", '"app db"')
  lu.assertEquals(sql(makes, '"app db"'), "f\n")
  converge(grant { role = "public", on = "database", privileges = { "connect", "temp" }, state = "absent" })
  lu.assertStrContains(refused_probe(grant { on = "tables", names = { "aa" }, privileges = { "select" } }).message,
    'did you mean "a"')
  lu.assertStrContains(grant({ on = "schema", privileges = { "selct" } }).problems[1], "selct")
end

function T.test_06_settings()
  local made = server.pg_setting { name = "work_mem", value = "8MB" }
  converge(made)
  lu.assertEquals(sql "show work_mem", "8MB\n")
  drift(made, "alter system set work_mem = '9MB'; select pg_reload_conf()")
  same(server.pg_setting { name = "work_mem", value = "8192kB" })
  -- in the file, and not loaded
  sql "alter system set work_mem = '10MB'; select pg_reload_conf(); select pg_sleep(0.2)"
  sh "sed -i 's/10MB/8MB/' /var/lib/postgresql/*/main/postgresql.auto.conf"
  lu.assertStrContains(converge(made), "not loaded")
  converge(server.pg_setting { name = "work_mem", reset = true })
  lu.assertEquals(sql "show work_mem", "4MB\n")
  -- what the owner's own sessions have is not what the server has
  sql "alter role postgres set work_mem = '1MB'"
  converge(server.pg_setting { name = "work_mem", value = "1MB" })
  converge(made)
  sql "alter role postgres reset work_mem"
  same(made)
  sql "alter role postgres set work_mem = '1MB'; alter system set work_mem = '9MB'"
  lu.assertStrContains(converge(server.pg_setting { name = "work_mem", value = "9MB" }), "may not have loaded")
  sql "alter role postgres reset work_mem; alter system reset work_mem"
  lu.assertStrContains(converge(server.pg_setting { name = "work_mem", reset = true }), "not loaded")
  converge(server.pg_setting { name = "search_path", value = { "$user", "my schema", "public" } })
  lu.assertEquals(sql "show search_path", '"$user", "my schema", public\n')
  converge(server.pg_setting { name = "search_path", reset = true })
  local message = refused_probe(server.pg_setting { name = "wrok_mem", value = 1 }).message
  lu.assertStrContains(message, 'did you mean "work_mem"?')
  message = refused_probe(server.pg_setting { name = "work_mem", value = "8ms" }).message
  lu.assertStrContains(message, 'the unit "ms" is none of B, kB, MB, GB, TB')
  message = refused_probe(server.pg_setting { name = "max_connections", value = 0 }).message
  lu.assertStrContains(message, "it goes from 1 to 262143")
end

function T.test_07_a_pending_restart_is_told()
  local made = server.pg_setting { name = "max_connections", value = 77 }
  local _, _, done = converge(made)
  lu.assertStrContains(done, "counts after a restart")
  lu.assertTrue(target.restart_pending.max_connections)
  target.restart_pending = nil
  same(made)
  lu.assertTrue(target.restart_pending.max_connections)
  sh "systemctl restart postgresql"
  target.restart_pending = nil
  same(made)
  lu.assertNil(target.restart_pending)
  lu.assertEquals(sql "show max_connections", "77\n")
end

function T.test_08_access_entries()
  local path = sql("show hba_file"):match "[^\n]+"
  local original = node:pull(path)
  local function entries(...) return server.pg_hba { name = "application", entries = { ... } } end
  local made = entries { type = "hostssl", database = { "app db", "postgres" }, user = "app",
    address = "10.0.0.0/8", method = "scram-sha-256" }
  local _, changes = converge(made)
  lu.assertEquals(changes[1].before, original)
  local first = "select type, database, user_name, auth_method from pg_hba_file_rules order by line_number limit 1"
  lu.assertEquals(sql(first), 'hostssl|{"app db",postgres}|{app}|scram-sha-256\n')
  lu.assertEquals(sh("stat -c '%a %U' " .. path), "640 postgres\n")
  sh(("sed -i '/hostssl/s/10.0.0.0/11.0.0.0/' %s"):format(path))
  converge(made)
  -- written by hand and not loaded, also soon after a load; a file's time may be a clock's tick behind
  sql "select pg_reload_conf()"
  sh(("sleep 0.1; touch %s"):format(path))
  converge(made)
  local before = node:pull(path)
  local bad = refused(entries { type = "host", database = "all", user = "all", address = "a.example/33",
    method = "reject" })
  lu.assertStrContains(bad.message, "specifying both host name and CIDR mask is invalid")
  lu.assertEquals(node:pull(path), before)
  local locked = refused(entries { type = "local", database = "all", user = "all", method = "reject" })
  lu.assertStrContains(locked.message, "could not log in")
  lu.assertEquals(node:pull(path), before)
  lu.assertEquals(sql "select 1", "1\n")
  lu.assertStrContains(entries({ type = "host", database = "all", user = "all", address = "10.0.0.0/8",
    method = "trust" }).problems[1], "trust on 10.0.0.0/8")
  -- a wrong line elsewhere keeps the server from loading anything
  sh "sed -i '$anonsense' /etc/postgresql/*/main/postgresql.conf"
  local gone = server.pg_hba { name = "application", state = "absent" }
  lu.assertStrContains(refused(gone).message, "postgresql.conf:")
  lu.assertEquals(node:pull(path), before)
  lu.assertStrContains(refused(server.pg_setting { name = "work_mem", value = "6MB" }).message, "postgresql.conf:")
  sh "sed -i '/^nonsense/d' /etc/postgresql/*/main/postgresql.conf"
  converge(server.pg_setting { name = "work_mem", reset = true })
  converge(gone)
  lu.assertEquals(node:pull(path), original)
  lu.assertEquals(sh(("ls %s*"):format(path)), path .. "\n")
end

function T.test_09_a_standby_is_not_changed()
  sh [[
    bin=$(ls -d /usr/lib/postgresql/*/bin)
    runuser -u postgres -- sh -ec "
      cd /var/lib/postgresql
      $bin/pg_basebackup -D standby -R -c fast -h /var/run/postgresql
      : >standby/postgresql.conf
      echo local all all peer >standby/pg_hba.conf
      $bin/pg_ctl -D standby -l standby.log -w start -o '-p 5433 -c cluster_name=standby' >/dev/null"]]
  sql("select 1", nil, 5433)
  local options = { name = "new", port = 5433 }
  local raised = refused(server.pg_role(options))
  lu.assertStrContains(raised.message, "ask the primary")
  lu.assertEquals(sql "select count(*) from pg_roles where rolname = 'new'", "0\n")
  same(server.pg_role { name = "new", port = 5433, on_primary = true })
  converge(server.pg_role { name = "new", on_primary = true })
  -- settings and access are each server's own
  converge(server.pg_setting { name = "work_mem", value = "5MB", port = 5433 })
  lu.assertEquals(sql "show work_mem", "4MB\n")
end

function T.test_10_all_questions_are_one_round_trip()
  local known = facts.new(node, 5432)
  local resources = {
    server.pg_role { name = "app" }, server.pg_database { name = "app db" },
    server.pg_setting { name = "work_mem", value = "4MB" },
    server.pg_setting { name = "work_mem", value = "4MB", port = 5433 },
    server.pg_grant { role = "app", database = "app db", on = "schema", privileges = { "usage" } },
    server.pg_extension { name = "plpgsql", database = "app db" },
  }
  for _, made in ipairs(resources) do known:want(made.reads) end
  local run, asked = node.run, 0
  node.run = function(...)
    asked = asked + 1
    return run(...)
  end
  local snapshots = {}
  for i, made in ipairs(resources) do snapshots[i] = known:fetch(made.reads) end
  node.run = nil
  lu.assertEquals(asked, 1)
  for i, made in ipairs(resources) do
    for _, request in ipairs(made.reads) do lu.assertIsTable(snapshots[i].sql[request[2]]) end
  end
end

-- -------------------------------------------------------------------------------------------- pg_auto_failover

local USER = "pgafrun-pgres"

local INVENTORY = [[
return {
  environment = "lab", formation = "pgres-live", provider = { kind = "local", root = "%s/f" },
  monitor = { name = "monitor", port = 6760, address = "127.0.76.1" },
  nodes = {
    { name = "node-1", port = 6761, address = "127.0.76.2" }, { name = "node-2", port = 6762, address = "127.0.76.3" },
  },
  postgres = { source = "distribution", version = 15, wal_keep_size = "64MB" },
  application = { user = "app", database = "appdb", password = "changeme-DEV-ONLY", networks = { "127.0.0.1/32" } },
  operator_networks = { "127.0.0.1/32" },
}
]]

local folder

local function machine(script, env)
  local result = process.run { "sh", "-c", script, extend_env = env, timeout = 300 }
  return result.code, result.stdout .. result.stderr
end

local function remove_user()
  machine(([[
    id %s >/dev/null 2>&1 || exit 0
    tries=0
    while pkill -KILL -u %s && [ $tries -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
    userdel %s]]):format(USER, USER, USER))
end

local function make_place()
  remove_user()
  folder = fs.mkdtemp "pgafrun-pgres-"
  fs.write(folder .. "/inventory.lua", INVENTORY:format(folder))
  local code, output = machine(([[
    set -e
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin %s
    mkdir -p "$W/share/tests/live" "$W/state" "$W/tmp"
    cp "$PGAFRUN" "$W/pgafrun"; cp -r "$PGAFRUN_PATH/stdlib" "$PGAFRUN_PATH/scripts" "$W/share/"
    cp -r "$PGAFRUN_PATH/tests/live/lib" "$W/share/tests/live/"
    chown -R %s: "$W"; chmod 755 "$W"]]):format(USER, USER), { W = folder })
  lu.assertEquals(code, 0, output)
end

-- The play's exit code, its output, and the status of its items by "step target".
local function play(arguments, env)
  local code, output = machine(([[
    cd "$W/share"; exec setpriv --reuid %s --regid %s --clear-groups -- env -i PATH=/usr/local/bin:/usr/bin:/bin \
      LANG=C.UTF-8 HOME="$W" TMPDIR="$W/tmp" XDG_STATE_HOME="$W/state" PGAFRUN_PATH="$W/share" %s \
      REPORTING_PASSWORD=report-to-me-12345 "$W/pgafrun" -i "$W/inventory.lua" tests/live/lib/pg_resources_play.lua \
      --json %s]]):format(USER, USER, env or "", arguments or ""), { W = folder })
  local items = {}
  for line in output:gmatch "[^\n]+" do
    local ok, event = pcall(json.decode, line)
    if ok and event.step and event.node and event.status then
      items[event.step .. " " .. event.node] = event.status
    end
  end
  lu.assertNil(output:find("report-to-me", 1, true))
  return { code = code, items = items, output = output }
end

local function psql(name, port, statement)
  local code, output = machine(([[setpriv --reuid %s --regid %s --clear-groups \
    psql -XAtq -h %s/f/%s/run -p %d -d postgres -c "%s"]]):format(USER, USER, folder, name, port, statement))
  lu.assertEquals(code, 0, output)
  return output
end

local function names(items, status)
  local list = {}
  for name, one in pairs(items) do
    if one == status then list[#list + 1] = name end
  end
  table.sort(list)
  return table.concat(list, ", ")
end

local removing <close> = setmetatable({}, { -- luacheck: ignore 211
  __close = function()
    task.shield(60, function()
      remove_user()
      if folder then fs.remove_tree(folder) end
    end)
  end,
})

function T.test_11_a_formation_from_nothing_by_a_play_of_ones_own()
  make_place()
  local ran = play "--check"
  lu.assertEquals(ran.code, 2, ran.output)
  lu.assertEquals(ran.items["monitor monitor"], "deferred")
  ran = play()
  lu.assertEquals(ran.code, 0, ran.output)
  ran = play "--check --diff"
  lu.assertEquals(ran.code, 0, ran.output)
  lu.assertEquals(names(ran.items, "would"), "")
  lu.assertEquals(psql("node-1", 6761, "select pg_get_userbyid(datdba) from pg_database where datname = 'reports'"),
    "reporting\n")
end

function T.test_12_drift_in_the_formation_is_found_and_mended()
  psql("monitor", 6760, "alter system set pgautofailover.health_check_period = 777")
  psql("monitor", 6760, "select pg_reload_conf()")
  psql("node-1", 6761, "alter role reporting createdb")
  local ran = play "--check"
  lu.assertEquals(ran.code, 2, ran.output)
  lu.assertEquals(ran.items["role node-1"], "would")
  lu.assertEquals(ran.items["timers monitor"], "would")
  ran = play()
  lu.assertEquals(ran.code, 0, ran.output)
  lu.assertEquals(ran.items["role node-1"], "changed")
  lu.assertEquals(psql("monitor", 6760, "show pgautofailover.health_check_period"), "5s\n")
  lu.assertEquals(play("--check").code, 0)
end

local CHANGED = "DEMOTE=31000 PRIORITY=10"

function T.test_13_settings_and_timers_of_the_play()
  local ran = play(nil, CHANGED)
  lu.assertEquals(ran.code, 0, ran.output)
  lu.assertEquals(ran.items["formation monitor"], "changed")
  lu.assertEquals(psql("monitor", 6760, "show pgautofailover.primary_demote_timeout"), "31s\n")
  lu.assertEquals(play("--check", CHANGED).code, 0)
  -- what pg_auto_failover could not do safely is refused before anything is touched
  ran = play("--check", "DEMOTE=1")
  lu.assertEquals(ran.code, 1, ran.output)
  lu.assertStrContains(ran.output, "must be more than network_partition_timeout")
  lu.assertEquals(ran.items, {})
end

function T.test_14_settings_of_members()
  -- each server's own, also on a standby
  local ran = play(nil, CHANGED .. " SETTING=log_disconnections")
  lu.assertEquals(ran.code, 0, ran.output)
  lu.assertEquals(names(ran.items, "changed"), "setting node-1, setting node-2")
  for _, name in ipairs { "synchronous_standby_names", "ssl_min_protocol_version" } do
    ran = play("--check", CHANGED .. " SETTING=" .. name)
    lu.assertEquals(ran.code, 1, ran.output)
    lu.assertStrContains(ran.output, name .. " is not for ALTER SYSTEM")
  end
  lu.assertStrContains(ran.output, "node.conf sets it")
end

test.run("pg resources", T)

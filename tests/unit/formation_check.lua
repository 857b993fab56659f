-- What a look at a formation tells without changing it: differences with their before and after, what cannot be known
-- while the monitor is silent, and no secret.
local cluster = require "pgaf.autofailover.cluster"
local composite = require "pgaf.autofailover.composite"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local inventory = require "pgaf.inventory"
local json = require "pgafrun.json"
local member = require "pgaf.autofailover.member"
local passwords = require "pgaf.autofailover.passwords"
local pki = require "pgaf.autofailover.pki"
local pg = require "pgafrun.pg"
local registration = require "pgaf.autofailover.registration"
local resources = require "pgaf.resource"
local roles = require "pgaf.autofailover.roles"
local secret = require "pgaf.secret"
local settings = require "pgaf.autofailover.settings"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local TEXT = [[
return {
  environment = "lab", formation = "f", provider = { kind = "incus", image = "debian/12" },
  monitor = { name = "mon" }, nodes = { { name = "n1" }, { name = "n2" } },
  postgres = { version = 15, source = "distribution" },
  application = { user = "app", database = "appdb", password = "changeme-DEV-ONLY" },
}
]]

-- A provider whose nodes answer nothing and refuse to be changed; the monitor's view is `state`.
local function formation(state)
  local value = inventory.check(assert(load(TEXT, "@t.lua"))(), "t.lua", TEXT)
  local provider = { kind = "incus", system_user = "postgres" }
  function provider.can() return true end
  function provider.node(_, name)
    local function refuse() error.raise { kind = "test", message = "a look changes nothing" } end
    return {
      name = name, hostname = name .. ".lxd", address = function() return "10.1.0.1" end, run = refuse, push = refuse,
      paths = function()
        return {
          base = "/b", pg = "/b/pg", pgdata = "/b/pg/data", node_conf = "/b/pg/node.conf", hba = "/b/pg/pg_hba.conf",
          ca_crt = "/b/ca.crt", server_crt = "/b/server.crt", server_key = "/b/server.key", home = "/b/home",
          cfg = "/b/cfg", state = "/b/state", init = "/b/init",
        }
      end,
    }
  end
  local made = formations.open(provider, value)
  made.passwords = {
    monitor = secret.value "monitor-pw", replication = secret.value "replication-pw", probe = secret.value "probe-pw",
  }
  function made.state() return state end
  return made
end

local function assert_missing(message, f, ...)
  local ok, raised = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "missing") or error.is(raised, "postgres"), tostring(raised))
  lu.assertStrContains(raised.message, message)
end

-- A data node that is complete on disk.
local function node_facts(status)
  return {
    file = { ["/b/cfg"] = { mode = "0600" }, ["/b/state"] = { mode = "0600" }, ["/b/init"] = false },
    content = { ["/b/cfg"] = "[timeout]\nnetwork_partition_timeout = 7\n" },
    service = { status = { status = status } },
  }
end

local function row(name, fields)
  local made = { name = name, candidate_priority = 50, replication_quorum = true }
  for key, value in pairs(fields or {}) do made[key] = value end
  return made
end

function T.test_a_silent_monitor_has_not_dropped_anybody()
  local made = formation(false)
  local target = made.nodes[1]
  local resource = member.node(made)(target)
  assert_missing("whether n1 is registered is unknown", resource.probe, resource, target, node_facts "running")
  lu.assertEquals(resource:probe(target, node_facts "stopped"), "n1 is not running (stopped)")
  local facts = node_facts "stopped"
  facts.file = {}
  lu.assertEquals(resource:probe(target, facts), "n1 is not created")
  made = formation { nodes = { row "n2" } }
  resource = member.node(made)(target)
  lu.assertEquals(resource:probe(target, node_facts "running"), "n1 was dropped from the monitor")
  lu.assertEquals(resource:changes(target, node_facts "running"),
    { { what = "data node n1", before = "it was dropped from the monitor", after = "it is a member, and runs" } })
end

function T.test_what_nobody_has_looked_at_is_not_taken_for_missing()
  local made = formation(false)
  local target = made.nodes[1]
  local certificate = pki.server(made)(target)[1]
  local facts = {
    file = { ["/b/server.key"] = { mode = "0600" } }, content = { ["/b/server.crt"] = "pem", ["/b/ca.crt"] = "ca" },
  }
  assert_missing("was not looked at", certificate.probe, certificate, target, facts)
  made.authority = false
  lu.assertEquals(certificate:probe(target, facts), "another certificate authority")
  local data = cluster.offline(made)(target)
  facts = { content = { ["/b/pg/data/PG_VERSION"] = false } }
  assert_missing("was not looked at", data.probe, data, target, facts)
  made.from_nothing = false
  lu.assertNil(data:probe(target, facts))
  made.from_nothing = true
  lu.assertEquals(data:probe(target, facts), "no cluster")
end

function T.test_a_keeper_that_was_never_made_has_no_timer_to_tell()
  local made = formation(false)
  local target = made.nodes[1]
  local resource = member.keeper(made)(target)[1]
  assert_missing("there is no /b/cfg", resource.probe, resource, target,
    { content = { ["/b/cfg"] = false }, file = {} })
  lu.assertEquals(resource:probe(target, node_facts "running"), "network_partition_timeout is 7, not 20")
  lu.assertEquals(resource:changes(target, node_facts "running"),
    { { what = "network_partition_timeout", before = "7", after = "20" } })
end

function T.test_formation_settings_before_and_after()
  local made = formation(false)
  local resource = registration.settings(made)
  local function facts(state) return { sql = { formation = state } } end
  assert_missing("the monitor does not answer", resource.probe, resource, made.monitor, facts(false))
  local state = { nodes = { row "n1", row("n2", { candidate_priority = 40 }), row "other" }, number_sync_standbys = 1 }
  lu.assertEquals(resource:probe(made.monitor, facts(state)),
    "number_sync_standbys is 1, not 0; candidate_priority of n2 is 40, not 50")
  lu.assertEquals(resource:changes(made.monitor, facts(state)), {
    { what = "number_sync_standbys", before = "1", after = "0" },
    { what = "candidate_priority of n2", before = "40", after = "50" },
  })
  state = { nodes = { row "n1", row "n2" }, number_sync_standbys = 0 }
  lu.assertNil(resource:probe(made.monitor, facts(state)))
end

local function role(name, password, fields)
  local made = {
    super = false, login = true, makes = false, replication = false, password = pg.scram_verifier(password, name),
  }
  for key, value in pairs(fields or {}) do made[key] = value end
  return made
end

-- As a primary answers on which all is as it shall be.
local function primary()
  return {
    sql = {
      probe_schema = true,
      roles = {
        standby = false,
        roles = {
          pgautofailover_monitor = role("pgautofailover_monitor", "pgautofailover_monitor"),
          pgautofailover_replicator = role("pgautofailover_replicator", "replication-pw", { replication = true }),
          app = role("app", "changeme-DEV-ONLY"),
          pgaf_probe = role("pgaf_probe", "probe-pw", { member_of = { "pg_read_all_stats" } }),
        },
        database = { owner = "app", connect = { "app", "pgaf_probe", "pgautofailover_replicator" } },
      },
    },
  }
end

function T.test_roles_before_and_after_and_never_a_password()
  local made = formation { nodes = {}, dbname = "appdb" }
  local target = made.nodes[1]
  local resource = roles.on_primary(made)(target)
  local facts = primary()
  lu.assertNil(resource:probe(target, facts))
  local known = facts.sql.roles.roles
  known.pgaf_probe, known.app = nil, role("app", "another-password", { super = true })
  facts.sql.roles.database.connect = { "app", "-" }
  lu.assertEquals(resource:probe(target, facts), "role app has another password; role app has other rights; " ..
    "role pgaf_probe is missing; rights on database appdb")
  lu.assertEquals(resource:changes(target, facts), {
    { what = "role app: password", before = "another", after = "the kept one", secret = true },
    { what = "role app", before = "login superuser", after = "login" },
    { what = "role pgaf_probe", before = "missing", after = "login" },
    {
      what = "database appdb: connect", before = "everybody, app",
      after = "app, pgaf_probe, pgautofailover_replicator",
    },
  })
  facts = primary()
  facts.sql.roles.roles.pgaf_probe.member_of = json.null
  lu.assertEquals(resource:changes(target, facts), {
    { what = "role pgaf_probe: member of", before = "none", after = "pg_read_all_stats" },
  })
  facts.sql.roles.standby = true
  lu.assertNil(resource:probe(target, facts))
end

function T.test_a_server_that_does_not_answer_is_no_statement_about_its_roles()
  local made = formation { nodes = {}, dbname = "appdb" }
  local target = made.nodes[1]
  local resource = roles.on_primary(made)(target)
  assert_missing("does not answer", resource.probe, resource, target, { sql = { roles = false, probe_schema = false } })
end

function T.test_looking_at_passwords_makes_none_and_shows_none()
  local made = formation(false)
  made.passwords = nil
  local resource = passwords.kept(made)
  local facts = { content = { ["/b/home/probe_password"] = "kept-probe-pw\n" }, file = {
    ["/b/home/probe_password"] = { mode = "0644" },
  } }
  lu.assertEquals(resource:probe(made.monitor, facts), "to keep: the password of monitor, replication, probe")
  lu.assertNil(made.passwords.monitor)
  local changes = resource:changes(made.monitor, facts)
  lu.assertEquals(#changes, 3)
  for _, change in ipairs(changes) do
    lu.assertTrue(change.secret)
    lu.assertNotStrContains((change.before or "") .. change.after, "kept-probe-pw")
  end
  assert_missing("no password yet", made.password, made, "monitor")
end

-- A server that loaded its files at 1000.5; `changed`: when they were written.
local function server(fields, changed)
  local now = { loaded = 1000.5, overridden = nil }
  for key, value in pairs(fields) do now[key] = value end
  return { sql = { server = now }, sh = { ["files changed at"] = changed or false } }
end

function T.test_what_wins_over_node_conf()
  local made = formation(false)
  local target = made.monitor
  local resource = settings.in_force(made)(target)
  local stopped = { sql = { server = false }, content = { ["/b/pg/data/postgresql.auto.conf"] = false } }
  lu.assertNil(resource:probe(target, stopped))
  stopped.content["/b/pg/data/postgresql.auto.conf"] = "# Do not edit\nlog_statement = 'ddl'\nprimary_conninfo = 'x'\n"
  lu.assertEquals(resource:probe(target, stopped), "set again after node.conf: log_statement (by ALTER SYSTEM)")
  lu.assertEquals(resource:changes(target, stopped), { { what = "log_statement", before = "ddl", after = "none" } })
  lu.assertNil(resource:probe(target, server({}, "1001.0 /b/pg/pg_hba.conf\n")))
  local facts = server {
    overridden = {
      { name = "pgautofailover.primary_demote_timeout", now = "1234", wanted = "30000",
        file = "/b/pg/data/postgresql.auto.conf" },
      { name = "work_mem", now = "9MB", wanted = "4MB", file = "/b/pg/data/postgresql.conf" },
    },
  }
  lu.assertEquals(resource:probe(target, facts), "set again after node.conf: pgautofailover.primary_demote_timeout " ..
    "(by ALTER SYSTEM), work_mem (in /b/pg/data/postgresql.conf)")
  lu.assertEquals(resource:changes(target, facts), {
    { what = "pgautofailover.primary_demote_timeout", before = "1234", after = "30000" },
    { what = "work_mem", before = "9MB", after = "4MB" },
  })
  lu.assertEquals(resource:probe(target, server { refused = { "work_mem: invalid" } }),
    "refused by the server: work_mem: invalid")
end

function T.test_files_that_a_killed_run_has_not_loaded_count_as_changed()
  local target = formation(false).monitor
  local resource = settings.to_load(target, { "/b/pg/pg_hba.conf" })
  -- in the same second as it was loaded
  local facts = server({}, "1000.499999999 /b/pg/node.conf\n1002.0 /b/server.crt\n1000.600000000 /b/pg/pg_hba.conf\n")
  lu.assertEquals(resource:probe(target, facts), "the server has not loaded /b/pg/pg_hba.conf")
  lu.assertNil(resource:probe(target, server({}, "1002.0 /b/server.crt\n")))
  lu.assertNil(resource:probe(target, { sql = { server = false } }))
  lu.assertEquals(settings.loaded(target):probe(target, facts),
    "the server has not loaded /b/server.crt, /b/pg/pg_hba.conf")
  lu.assertNil(settings.loaded(target):probe(target, server({})))
end

-- ------------------------------------------------------------------------------------------------- as resources

local function probe_on_monitor(made, constructor, options, sql)
  options.formation = made
  local on = made.monitor
  on.facts = { fetch = function() return { sql = sql, file = {}, content = {}, sh = {} } end, want = function() end }
  local one = constructor(options)
  lu.assertNil(one.problems)
  return one:probe(on)
end

function T.test_settings_of_a_node_that_the_monitor_does_not_know()
  local state = { nodes = { row "n1" }, number_sync_standbys = 0 }
  local function probe(nodes)
    return probe_on_monitor(formation(state), resources.pgaf_formation, { nodes = nodes }, { formation = state })
  end
  assert_missing("knows no node of this name", probe, { n2 = { candidate_priority = 7 } })
  lu.assertNil(probe {})
  lu.assertEquals(probe { n1 = { candidate_priority = 7 } }, "candidate_priority of n1 is 50, not 7")
  lu.assertStrContains(resources.pgaf_formation({ formation = formation(state), nodes = { n3 = {} } }).problems[1],
    'no data node "n3", did you mean "n1"')
end

function T.test_no_change_is_begun_on_a_formation_that_is_not_whole()
  local state = { nodes = { row("n1", { candidate_priority = 7 }) }, number_sync_standbys = 0 }
  local made = formation(state)
  function made.wait() error.raise { kind = "timeout", message = "n2 was last heard of 180 s ago" } end
  local ok, raised = pcall(registration.settings(made).apply, nil, made.monitor, "", { sql = { formation = state } })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "timeout"), tostring(raised))
end

function T.test_what_two_parts_find_is_told_once()
  local function part() return { probe = function() return "the same" end } end
  local one = composite.new { parts = { part, part } }
  lu.assertEquals(one:probe { facts = { fetch = function() return {} end } }, "the same")
end

test.run("formation check", T)

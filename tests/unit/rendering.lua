-- What is written to nodes: access rules, settings, command lines, package sources. Passwords are in .pgpass alone.
local access = require "pgaf.autofailover.access"
local apt_source = require "pgaf.resources.apt_source"
local creation = require "pgaf.autofailover.creation"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local formations = require "pgaf.autofailover.formation"
local inventory = require "pgaf.inventory"
local openpgp = require "pgaf.openpgp"
local packages = require "pgaf.autofailover.packages"
local process = require "pgafrun.process"
local quote = require "pgaf.quote"
local roles = require "pgaf.autofailover.roles"
local secret = require "pgaf.secret"
local settings = require "pgaf.autofailover.settings"
local summary = require "pgaf.autofailover.summary"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local TEXT = [[
return {
  environment = "lab", formation = "f", provider = { kind = "incus", image = "debian/12" },
  monitor = { name = "mon" },
  nodes = { { name = "n1" }, { name = "n2", port = 5433, candidate_priority = 10, replication_quorum = true } },
  postgres = {
    version = 15, source = "distribution", settings = { max_connections = 50, log_line_prefix = "%m 'x' " },
  },
  application = { user = "app", database = "appdb", password = "changeme-DEV-ONLY", networks = { "10.9.0.0/16" } },
  operator_networks = { "10.8.0.0/24" },
}
]]

-- A provider without machines: addresses and paths are made up.
local function formation(text)
  text = text or TEXT
  local value = inventory.check(assert(load(text, "@t.lua"))(), "t.lua", text)
  local addresses = { mon = "10.1.0.1", n1 = "10.1.0.2", n2 = "10.1.0.3" }
  local provider = { kind = value.provider.kind, system_user = "postgres" }
  function provider.can() return true end
  function provider.node(_, name)
    return {
      name = name, hostname = name .. ".lxd", address = function() return addresses[name] end,
      paths = function()
        return {
          base = "/b", pg = "/b/pg", pgdata = "/b/pg/data", node_conf = "/b/pg/node.conf", hba = "/b/pg/pg_hba.conf",
          tls = "/b/tls", ca_crt = "/b/tls/ca.crt", server_crt = "/b/tls/server.crt", server_key = "/b/tls/server.key",
          home = "/b/home", pgpass = "/b/home/.pgpass", run = "/b/run", bindir = "/bin15",
        }
      end,
    }
  end
  local made = formations.open(provider, value)
  made.passwords = {
    monitor = secret.value "monitor:pass\\word", replication = secret.value "replication-pw",
    probe = secret.value "probe-password",
  }
  return made
end

-- Rules without blanks and comments: "kind database role source method".
local function rules(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do
    if not line:find("^#") then list[#list + 1] = line:gsub("%s+", " "):gsub(" $", "") end
  end
  return list
end

function T.test_hba_of_the_monitor()
  lu.assertEquals(rules(access.monitor_hba(formation())), {
    "local all postgres peer",
    "local pg_auto_failover autoctl_node peer map=pgafrun",
    "hostssl pg_auto_failover autoctl_node 10.1.0.2/32 scram-sha-256",
    "hostssl pg_auto_failover autoctl_node 10.1.0.3/32 scram-sha-256",
    "hostssl pg_auto_failover autoctl_node 10.8.0.0/24 scram-sha-256",
  })
  lu.assertEquals(rules(access.monitor_ident(formation())), { "pgafrun postgres autoctl_node" })
end

function T.test_hba_of_data_nodes()
  local text = access.node_hba(formation())
  lu.assertEquals(rules(text), {
    "local all postgres peer",
    "hostssl postgres pgautofailover_monitor 10.1.0.1/32 scram-sha-256",
    "hostssl replication,postgres,appdb pgautofailover_replicator 10.1.0.2/32 scram-sha-256",
    "hostssl replication,postgres,appdb pgautofailover_replicator 10.1.0.3/32 scram-sha-256",
    "hostssl appdb app 10.9.0.0/16 scram-sha-256",
    "hostssl appdb pgaf_probe 10.8.0.0/24 scram-sha-256",
  })
  lu.assertNotStrContains(text, "trust")
end

function T.test_local_nodes_all_come_from_one_address()
  local made = formation((TEXT:gsub('{ kind = "incus", image = "debian/12" }', '{ kind = "local" }')))
  local seen = {}
  for _, rule in ipairs(rules(access.node_hba(made))) do
    lu.assertNil(seen[rule], "twice: " .. rule)
    seen[rule] = true
  end
  lu.assertTrue(seen["hostssl replication,postgres,appdb pgautofailover_replicator 127.0.0.1/32 scram-sha-256"])
end

function T.test_pgpass_escapes_what_separates()
  lu.assertEquals(access.pgpass(formation()), [[
mon.lxd:5432:pg_auto_failover:autoctl_node:monitor\:pass\\word
*:*:*:pgautofailover_replicator:replication-pw
]])
end

local MEMORY = 2 * 1024 * 1024 * 1024

function T.test_memory_is_of_the_container_and_not_of_the_machine()
  local made = formation()
  local node = settings.values(made, made.nodes[1], MEMORY)
  lu.assertEquals({ node.shared_buffers, node.effective_cache_size }, { "512MB", "1433MB" })
  node = settings.values(made, made.nodes[1], nil)
  lu.assertEquals({ node.shared_buffers, node.effective_cache_size }, { "128MB", "512MB" })
  lu.assertEquals(settings.values(made, made.monitor, MEMORY).shared_buffers, "64MB")
  lu.assertEquals(settings.values(made, made.monitor, 128 * 1024 * 1024).shared_buffers, "32MB")
end

function T.test_memory_limit_of_both_kinds_of_cgroup()
  local function limit(two, one)
    return settings.memory_limit { content = {
      ["/sys/fs/cgroup/memory.max"] = two, ["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = one,
    } }
  end
  lu.assertEquals(limit("536870912\n", false), 536870912)
  lu.assertEquals(limit(false, "536870912\n"), 536870912)
  lu.assertNil(limit("max\n", false))
  lu.assertNil(limit(false, "9223372036854771712\n"))
  lu.assertNil(limit(false, false))
end

function T.test_node_conf()
  local made = formation()
  local node = settings.render(settings.values(made, made.nodes[1], MEMORY))
  for _, line in ipairs {
    "hba_file = '/b/pg/pg_hba.conf'", "ident_file = '/b/pg/pg_ident.conf'", "wal_retrieve_retry_interval = '200ms'",
    "max_slot_wal_keep_size = '1GB'", "log_statement = 'none'", "password_encryption = 'scram-sha-256'",
    "max_connections = 50", "log_line_prefix = '%m ''x'' '", "ssl_key_file = '/b/tls/server.key'",
  } do lu.assertStrContains(node, "\n" .. line .. "\n") end
  lu.assertNotStrContains(node, "pgautofailover.")
  local monitor = settings.render(settings.values(made, made.monitor, MEMORY))
  lu.assertStrContains(monitor, "\npgautofailover.primary_demote_timeout = 30000\n")
  lu.assertStrContains(monitor, "\npgautofailover.health_check_max_retries = 2\n")
  lu.assertNotStrContains(monitor, "network_partition_timeout")
  lu.assertNotStrContains(monitor, "max_connections")
  lu.assertNotStrContains(monitor, "wal_keep_size")
end

function T.test_values_in_configuration_files()
  lu.assertEquals(quote.conf(true), "on")
  lu.assertEquals(quote.conf(5), "5")
  lu.assertEquals(quote.conf(0.5), "0.5")
  lu.assertEquals(quote.conf(4.0), "4")
  lu.assertEquals(quote.conf("it's \\"), "'it''s \\\\'")
end

function T.test_words_for_the_shell()
  lu.assertEquals(quote.sh("/a/b-c_1.2"), "/a/b-c_1.2")
  lu.assertEquals(quote.sh("it's $(x)"), "'it'\\''s $(x)'")
  lu.assertEquals(quote.sh(""), "''")
end

-- Options as a table; a password anywhere fails the test.
local function options_of(list)
  local options = {}
  for i = 4, #list - 1 do
    if list[i]:find("^%-%-") then options[list[i]] = list[i + 1] end
  end
  local text = table.concat(list, " ")
  for _, word in ipairs { "pass\\word", "replication-pw", "changeme", "probe-password" } do
    lu.assertNotStrContains(text, word)
  end
  return options, text
end

function T.test_create_commands_hold_no_password()
  local made = formation()
  local monitor = options_of(creation.monitor(made.monitor))
  lu.assertEquals(monitor["--hostname"], "mon.lxd")
  lu.assertEquals(monitor["--ssl-mode"], "verify-full")
  local node, text = options_of(creation.node(made, made.nodes[2]))
  lu.assertEquals(node["--name"], "n2")
  lu.assertEquals(node["--pgport"], "5433")
  lu.assertEquals(node["--candidate-priority"], "10")
  lu.assertEquals(node["--replication-quorum"], "true")
  lu.assertEquals(node["--listen"], "*")
  lu.assertEquals(node["--dbname"], "appdb")
  lu.assertEquals(node["--monitor"],
    "postgres://autoctl_node@mon.lxd:5432/pg_auto_failover?sslmode=verify-full&sslrootcert=/b/tls/ca.crt")
  lu.assertStrContains(text, "--skip-pg-hba")
  lu.assertNotStrContains(text, "--username")
  lu.assertNotStrContains(text, "--auth")
end

function T.test_roles_are_no_superusers_and_their_passwords_verifiers()
  local parts = roles.offline(formation(), "node")
  lu.assertEquals({ parts[1].database, parts[2].database }, { "postgres", "appdb" })
  local text = table.concat(parts[1].statements, "\n")
  lu.assertStrContains(text, [[create role "app" login password 'SCRAM-SHA-256$4096:]])
  lu.assertStrContains(text, [[create role "pgautofailover_replicator" login replication password 'SCRAM-SHA-256$]])
  lu.assertStrContains(text, 'create database "appdb" owner "app"')
  lu.assertStrContains(text, 'revoke connect on database "appdb" from public')
  lu.assertNotStrContains(text:lower(), "superuser")
  for _, word in ipairs { "changeme-DEV-ONLY", "replication-pw", "probe-password" } do
    lu.assertNotStrContains(text, word)
  end
  for _, statement in ipairs(parts[1].statements) do lu.assertNotStrContains(statement, "\n") end
end

function T.test_uri_for_applications()
  lu.assertEquals(summary.uri(formation()), "postgresql://app@n1.lxd:5432,n2.lxd:5433/appdb?target_session_attrs=" ..
    "read-write&sslmode=verify-full&sslrootcert=ca.crt&connect_timeout=2")
end

function T.test_pgdg_as_a_deb822_source_signed_by_its_own_key()
  local text = TEXT:gsub('source = "distribution"', 'source = "pgdg"')
  local postgres = formation(text).inventory.postgres
  lu.assertEquals(apt_source.render(packages.pgdg(postgres), "jammy"), [[
Types: deb
URIs: https://apt.postgresql.org/pub/repos/apt
Suites: jammy-pgdg
Components: main
Signed-By: /etc/apt/keyrings/pgdg.asc
]])
  lu.assertEquals(packages.pgdg(postgres).fingerprint, "B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8")
  lu.assertEquals(packages.names(postgres)[1], "postgresql-15-auto-failover")
end

-- A node that answers like one with coreutils, and whose downloader fails.
local function apt_target()
  local pushed = {}
  local node = {}
  function node.run(_, script, options)
    if script:find("apt-helper", 1, true) then
      error.raise { kind = "command", message = "apt-helper ended with status 100" }
    end
    if script:find("sha1sum", 1, true) then
      return process.run { "sh", "-c", script, stdin = options.stdin }
    end
    return { stdout = "", code = 0 }
  end
  function node.push(_, path, content)
    pushed[path] = content
    return true
  end
  return { name = "n1", node = node }, pushed
end

-- A key made with gpg for this test and thrown away; gpg says that this is its fingerprint.
local FINGERPRINT = "5E5E7E2A7298D8F11F9144D0219A25EE6CE031FA"
local KEY = [[
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawNZWxYJKwYBBAHaRw8BAQdA0amUPVY0opICgIcIxaHeTICz/i7CY0wmqE8N
b5JK+x60BXNtYWxsiJAEExYIADgWIQReXn4qcpjY8R+RRNAhmiXubOAx+gUCawNZ
WwIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRAhmiXubOAx+sLYAP4hYj8c
yOsdkoXTP36JygxLHbJbtSQdf8EOpTeqJjkb3gEAp4R3vtZvCIPrWhDl5CfE7zNL
jNQUEWF7QKPkVNhZRAI=
=63tp
-----END PGP PUBLIC KEY BLOCK-----
]]

function T.test_primary_keys_of_a_key_file()
  local keys = openpgp.primary_keys(KEY)
  lu.assertEquals(#keys, 1)
  lu.assertEquals({ keys[1]:byte(1, 3) }, { 0x99, 0, 51 })
  lu.assertFalse((pcall(openpgp.primary_keys, "this is no key")))
  lu.assertFalse((pcall(openpgp.primary_keys, "")))
  lu.assertFalse((pcall(openpgp.primary_keys, KEY:sub(1, 100))))
end

local function source_with(key, fingerprint)
  return apt_source {
    name = "pgdg", url = "https://apt.example/apt", suffix = "-pgdg", components = { "main" }, key = key,
    fingerprint = fingerprint,
  }
end

local PGDG = "B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8"

-- Applies a source whose key is in a file; what was pushed, or the error.
local function apply(fingerprint)
  local folder = fs.mkdtemp "pgafrun-key-"
  fs.write(folder .. "/key.asc", KEY)
  local target, pushed = apt_target()
  local facts = { content = {}, file = {}, sh = { codename = "jammy" } }
  local resource = source_with(folder .. "/key.asc", fingerprint)
  -- it is refused where it is only looked at, and would be before it is written
  local fine, difference = pcall(resource.probe, resource, target, facts)
  if fine then lu.assertStrContains(difference, "no key") end
  local ok, raised = pcall(resource.apply, resource, target, "", facts)
  lu.assertEquals(fine, ok)
  fs.remove_tree(folder)
  return ok, ok and pushed or raised, pushed
end

function T.test_the_key_of_the_right_fingerprint_is_used()
  local ok, pushed = apply(FINGERPRINT:lower())
  lu.assertTrue(ok)
  lu.assertEquals(pushed["/etc/apt/keyrings/pgdg.asc"], KEY)
  lu.assertStrContains(pushed["/etc/apt/sources.list.d/pgdg.sources"], "Suites: jammy-pgdg")
end

function T.test_another_key_is_not_used()
  local ok, raised, pushed = apply(PGDG)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "untrusted"))
  lu.assertStrContains(raised.message, ("has fingerprint %s, not %s: not used"):format(FINGERPRINT, PGDG))
  lu.assertNil(next(pushed))
end

function T.test_a_key_that_cannot_be_fetched_tells_the_way_without_network()
  local target = apt_target()
  local resource = source_with("https://nowhere.example/key.asc", PGDG)
  local ok, raised = pcall(resource.apply, resource, target, "",
    { content = {}, file = {}, sh = { codename = "jammy" } })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "network"))
  lu.assertStrContains(raised.message, "n1 cannot fetch the signing key https://nowhere.example/key.asc")
  lu.assertStrContains(raised.hint, "postgres.pgdg.key")
end

test.run("rendering", T)

-- Inventories: what is filled in, and how each kind of mistake is told.
local error = require "pgafrun.error"
local explain = require "pgaf.inventory.explain"
local inventory = require "pgaf.inventory"
local passwords = require "pgaf.autofailover.passwords"
local secret = require "pgaf.secret"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local BASE = [[
return {
  environment = "lab",
  formation = "pgaf-t",
  provider = { kind = "local" },
  monitor = { name = "t-monitor", port = 6400 },
  nodes = {
    { name = "t-1", port = 6401 },
    { name = "t-2", port = 6402 },
  },
  application = { password = "changeme-DEV-ONLY" },
}
]]

local function check(text)
  return inventory.check(assert(load(text, "@t.lua"))(), "t.lua", text)
end

-- The message of the refusal of BASE after a change.
local function refusal(from, to)
  local start, stop = BASE:find(from, 1, true)
  local text = BASE:sub(1, start - 1) .. to .. BASE:sub(stop + 1)
  local ok, raised = pcall(check, text)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "inventory"))
  return raised.message, raised
end

function T.test_defaults_are_filled_in()
  local value = check(BASE)
  lu.assertEquals(value.domain, "lxd")
  lu.assertEquals(value.postgres.version, 16)
  lu.assertEquals(value.postgres.wal_retrieve_retry_interval, "200ms")
  lu.assertEquals(value.timers.primary_demote_timeout, 30000)
  lu.assertEquals(value.nodes[2].candidate_priority, 50)
  lu.assertEquals(value.nodes[2].replication_quorum, true)
  lu.assertEquals(value.formation_settings.number_sync_standbys, 0)
  lu.assertEquals(value.formation_id, "default")
end

function T.test_three_nodes_wait_for_one_standby_as_pg_auto_failover_does_by_itself()
  local value = check((BASE:gsub("6402 },", "6402 }, { name = 't-3' },")))
  lu.assertEquals(value.formation_settings.number_sync_standbys, 1)
end

function T.test_misspelt_key_tells_key_file_line_suggestion_and_what_is_allowed()
  local message = refusal('{ name = "t-2", port = 6402 }', '{ name = "t-2",\n      candidate_prioritty = 10 }')
  lu.assertStrContains(message, "t.lua:9: nodes[2].candidate_prioritty: ")
  lu.assertStrContains(message, 'did you mean "candidate_priority"?')
  lu.assertStrContains(message, "allowed here: address, candidate_priority, image,")
end

function T.test_misspelt_key_at_the_top()
  local message = refusal('formation = "pgaf-t"', 'formaton = "pgaf-t"')
  lu.assertStrContains(message, 't.lua:3: formaton: there is no such key, did you mean "formation"?')
  lu.assertStrContains(message, "formation: is missing")
end

function T.test_wrong_types()
  lu.assertStrContains(refusal("port = 6401", 'port = "6401"'),
    't.lua:7: nodes[1].port: wants a whole number from 1 to 65535, not "6401"')
  lu.assertStrContains(refusal("port = 6401", "port = 70000"), "not 70000")
  lu.assertStrContains(refusal('environment = "lab"', "environment = true"),
    't.lua:2: environment: wants "lab" or "staging" or "production", not true')
  lu.assertStrContains(refusal('kind = "local"', 'kind = "incsu"'), 'did you mean "incus"?')
  lu.assertStrContains(refusal('{ name = "t-2", port = 6402 },', '"t-2",'), "nodes[2]: wants a table")
  lu.assertStrContains(refusal('name = "t-1"', 'name = "T_1"'), "nodes[1].name: wants a host name")
  lu.assertStrContains(refusal('name = "t-1"', 'nome = "t-1"'), "nodes[1].name: is missing")
end

function T.test_all_mistakes_are_told_at_once_in_the_order_of_the_file()
  local message, raised = refusal('environment = "lab"', 'environment = "lba", domian = "x", timers = { healt = 1 }')
  lu.assertEquals(#raised.problems, 4)
  lu.assertStrContains(message, "4 mistakes in the inventory:")
end

function T.test_keys_that_are_no_names_are_told()
  for _, place in ipairs { "monitor", "nodes", "timers", "limits" } do
    local changed = place == "limits" and "monitor = { name = 'm', limits = { [1.5] = 1 } }" or
      ("%s = { [1.5] = 1 }"):format(place)
    lu.assertStrContains(refusal("application", changed .. ",\n  application"), "1.5: ")
  end
end

function T.test_a_number_is_finite()
  for _, number in ipairs { "0/0", "1/0" } do
    local message = refusal('provider = { kind = "local" }', ('provider = { kind = "incus", ready_timeout = %s }')
      :format(number))
    lu.assertStrContains(message, "provider.ready_timeout: wants a number of seconds")
  end
  local value = check((BASE:gsub("application", "vars = { a = 1/0, b = 0/0, c = -1/0 },\n  application")))
  lu.assertEquals(explain.masked(value.vars["t-1"]), { a = ".inf", b = ".nan", c = "-.inf" })
end

function T.test_wrong_variant_key_is_allowed_only_where_it_belongs()
  local message = refusal('{ kind = "local" }', '{ kind = "local", image = "x" }')
  lu.assertStrContains(message, "provider.image: there is no such key")
end

function T.test_one_node_is_no_formation()
  lu.assertStrContains(refusal('{ name = "t-2", port = 6402 },', ""), "nodes: wants at least 2, has 1")
end

function T.test_number_sync_standbys_without_enough_standbys()
  local message = refusal("application", "formation_settings = { number_sync_standbys = 1 },\n  application")
  lu.assertStrContains(message, "t.lua:10: formation_settings.number_sync_standbys: 1 cannot be kept")
  lu.assertStrContains(message, "at least 2 standbys")
  lu.assertStrContains(message, "which leaves 1. Write 0")
end

function T.test_a_node_outside_the_quorum_does_not_count()
  local three = BASE:gsub("6402 },", "6402 }, { name = 't-3', replication_quorum = false },")
  local one = three:gsub("application", "formation_settings = { number_sync_standbys = 1 }, application")
  local ok, raised = pcall(check, one)
  lu.assertFalse(ok)
  lu.assertStrContains(raised.message, "of the 3 data nodes 2 are in the quorum")
  lu.assertEquals(check(three).formation_settings.number_sync_standbys, 0)
end

function T.test_demote_timeout_must_outlast_the_network_partition_timeout()
  local message = refusal("application",
    "timers = { primary_demote_timeout = 7000, network_partition_timeout = 5 },\n  application")
  lu.assertStrContains(message, "7000 ms must be more than network_partition_timeout + 2 s = 5 s + 2 s = 7000 ms")
  lu.assertStrContains(message, "Write 7001 or more")
  local fine = BASE:gsub("application",
    "timers = { primary_demote_timeout = 7001, network_partition_timeout = 5 },\n application")
  lu.assertEquals(check(fine).timers.primary_demote_timeout, 7001)
end

function T.test_placeholder_and_literal_passwords_are_for_the_lab()
  local message = refusal('environment = "lab"', 'environment = "production"')
  lu.assertStrContains(message, 'application.password: is the placeholder "changeme-DEV-ONLY"')
  local text = BASE:gsub("changeme%-DEV%-ONLY", "hunter2"):gsub('"lab"', '"staging"')
  local ok, raised = pcall(check, text)
  lu.assertFalse(ok)
  lu.assertStrContains(raised.message, "is written in clear")
  lu.assertNotStrContains(raised.message, "hunter2")
end

function T.test_secrets_that_cannot_be_had_are_told_all_at_once_with_key_and_line()
  local text = BASE:gsub('"changeme%-DEV%-ONLY"', 'secret.value "not\tprintable"'):gsub("\n}\n", [[

  monitor_password = secret.env "PGAFRUN_TEST_UNSET",
  replication_password = secret.file "/nonexistent/password",
}
]])
  local value = inventory.check(assert(load(text, "@t.lua", "t", { secret = secret }))(), "t.lua", text)
  local ok, raised = pcall(passwords.check, value)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "inventory"), tostring(raised))
  lu.assertStrContains(raised.message, "3 mistakes in the inventory:")
  lu.assertStrContains(raised.message, "t.lua:10: application.password: (from value) has characters beyond")
  lu.assertStrContains(raised.message, "t.lua:11: monitor_password: cannot be read (from environment variable PGAFRUN_")
  lu.assertStrContains(raised.message, "t.lua:12: replication_password: cannot be read (from file /nonexistent/pass")
  lu.assertStrContains(raised.message, "no such file")
  passwords.check(check(BASE))
end

function T.test_names_are_unique_and_reserved_ones_refused()
  lu.assertStrContains(refusal('"t-2"', '"t-monitor"'), 'nodes[2].name: "t-monitor" is taken by monitor.name')
  lu.assertStrContains(refusal("password =", 'user = "autoctl_node", password ='), "application.user:")
  lu.assertStrContains(refusal("password =", 'database = "postgres", password ='), "application.database:")
end

function T.test_settings_of_the_tool_are_refused()
  local message = refusal("application", "postgres = { settings = { hba_file = '/x' } },\n  application")
  lu.assertStrContains(message, "t.lua:10: postgres.settings.hba_file: is not for here")
end

function T.test_an_inventory_that_is_no_table_or_no_lua()
  local path = os.tmpname()
  local function load_text(text)
    local file <close> = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    local ok, raised = pcall(inventory.load, path)
    lu.assertFalse(ok)
    return raised
  end
  lu.assertStrContains(load_text("return 5").message, "returned number")
  lu.assertStrContains(load_text("return {").message, path:match("[^/]+$") .. ":1: ")
  os.remove(path)
  local ok, raised = pcall(inventory.load, "/nonexistent/inventory.lua")
  lu.assertFalse(ok)
  lu.assertStrContains(raised.message, "/nonexistent/inventory.lua")
end

function T.test_the_inventories_that_come_with_pgafrun_are_right()
  local program = require "pgafrun.program"
  for _, name in ipairs { "lab", "local", "example" } do
    local value = inventory.load(("%s/scripts/inventory/%s.lua"):format(program.roots[1], name))
    lu.assertTrue(#value.nodes >= 2)
  end
end

test.run("inventory", T)

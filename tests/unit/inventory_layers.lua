-- Inventories that build on each other, groups, variables and -e: what wins, and where mistakes are told.
local error = require "pgafrun.error"
local explain = require "pgaf.inventory.explain"
local fs = require "pgafrun.fs"
local inventory = require "pgaf.inventory"
local json = require "pgafrun.json"
local program = require "pgafrun.program"
local secret = require "pgaf.secret"
local test = require "pgaf.test"
local variables = require "pgaf.inventory.variables"

local lu = test.lu

local T = {}
local directory

local COMMON = [[
return {
  formation = "t",
  provider = { kind = "local" },
  monitor = { name = "mon", port = 6400 },
  nodes = {
    { name = "a", port = 6401, vars = { own = "a's" } },
    { name = "b", port = 6402 },
    { name = "c", port = 6403, replication_quorum = false },
  },
  timers = { health_check_period = 1000, health_check_timeout = 2000 },
  operator_networks = { "10.0.0.0/8", "127.0.0.1/32" },
  application = { password = "changeme-DEV-ONLY" },
  vars = { release = 1, word = "all" },
  groups = {
    east = { hosts = { "a", "b" }, vars = { word = "east", zone = 1 }, node = { candidate_priority = 80 } },
    west = { hosts = { "b", "c" }, vars = { word = "west" } },
    both = { children = { "east", "west" }, vars = { word = "both", wide = true, own = "group's" } },
  },
}
]]

function T.setUp()
  directory = fs.mkdtemp "inventory-test-"
  fs.write(directory .. "/common.lua", COMMON)
end
function T.tearDown() fs.remove_tree(directory) end

local function write(name, text)
  fs.write(directory .. "/" .. name, text)
  return directory .. "/" .. name
end

local function extended(changes, options)
  local text = 'local inventory = require "pgaf.inventory"\nreturn inventory.extend("common.lua", ' .. changes .. ")\n"
  return inventory.load(write("top.lua", text), options)
end

local function refusal(changes, options)
  local ok, e = pcall(extended, changes, options)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "inventory") or error.is(e, "usage"), tostring(e))
  return e.message:gsub(directory:gsub("%p", "%%%0") .. "/", ""), e
end

local function from(list, key)
  for _, one in ipairs(list) do
    if one.key == key then return one.from:gsub(directory:gsub("%p", "%%%0") .. "/", "") .. "", one.value end
  end
end

function T.test_maps_are_merged_lists_and_values_replaced()
  local value = extended [[{
    environment = "lab",
    timers = { health_check_period = 500 },
    operator_networks = { "192.168.0.0/16" },
  }]]
  lu.assertEquals(value.timers.health_check_period, 500)
  lu.assertEquals(value.timers.health_check_timeout, 2000)
  lu.assertEquals(value.operator_networks, { "192.168.0.0/16" })
  lu.assertEquals(#value.nodes, 3)
  lu.assertEquals(from(explain.formation(value), "timers.health_check_period"), "top.lua:4")
  lu.assertEquals(from(explain.formation(value), "timers.health_check_timeout"), "common.lua:10")
  lu.assertEquals(from(explain.formation(value), "timers.primary_demote_timeout"), "default")
  lu.assertEquals(#explain.files(value), 2)
end

function T.test_an_empty_list_replaces_a_list()
  lu.assertEquals(extended('{ environment = "lab", operator_networks = {} }').operator_networks, {})
end

function T.test_three_files_and_a_folder()
  fs.mkdir(directory .. "/env")
  write("middle.lua", 'return require("pgaf.inventory").extend("common.lua", { environment = "lab", formation = "m" })')
  local top = write("env/top.lua", [[
local base = require("pgaf.inventory").extend("../middle.lua", { domain = "x.org" })
return base]])
  local value = inventory.load(top)
  lu.assertEquals({ value.environment, value.formation, value.domain }, { "lab", "m", "x.org" })
  lu.assertEquals(value.file, top)
end

function T.test_a_mistake_is_told_where_it_was_written()
  write("common.lua", (COMMON:gsub('"127.0.0.1/32"', '"127.0.0.1"')))
  local message, e = refusal [[{
    environment = "lba",
    timers = { health_chek = 500 },
  }]]
  lu.assertStrContains(message, "common.lua:11: operator_networks[2]: wants a network")
  lu.assertStrContains(message, 'top.lua:3: environment: did you mean "lab"?')
  lu.assertStrContains(message, "top.lua:4: timers.health_chek: there is no such key")
  lu.assertEquals(#e.problems, 4)
end

function T.test_files_that_build_on_each_other_or_are_not_there()
  write("common.lua", 'return require("pgaf.inventory").extend("top.lua", {})')
  lu.assertStrContains(refusal "{}", "common.lua:1: the files build on each other: ")
  fs.remove(directory .. "/common.lua")
  lu.assertStrContains(refusal "{}", "top.lua:2: it builds on common.lua, which cannot be read")
  lu.assertErrorMsgContains("belongs into an inventory file", inventory.extend, "x.lua", {})
end

function T.test_groups()
  local groups = extended('{ environment = "lab" }').groups
  lu.assertEquals(groups, {
    all = { "mon", "a", "b", "c" }, monitor = { "mon" }, data = { "a", "b", "c" }, quorum = { "a", "b" },
    east = { "a", "b" }, west = { "b", "c" }, both = { "a", "b", "c" },
  })
end

function T.test_variables_from_all_to_groups_to_the_node()
  local value = extended('{ environment = "lab" }')
  lu.assertEquals(value.vars.mon, { release = 1, word = "all" })
  lu.assertEquals(value.vars.a, { release = 1, word = "east", zone = 1, wide = true, own = "a's" })
  lu.assertEquals(value.vars.b, { release = 1, word = "west", zone = 1, wide = true, own = "group's" })
  lu.assertEquals(value.nodes[3].vars.word, "west")
  local host = explain.host(value, "a")
  lu.assertEquals(from(host.vars, "word"), "group east (common.lua:15)")
  lu.assertEquals(host.groups, { "both", "data", "east" })
  lu.assertEquals(#host.vars[#host.vars - 2].overrides, 0)
end

function T.test_a_node_looks_at_its_own_sources_alone()
  local hosts, sources, asked = {}, {}, 0
  for i = 1, 50 do
    hosts[i] = "n" .. i
    local set = setmetatable({ ["n" .. i] = true }, { __index = function() asked = asked + 1 end })
    sources[i] = { from = "x", rank = 1, hosts = set, vars = { v = i }, place = function() return "f", i end }
  end
  local resolved = variables.resolve(hosts, sources)
  lu.assertEquals(resolved.n7.v.value, 7)
  lu.assertEquals(asked, 0)
end

function T.test_priority_decides_between_groups_of_one_depth()
  local value = extended [[{ environment = "lab", groups = { east = { priority = 5 } } }]]
  lu.assertEquals(value.vars.b.word, "east")
end

-- Walking every way through them would take 2^40 steps; the depth of 151 used to lose the members.
function T.test_groups_that_are_in_many_groups_and_deep_ones()
  local value = extended [[(function()
    local groups = {}
    for i = 0, 40 do
      for _, side in ipairs { "a", "b" } do
        groups[("l%02d%s"):format(i, side)] = i < 40 and
          { children = { ("l%02da"):format(i + 1), ("l%02db"):format(i + 1) } } or { hosts = { side } }
      end
    end
    for i = 1, 150 do groups["d" .. i] = { children = { "d" .. i + 1 }, vars = { deepest = i } } end
    groups.d151 = { hosts = { "a" } }
    return { environment = "lab", groups = groups }
  end)()]]
  lu.assertEquals(value.groups.l00a, { "a", "b" })
  lu.assertEquals(value.groups.d1, { "a" })
  lu.assertEquals(value.vars.a.deepest, 150)
  lu.assertStrContains(table.concat(explain.graph(value), "\n"), "as above")
end

function T.test_groups_lend_keys_to_nodes_that_have_none()
  local value = extended [[{
    environment = "lab", groups = { all = { node = { limits = { cpu = 2 }, port = 7000 } } },
  }]]
  lu.assertEquals(value.nodes[1].candidate_priority, 80)
  lu.assertEquals(value.nodes[3].candidate_priority, 50)
  lu.assertEquals(value.monitor.limits.cpu, 2)
  lu.assertEquals(value.nodes[1].port, 6401)
  lu.assertEquals(from(explain.host(value, "a").keys, "candidate_priority"), "group east (common.lua:15)")
  lu.assertEquals(from(explain.host(value, "a").keys, "limits.cpu"), "group all (top.lua:3)")
end

function T.test_mistakes_in_groups_are_told_together()
  local message = refusal [[{
    environment = "lab",
    groups = {
      east = { hosts = { "a", "bb" } },
      north = { children = { "wset" } },
      a = { hosts = {} },
      data = { hosts = { "a" } },
      quorum = {},
      loop = { children = { "pool" } },
      pool = { children = { "loop" } },
      west = { nodes = {}, vars = { ["a-b"] = 1, f = print } },
      all = { node = { candidate_priority = 101 } },
    },
  }]]
  lu.assertStrContains(message, 'top.lua:5: groups.east.hosts[2]: there is no node "bb"')
  lu.assertStrContains(message, 'top.lua:6: groups.north.children[1]: there is no group "wset", did you mean "west"?')
  lu.assertStrContains(message, "top.lua:7: groups.a: a node has this name")
  lu.assertStrContains(message, 'top.lua:8: groups.data: the group "data" is the data nodes by itself')
  lu.assertStrContains(message, "top.lua:9: groups.quorum: is made of the nodes with replication_quorum")
  lu.assertStrContains(message, "the groups hold each other: loop, pool, loop")
  lu.assertStrContains(message, "top.lua:12: groups.west.nodes: there is no such key")
  lu.assertStrContains(message, "top.lua:12: groups.west.vars.a-b: wants a variable's name")
  lu.assertStrContains(message, "top.lua:12: groups.west.vars.f: wants a text, a number")
  lu.assertStrContains(message, "top.lua:13: groups.all.node.candidate_priority: wants a whole number from 0 to 100")
end

function T.test_extra_variables_win()
  write("extra.yml", "postgres:\n  version: 14\nword: file\n")
  local value = extended('{ environment = "lab", postgres = { version = 15, wal_keep_size = "1GB" } }', {
    extra = {
      "postgres.version=13 release=7", "@" .. directory .. "/extra.yml", "nodes.b.port=6999", '{"zone": [1, 2]}',
      "text=a: b", "quoted='12'", "yes=true",
    },
  })
  lu.assertEquals(value.postgres.version, 14)
  lu.assertEquals(value.postgres.wal_keep_size, "1GB")
  lu.assertEquals({ value.nodes[1].port, value.nodes[2].port }, { 6401, 6999 })
  lu.assertEquals(value.vars.a.word, "file")
  lu.assertEquals(value.vars.mon.release, 7)
  local vars = value.vars.a
  lu.assertEquals({ vars.zone[2], vars.text, vars.quoted, vars.yes }, { 2, "a: b", "12", true })
  lu.assertEquals(from(explain.formation(value), "postgres.version"), "extra.yml:2")
  lu.assertEquals(from(explain.host(value, "b").keys, "port"), "-e")
  lu.assertEquals(from(explain.host(value, "a").keys, "port"), "common.lua:6")
  lu.assertEquals(from(explain.host(value, "a").vars, "word"), "-e (extra.yml:3)")
end

function T.test_extra_variables_from_lua_and_json()
  write("x.lua", 'return { domain = "from.lua", n = 1 }')
  write("x.json", '{ "formation": "from-json", "m": { "k": null } }')
  local value = extended('{ environment = "lab" }', {
    extra = { "@" .. directory .. "/x.lua", "@" .. directory .. "/x.json" },
  })
  lu.assertEquals({ value.domain, value.formation, value.vars.a.n }, { "from.lua", "from-json", 1 })
  lu.assertEquals(value.vars.a.m.k, json.null)
end

-- Made by ansible-vault: domain: hidden.example, application: { password: from-the-vault }, token: t0ken
function T.test_extra_variables_from_a_vault()
  write("extra.yml", [[
$ANSIBLE_VAULT;1.1;AES256
32626535643033303063393339383162353238653462373536356662306464613635333662313762
6362666334326366663361336236333338316137316366660a323365343236613731306536366531
38313130396533316333656464626430333432326562623761646634333137373236383837326338
6438386438336233610a633536663864356530396262313831633337343233626436356365356465
65393161613435313939663266616266636230623235393631316435323261376163393566613365
36386362346333336361633765656433643764326362613430653761326163366431326561623836
34663938373532613161666235396262306136616163303465663261316663393537336461383736
64353238643965383938
]])
  write("pw", "changeme-DEV-ONLY")
  local value = extended('{ environment = "production" }', {
    extra = { "@" .. directory .. "/extra.yml" }, vault = { files = { directory .. "/pw" } },
  })
  lu.assertEquals(value.domain, "hidden.example")
  lu.assertEquals(secret.reveal(value.application.password), "from-the-vault")
  lu.assertEquals(secret.reveal(value.vars.a.token), "t0ken")
  local ok, e = pcall(extended, '{ environment = "lab" }', { extra = { "@" .. directory .. "/extra.yml" }, vault = {} })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "inventory", "no_password"))
end

function T.test_a_vault_beside_the_inventory()
  write("vault.yml", [[
$ANSIBLE_VAULT;1.1;AES256
32626535643033303063393339383162353238653462373536356662306464613635333662313762
6362666334326366663361336236333338316137316366660a323365343236613731306536366531
38313130396533316333656464626430333432326562623761646634333137373236383837326338
6438386438336233610a633536663864356530396262313831633337343233626436356365356465
65393161613435313939663266616266636230623235393631316435323261376163393566613365
36386362346333336361633765656433643764326362613430653761326163366431326561623836
34663938373532613161666235396262306136616163303465663261316663393537336461383736
64353238643965383938
]])
  write("pw", "changeme-DEV-ONLY")
  local value = extended([[{
    environment = "production",
    application = { password = require("pgaf.secret").vault { file = "vault.yml", key = "application.password" } },
  }]], { vault = { files = { directory .. "/pw" } } })
  lu.assertEquals(secret.reveal(value.application.password), "from-the-vault")
end

function T.test_mistakes_in_extra_variables()
  local function says(extra, wanted)
    lu.assertStrContains((refusal('{ environment = "lab" }', { extra = { extra } })), wanted)
  end
  says("word", '-e "word" is not key=value')
  says("x y=1", 'is not key=value')
  says("@/nonexistent.yml", "cannot read the extra variables /nonexistent.yml")
  says("{a: ", "-e {a: :")
  says("[1]", "extra variables are a map")
  says("postgres.versoin=15", '-e: postgres.versoin: there is no such key, did you mean "version"?')
  says("postgers.version=15", '-e: postgers.version: the inventory has no key "postgers", did you mean "postgres"?')
  says("postgres.version=x", '-e: postgres.version: wants a whole number from 13 to 99, not "x"')
  says("nodes.z.port=1", 'there is no data node "z"')
  says("nodes=3", "nodes: wants a list")
  says("application.password=hunter22", "a secret on the command line is seen by all")
end

function T.test_a_secret_of_the_command_line_is_refused_in_every_spelling()
  local words = {
    "application.password=x123456", "application..password=x123456", "application={password: x123456}",
    '{"application": {"password": "x123456"}}', '{"monitor_password": "x123456"}',
  }
  for _, text in ipairs(words) do
    local message = refusal('{ environment = "lab" }', { extra = { text } })
    lu.assertStrContains(message, "password: a secret on the command line is seen")
    lu.assertNotStrContains(message, "x123456")
  end
  fs.write(directory .. "/extra.yml", "application: {password: x123456}\n")
  local value = extended('{ environment = "lab" }', { extra = { "@" .. directory .. "/extra.yml" } })
  lu.assertEquals(secret.reveal(value.application.password), "x123456")
end

function T.test_quotes_of_extra_variables_hold_words_together()
  local function vars(text)
    return extended('{ environment = "lab" }', { extra = { text } }).vars.mon
  end
  local found = vars [[a="x y=1" b='p q=2' c="say \"z=3\" now" d=it's e=5" f={k: 'l m=4'} g="" h=.inf i=12e4567]]
  lu.assertEquals({ found.a, found.b, found.c, found.d, found.e, found.f.k, found.g },
    { "x y=1", "p q=2", 'say "z=3" now', "it's", '5"', "l m=4", "" })
  lu.assertNil(found.y or found.q or found.z or found.m)
  lu.assertEquals({ found.h, found.i }, { ".inf", "12e4567" })
  lu.assertStrContains(refusal('{ environment = "lab" }', { extra = { 'a="x y' } }), "a quote in it is not closed")
end

function T.test_files_that_are_too_large_are_told_by_name()
  local path = write("large.yml", "a: 1\n" .. ("# much\n"):rep(2500000))
  local message = refusal('{ environment = "lab" }', { extra = { "@" .. path } })
  lu.assertStrContains(message, "large.yml:1: a YAML text of more than 16 MiB")
  local ok, e = pcall(inventory.load, path)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "inventory"), tostring(e))
  lu.assertStrContains(e.message, "large.yml: it cannot be read")
end

function T.test_what_is_shown_has_no_secrets()
  local value = extended [[{ environment = "lab", vars = {
    api_token = "shown-to-nobody", key = require("pgaf.secret").value("nor-this-one"),
    list = { { password = "or-this-one" } },
  } }]]
  local text = json.encode(explain.all(value))
  for _, word in ipairs { "shown-to-nobody", "nor-this-one", "or-this-one", "changeme-DEV-ONLY" } do
    lu.assertNotStrContains(text, word)
  end
  lu.assertStrContains(text, '"<secret>"')
  lu.assertTrue(secret.is(value.vars.a.key))
end

function T.test_the_graph()
  lu.assertEquals(table.concat(explain.graph(extended('{ environment = "lab" }')), "\n"), [[
@all:
  |--@both:
  |  |--@east:
  |  |  |--a
  |  |  |--b
  |  |--@west:
  |  |  |--b
  |  |  |--c
  |--@data:
  |  |--a
  |  |--b
  |  |--c
  |--@monitor:
  |  |--mon]])
end

function T.test_the_environments_that_come_with_pgafrun()
  local folder = program.roots[1] .. "/scripts/inventory/"
  local staging, production = inventory.load(folder .. "staging.lua"), inventory.load(folder .. "production.lua")
  lu.assertEquals({ staging.environment, production.environment }, { "staging", "production" })
  lu.assertEquals(staging.postgres.version, production.postgres.version)
  lu.assertEquals(#explain.files(staging), 2)
end

test.run("inventory_layers", T)

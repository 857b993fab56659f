-- Ansible inventories, read as they are: what wins, what stands for what, what is listed. Precedences were compared
-- with those of ansible-inventory 2.14.
local error = require "pgafrun.error"
local explain = require "pgaf.inventory.explain"
local fs = require "pgafrun.fs"
local inventory = require "pgaf.inventory"
local json = require "pgafrun.json"
local layers = require "pgaf.inventory.layers"
local program = require "pgafrun.program"
local secret = require "pgaf.secret"
local test = require "pgaf.test"
local vault = require "pgaf.vault"
local yaml_file = require "pgaf.inventory.yaml_file"

local lu = test.lu

local T = {}
local directory

local LAB = [[
all:
  children:
    monitor:
      hosts:
        mon:
    parent:
      children:
        nodes:
          hosts:
            n[01:02]:
              port_base: 7
        replicas:
          hosts:
            n02:
        primary:
          hosts:
            n02:
  vars:
    pgaf_environment: lab
    pgaf_formation: t
    pgaf_app_password: changeme-DEV-ONLY
    a: file
    b: file
]]

function T.setUp()
  directory = fs.mkdtemp "ansible-test-"
  fs.mkdir(directory .. "/inventory")
end
function T.tearDown()
  vault.use {}
  fs.remove_tree(directory)
end

local function at(name) return directory .. "/" .. name end
local function write(name, text)
  fs.mkdir((at(name):match("^(.*)/")))
  fs.write(at(name), text)
  return at(name)
end

local function short(text) return (text:gsub(directory:gsub("%p", "%%%0") .. "/", "")) end

local function load_lab(options, text)
  options = options or {}
  options.quiet = true
  return inventory.load(write("inventory/lab.yml", text or LAB), options)
end

local function refusal(options, text)
  local ok, e = pcall(load_lab, options, text)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e), tostring(e))
  return short(e.message), e
end

function T.test_what_may_be_in_a_file_that_cannot_be_read_is_not_missing()
  write("inventory/group_vars/all.yml", "pgaf_app_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  61zz\n")
  local message = refusal(nil, (LAB:gsub("    pgaf_app_password: .-\n", "")))
  lu.assertStrContains(message, "group_vars/all.yml:1: the vault has characters that are no hexadecimal digits")
  lu.assertNotStrContains(message, "is missing")
  fs.remove_tree(at "inventory")
  write("inventory/v.yml", LAB)
  write("inventory/h.ini", "[more:children]\n[nodes\nreplicas\n")
  local ok, e = pcall(inventory.load, at "inventory", { quiet = true })
  lu.assertFalse(ok)
  lu.assertStrContains(short(e.message), 'inventory/h.ini:2: the section "[nodes": a bracket is not closed')
end

-- Each line is short; together they would give 4^40 times sixteen bytes, or values.
function T.test_expressions_that_multiply_each_other_are_refused()
  local lines = { '    a0: "xxxxxxxxxxxxxxxx"', '    b0: ["x"]', '    total: "{{ a3 }}"' }
  for i = 1, 40 do
    lines[#lines + 1] = ('    a%d: "%s"'):format(i, ("{{a%d}}"):format(i - 1):rep(4))
    lines[#lines + 1] = ('    b%d: [%s]'):format(i, ('"{{b%d}}",'):format(i - 1):rep(4))
  end
  local value = load_lab(nil, LAB .. table.concat(lines, "\n") .. "\n")
  lu.assertEquals(value.vars.n01.total, ("x"):rep(16 * 4 ^ 3 // 1))
  lu.assertNil(value.vars.n01.a12)
  lu.assertNil(value.vars.n01.b12)
  local text = ""
  for _, note in ipairs(value.notes) do text = text .. note.message .. "\n" end
  lu.assertStrContains(text, "a9 cannot be worked out here: a8, which it refers to: it gives more than 1 MiB")
end

function T.test_secrets_that_multiply_each_other_are_refused()
  local file = LAB:gsub("pgaf_app_password: .-\n", [[pgaf_app_password: "{{ s20 }}"
    s0: "{{ lookup('env', 'PGAFRUN_TEST_BINARY') }}"
]])
  for i = 1, 20 do file = file .. ('    s%d: "%s"\n'):format(i, ("{{s%d}}"):format(i - 1):rep(4)) end
  local value = load_lab(nil, file)
  lu.assertErrorMsgContains("a secret of more than 1 MiB", secret.reveal, value.application.password)
end

local function notes(value, kind)
  local list = {}
  for _, note in ipairs(value.notes) do
    if note.kind == kind then list[#list + 1] = short(("%s:%d: %s"):format(note.file, note.line, note.message)) end
  end
  return table.concat(list, "\n")
end

function T.test_groups_decide_who_is_what()
  local value = load_lab()
  lu.assertEquals({ value.environment, value.formation, value.monitor.name }, { "lab", "t", "mon" })
  -- the primary registers first, though it is written last
  lu.assertEquals({ value.nodes[1].name, value.nodes[2].name }, { "n02", "n01" })
  lu.assertEquals(value.groups.parent, { "n02", "n01" })
  lu.assertEquals(value.groups.replicas, { "n02" })
  lu.assertEquals(value.vars.n01.port_base, 7)
  lu.assertEquals(secret.reveal(value.application.password), "changeme-DEV-ONLY")
end

function T.test_precedence_of_files()
  write("inventory/group_vars/all/10.yml", "a: all1\nc: all1\nd: all1\ne: all1\n")
  write("inventory/group_vars/all/20", "a: all2\n")
  write("group_vars/all.yml", "d: playbook\n")
  write("inventory/group_vars/parent.yml", "c: parent\nf: parent\n")
  write("inventory/group_vars/nodes.yaml", "c: nodes\n")
  write("group_vars/nodes.json", '{"f": "playbook"}')
  write("inventory/host_vars/n01.yml", "g: inventory\nf: host\n")
  write("host_vars/n01/x.yml", "g: playbook\n")
  write("roles/r/defaults/main.yml", "a: role\nh: role\n")
  local value = load_lab { extra = { "e=extra" } }
  lu.assertEquals(value.vars.mon, {
    a = "all2", b = "file", c = "all1", d = "playbook", e = "extra", h = "role",
    pgaf_environment = "lab", pgaf_formation = "t", pgaf_app_password = value.vars.mon.pgaf_app_password,
  })
  local n01 = value.vars.n01
  lu.assertEquals({ n01.a, n01.c, n01.d, n01.f, n01.g }, { "all2", "nodes", "playbook", "host", "playbook" })
  lu.assertEquals(value.vars.n02.f, "playbook")
  local host = explain.host(value, "n01")
  for _, one in ipairs(host.vars) do
    if one.key == "c" then
      lu.assertEquals(short(one.from), "group nodes (inventory/group_vars/nodes.yaml:1)")
      lu.assertEquals(short(one.overrides[1]), "group parent (inventory/group_vars/parent.yml:1)")
    end
  end
end

function T.test_variables_stand_for_keys()
  write("inventory/group_vars/all.yml", [[
pgaf_pg_version: "15"
pgaf_use_pgdg: no
pgaf_port: 6000
pgaf_monitor_port: 6001
pgaf_number_sync_standbys: 0
pgaf_app_networks: 10.0.0.0/8, 127.0.0.1/32
pgaf_health_check_period: 2s
pgaf_network_partition_timeout: 7s
pgaf_node_considered_unhealthy_timeout: 9000
pgaf_settings: { work_mem: 8MB, shared_buffers: 256MB, "pg_stat_statements.max": 500 }
incus_image: debian/12
incus_profiles: [default, database]
incus_config: { limits.cpu: 2, "limits.memory": 1GiB, security.nesting: true }
]])
  write("inventory/host_vars/n01.yml", "candidate_priority: 10\npgaf_replication_quorum: off\npgaf_port: 6010\n")
  local value = load_lab()
  lu.assertEquals({ value.postgres.version, value.postgres.source }, { 15, "distribution" })
  lu.assertEquals({ value.monitor.port, value.nodes[1].port, value.nodes[2].port }, { 6001, 6000, 6010 })
  lu.assertEquals(value.application.networks, { "10.0.0.0/8", "127.0.0.1/32" })
  lu.assertEquals(value.timers.health_check_period, 2000)
  lu.assertEquals(value.timers.network_partition_timeout, 7)
  lu.assertEquals(value.timers.node_considered_unhealthy_timeout, 9000)
  lu.assertEquals(value.postgres.settings, { work_mem = "8MB", ["pg_stat_statements.max"] = 500 })
  lu.assertEquals(value.postgres.shared_buffers, "256MB")
  lu.assertEquals({ value.provider.image, value.provider.profiles[2] }, { "debian/12", "database" })
  lu.assertEquals({ value.nodes[2].limits.cpu, value.nodes[2].limits.memory }, { 2, "1GiB" })
  lu.assertEquals({ value.nodes[2].candidate_priority, value.nodes[2].replication_quorum }, { 10, false })
  lu.assertStrContains(notes(value, "unmapped"), 'all.yml:13: incus_config: "security.nesting" has no key here')
end

function T.test_expressions()
  write("inventory/group_vars/all.yml", [[
pgaf_monitor_host: "{{ groups['monitor'][0] }}.lxd"
pgaf_app_user: "{{ base_user | default('app') }}"
pgaf_app_db: "{{ pgaf_app_user }}db"
pgaf_pg_version: "{{ versions.postgres }}"
versions: { postgres: 14 }
list: ["{{ inventory_hostname }}", "{{ group_names[0] }}"]
other: "{{ hostvars['n01'].port_base | int }}"
from_env: "{{ lookup('env', 'PATH') }}"
circle: "{{ round }}"
round: "{{ circle }}"
hard: "{% if x %}a{% endif %}"
harder: "{{ a ~ b }}"
filtered: "{{ a | regex_replace('x', 'y') }}"
nowhere: "{{ not_there }}"
]])
  local value = load_lab()
  lu.assertEquals(value.application.database, "appdb")
  lu.assertEquals(value.postgres.version, 14)
  lu.assertEquals(value.vars.n01.list[1], "n01")
  lu.assertEquals(value.vars.mon.other, 7)
  lu.assertTrue(secret.is(value.vars.mon.from_env))
  lu.assertNil(value.vars.mon.hard)
  local told = notes(value, "unmapped")
  lu.assertStrContains(told, "all.yml:9: circle cannot be worked out here: round, which it refers to: ")
  lu.assertStrContains(told, "refers to itself")
  lu.assertStrContains(told, "all.yml:11: hard cannot be worked out here: it has statements")
  lu.assertStrContains(told, "all.yml:12: harder cannot be worked out here: it is more than a variable")
  lu.assertStrContains(told, 'all.yml:13: filtered cannot be worked out here: the filter "regex_replace" is not known')
  lu.assertStrContains(told, "all.yml:14: nowhere cannot be worked out here: not_there is not defined")
end

function T.test_what_has_no_place_is_listed_or_refused()
  write("inventory/group_vars/all.yml", "pgaf_pg_verison: 16\nbackup: true\nansible_become: yes\n")
  write("inventory/group_vars/replica.yml", "x: 1\n")
  write("inventory/host_vars/n3.yml", "x: 1\n")
  local text = LAB .. "  other: 1\nstray:\n  hosts:\n    s1:\n    localhost:\n"
  local value = load_lab({}, text)
  local told = notes(value, "unmapped")
  lu.assertStrContains(told, "all.yml:1: pgaf_pg_verison stands for no key of an inventory, did you mean ")
  lu.assertStrContains(told, 'group_vars/replica.yml:1: there is no group "replica", did you mean "replicas"?')
  lu.assertStrContains(told, 'host_vars/n3.yml:1: there is no host "n3": nothing reads it')
  lu.assertStrContains(told, 'lab.yml:24: "other" in the group "all"')
  lu.assertStrContains(told, "lab.yml:27: the host s1 is in no group that says what it is")
  lu.assertStrContains(notes(value, "kept"), "all.yml:2: backup")
  lu.assertStrContains(notes(value, "needless"), "all.yml:3: ansible_become: ")
  lu.assertStrContains(notes(value, "needless"), "lab.yml:28: the host localhost")
  local message = refusal({ strict = true }, text)
  lu.assertStrContains(message, "mistakes in the inventory:")
  lu.assertStrContains(message, "group_vars/all.yml:1: pgaf_pg_verison")
end

function T.test_mistakes_are_told_in_ansibles_files_and_words()
  write("inventory/group_vars/all.yml", "pgaf_pg_version: sixteen\npgaf_app_networks: [10.0.0.0]\n")
  write("inventory/host_vars/n01.yml", "pgaf_app_user: other\n")
  write("inventory/host_vars/n02.yml", "\npgaf_app_user: one\n")
  local message = refusal(nil, (LAB:gsub("pgaf_formation: t", "x: 1")))
  lu.assertStrContains(message, 'all.yml:1: postgres.version: wants a whole number from 13 to 99, not "sixteen"')
  lu.assertStrContains(message, "(the variable pgaf_pg_version)")
  lu.assertStrContains(message, "group_vars/all.yml:2: application.networks[1]: wants a network")
  lu.assertStrContains(message, "formation: is missing (the variable pgaf_formation_name)")
  lu.assertStrContains(message, "host_vars/n01.yml:1: pgaf_app_user differs between n01 and n02")
end

function T.test_a_group_of_a_name_that_means_something_here()
  local value = load_lab({}, LAB .. "data:\n  hosts:\n    n01:\n")
  lu.assertEquals(value.groups.data, { "n02", "n01" })
  lu.assertStrContains(notes(value, "unmapped"), 'lab.yml:24: the group "data" has other hosts here: n02, n01')
end

function T.test_no_monitor_and_two()
  local none = LAB:gsub("monitor:", "watch:")
  lu.assertStrContains(refusal(nil, none), 'lab.yml:1: there is no monitor: the group "monitor"')
  local two = LAB:gsub("        mon:\n", "        mon:\n        mon2:\n")
  lu.assertStrContains(refusal(nil, two), "there are 2 monitors")
end

function T.test_broken_yaml_is_one_line_with_its_place()
  local function says(text, wanted)
    write("inventory/group_vars/all.yml", text)
    local message, e = refusal()
    lu.assertStrContains(message, "inventory/group_vars/all.yml:" .. wanted)
    lu.assertEquals(e.kind, "inventory")
  end
  says("a: 1\n\tb: 2\n", "2: found a tab character")
  says("a:\n\t- b\n", "2: found character that cannot start any token")
  says("a: 1\na: 2\n", "2: the key 'a' is there twice")
  says("a: [1\n", "2: did not find expected")
  says("- 1\n", "1: variables are a map")
  says("a: 1\n---\nb: 2\n", "2: more than one document")
  says("a: !!python/object:os.system x\n", "1: the tag tag:yaml.org,2002:python/object:os.system is not known here")
  says(("a: " .. ("["):rep(200) .. "\n"), "1: nested deeper than 100 levels")
  local bomb = { "l0: &l0 [x, x, x, x, x, x, x, x, x, x]" }
  for i = 1, 9 do bomb[#bomb + 1] = ("l%d: &l%d [%s]"):format(i, i, ("*l" .. i - 1 .. ","):rep(10)) end
  says(table.concat(bomb, "\n"), "5: aliases stand for more than 100000 values")
  says("a: \xff\n", "1: ")
  says("a: !vault x\n", "1: the vault's first line is not")
  says("a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  zz\n", "1: the vault has characters that are no hexadecimal digits")
  says("$ANSIBLE_VAULT;1.1;AES256\n00\n", "1: the vault is cut short")
end

function T.test_broken_inventories()
  local function says(text, wanted) lu.assertStrContains(refusal(nil, text), "inventory/lab.yml:" .. wanted) end
  says("- a\n", "1: an Ansible inventory is a map of groups")
  says("", "1: an Ansible inventory is a map of groups")
  says("all:\n  hosts: [a, b]\n", "2: hosts is a map, each host a key")
  says("all:\n  children: x\n", "2: children is a map")
  says("all:\n  vars: 5\n", "2: the variables of the group \"all\" are a map")
  says("all: 5\n", "1: the group \"all\" is a map")
  says("all:\n  hosts:\n    a[1:\n", "3: ")
  says("all:\n  hosts:\n    a[5:1]:\n", '3: the hosts "a[5:1]": the range is empty or too long')
  says("all:\n  hosts:\n    a[1:99999999]:\n", "3: ")
  says("all:\n  hosts:\n    a: 5\n", "3: the variables of a are a map")
  says("a:\n  children: {b: {children: {a: }}}\n", "2: the groups hold each other: a, b, a")
end

function T.test_ini()
  local text = [[
# comment
[monitor]
mon pgaf_port=6001

[nodes]
n[1:2] pgaf_candidate_priority=60 note='two words' flag=True

[nodes:vars]
pgaf_port = 6000
list=['a', 'b']

[db:children]
monitor
nodes

[all:vars]
pgaf_environment=lab
pgaf_formation=t
pgaf_app_password=changeme-DEV-ONLY
]]
  for _, name in ipairs { "inventory/hosts", "inventory/lab.ini" } do
    local value = inventory.load(write(name, text), { quiet = true })
    lu.assertEquals({ value.monitor.port, value.nodes[2].port, value.nodes[2].name }, { 6001, 6000, "n2" })
    lu.assertEquals(value.nodes[1].candidate_priority, 60)
    lu.assertEquals({ value.vars.n1.note, value.vars.n1.flag, value.vars.n1.list[2] }, { "two words", true, "b" })
    lu.assertEquals(value.groups.db, { "mon", "n1", "n2" })
    fs.remove(at(name))
  end
  local ok, e = pcall(inventory.load, write("inventory/hosts", "[nodes:var]\nx\n[a]\nb c\n"))
  lu.assertFalse(ok)
  lu.assertStrContains(short(e.message), "inventory/hosts:1: [nodes:var]: a section is")
  lu.assertStrContains(short(e.message), 'inventory/hosts:4: "c" is not key=value')
end

function T.test_a_folder_and_whole_host_names()
  write("inv/10-hosts.yml", "monitor: {hosts: {mon.db.example: }}\n")
  write("inv/20-hosts.ini", "[nodes]\nn1.db.example\nn2.db.example\n")
  write("inv/group_vars/all.yml", "pgaf_environment: lab\npgaf_formation: t\npgaf_app_password: changeme-DEV-ONLY\n")
  local value = inventory.load(at "inv", { quiet = true })
  lu.assertEquals({ value.domain, value.monitor.name, value.nodes[2].name }, { "db.example", "mon", "n2" })
  lu.assertEquals(value.vars.n2.pgaf_formation, "t")
end

function T.test_a_file_of_ours_builds_on_one_of_theirs()
  write("inventory/lab.yml", LAB)
  local top = write("top.lua", [[
local inventory = require "pgaf.inventory"
local theirs = inventory.ansible {
  "inventory/lab.yml", map = { b = "domain", port_base = "node.candidate_priority" },
}
return inventory.extend(theirs, {
  timers = { health_check_period = 700 },
  vars = { a = "top" },
  groups = { parent = { vars = { c = "parent" } } },
})]])
  local value = inventory.load(top, { quiet = true })
  lu.assertEquals({ value.domain, value.timers.health_check_period, value.formation }, { "file", 700, "t" })
  lu.assertEquals(value.nodes[1].candidate_priority, 7)
  lu.assertEquals({ value.vars.mon.a, value.vars.n01.c, value.vars.n01.b }, { "top", "parent", "file" })
  local plain = inventory.load(write("plain.lua",
    'return require("pgaf.inventory").extend("inventory/lab.yml", { formation = "p" })'), { quiet = true })
  lu.assertEquals({ plain.formation, plain.monitor.name }, { "p", "mon" })
end

function T.test_extra_variables_are_mapped_too()
  local value = load_lab { extra = { "pgaf_pg_version=14", "domain=x.y" } }
  lu.assertEquals({ value.postgres.version, value.domain }, { 14, "x.y" })
  lu.assertStrContains(refusal { extra = { "pgaf_app_password=hunter22" } }, "a secret on the command line")
end

function T.test_of_two_variables_for_one_key_the_other_is_listed()
  write("inventory/group_vars/all.yml", "pgaf_pg_version: 14\npostgresql_version: 15\n")
  local value = load_lab()
  lu.assertEquals(value.postgres.version, 14)
  lu.assertStrContains(notes(value, "unmapped"), "all.yml:2: postgresql_version is not read: another variable stands")
  lu.assertEquals(load_lab { extra = { "postgresql_version=16" } }.postgres.version, 16)
end

-- The example's vault was made by ansible-vault; its password is in its comment.
function T.test_the_example_with_its_vault()
  local file = program.roots[1] .. "/scripts/inventory/ansible/lab.yml"
  local passwords = { files = { write("pw", "changeme-DEV-ONLY\n") } }
  local value = inventory.load(file, { quiet = true, strict = true, vault = passwords })
  lu.assertEquals(secret.reveal(value.application.password), "only-for-the-lab")
  lu.assertEquals({ value.nodes[1].name, value.nodes[2].candidate_priority }, { "pgaf-lab-1", 40 })
  lu.assertNotStrContains(json.encode(explain.all(value)), "only-for-the-lab")
  local ok, e = pcall(inventory.load, file, { quiet = true, vault = { files = { write("pw2", "wrong-password\n") } } })
  lu.assertFalse(ok)
  lu.assertStrContains(e.message, "group_vars/all.yml:15: the vault password (of " .. at "pw2" .. ") does not open it")
  lu.assertNotStrContains(e.message, "wrong-password")
end

function T.test_each_variable_is_in_the_manual()
  local manual = fs.read(program.roots[1] .. "/docs/moving-from-ansible.md")
  for _, entry in ipairs(require("pgaf.inventory.ansible.names").KEYS) do
    lu.assertStrContains(manual, "`" .. entry[1] .. "`")
    for name in entry[4]:gmatch("%S+") do lu.assertStrContains(manual, "`" .. name .. "`") end
  end
end

-- Whatever a file holds, it is read or refused in words: no other error, no hang.
local function reads_or_refuses(f, ...)
  local ok, e = pcall(f, ...)
  lu.assertTrue(ok or error.is(e), "not refused in words: " .. tostring(e))
end

function T.test_changed_files_are_read_or_refused_in_words()
  math.randomseed(17)
  local pieces = {
    ":", "\n", "  ", "- ", "{", "}", "[", "]", "\t", "'", '"', "&a ", "*a", "!vault ", "|", "{{ ", " }}", "~", "\0",
    "\xff", "all", "hosts", "vars", "children", "[0:5]", "=", "#", "null", "0x", "<<: ", "%", ".", "$ANSIBLE_VAULT",
  }
  for _ = 1, 150 do
    local text = LAB
    for _ = 1, math.random(1, 4) do
      local place = math.random(1, #text)
      text = text:sub(1, place) .. pieces[math.random(#pieces)] .. text:sub(place + math.random(0, 3))
    end
    fs.write(at "inventory/lab.yml", text, { sync = false })
    reads_or_refuses(inventory.load, at "inventory/lab.yml", { quiet = true })
    fs.write(at "inventory/hosts", text, { sync = false })
    reads_or_refuses(inventory.load, at "inventory/hosts", { quiet = true })
  end
end

function T.test_random_bytes_are_read_or_refused_in_words()
  math.randomseed(18)
  for _ = 1, 100 do
    local bytes = {}
    for i = 1, math.random(0, 120) do bytes[i] = string.char(math.random(0, 255)) end
    local text = table.concat(bytes)
    reads_or_refuses(yaml_file.parse, "x.yml", text)
    for _, name in ipairs { "inventory/r.yml", "inventory/r.ini", "inventory/r" } do
      fs.write(at(name), text, { sync = false })
      if name ~= "inventory/r" or not text:find("return", 1, true) then
        reads_or_refuses(inventory.load, at(name), { quiet = true })
      end
    end
  end
end

function T.test_values_at_paths()
  local value = { a = { { ["b.c"] = { d = 1 } } } }
  lu.assertEquals(layers.at(value, "a[1].b.c.d"), 1)
  lu.assertNil(layers.at(value, "a[2].b"))
  lu.assertNil(layers.at(value, "a[1].b.x"))
end

test.run("ansible", T)

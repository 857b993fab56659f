-- The program `pgafrun inventory`: what it shows, what it hides, its exit codes.
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local test = require "pgaf.test"

local lu = test.lu

local T = {}
local directory
local LAB <const> = program.roots[1] .. "/scripts/inventory/lab.lua"
local ANSIBLE <const> = program.roots[1] .. "/scripts/inventory/ansible/lab.yml"

function T.setUp() directory = fs.mkdtemp "inventory-test-" end
function T.tearDown() fs.remove_tree(directory) end

local function run(code, ...)
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", "inventory", ... }
  lu.assertEquals(r.code, code, r.stdout .. r.stderr)
  lu.assertNotStrContains(r.stdout .. r.stderr, "changeme-DEV-ONLY")
  lu.assertNotStrContains(r.stdout .. r.stderr, "stack traceback")
  return r.stdout, r.stderr
end

local function password_file(text)
  fs.write(directory .. "/pw", text .. "\n")
  return directory .. "/pw"
end

function T.test_all_of_it()
  local out = run(0, "-i", LAB)
  lu.assertStrContains(out, "pgaf-lab-monitor  the monitor; groups: monitor")
  lu.assertStrMatches(out, ".*application%.password%s+<secret>  %[[^%]]*lab%.lua:%d+%].*")
  lu.assertNotStrContains(out, "primary_demote_timeout")
  lu.assertStrMatches(run(0, "-i", LAB, "--defaults"), ".*primary_demote_timeout%s+30000  %[default%].*")
end

function T.test_one_node()
  local out = run(0, "-i", LAB, "--host", "pgaf-lab-2", "-e", "rack=4")
  lu.assertStrContains(out, "pgaf-lab-2  a data node; groups: data")
  lu.assertStrContains(out, "rack  4  [-e]")
  lu.assertNotStrContains(out, "pgaf-lab-1")
  local _, err = run(64, "-i", LAB, "--host", "pgaf-lab-3")
  lu.assertStrContains(err, 'has no node "pgaf-lab-3", did you mean "pgaf-lab-1"?')
end

function T.test_for_programs()
  local all = json.decode((run(0, "-i", LAB, "--json", "-e", "nodes.pgaf-lab-2.port=5433")))
  lu.assertEquals(all.groups.data, { "pgaf-lab-1", "pgaf-lab-2" })
  lu.assertEquals(all.hosts["pgaf-lab-2"].keys.port, { value = 5433, from = "-e" })
  lu.assertEquals(all.formation["application.password"].value, "<secret>")
  lu.assertEquals(json.decode((run(0, "-i", LAB, "--json", "--host", "pgaf-lab-1"))).role, "data")
end

function T.test_the_groups()
  lu.assertStrContains(run(0, "-i", ANSIBLE, "--graph"), "  |--@nodes:\n  |  |--@primary:\n  |  |  |--pgaf-lab-1\n")
end

function T.test_vaults()
  run(0, "-i", ANSIBLE, "--vault-password-file", password_file "changeme-DEV-ONLY", "--strict")
  local _, err = run(64, "-i", ANSIBLE, "--vault-password-file", password_file "wrong-password")
  lu.assertStrContains(err, "group_vars/all.yml:15: the vault password")
  lu.assertNotStrContains(err, "wrong-password")
  _, err = run(64, "-i", ANSIBLE, "--vault-password-file", directory .. "/none")
  lu.assertStrContains(err, "cannot be read")
end

function T.test_what_has_no_place()
  fs.write(directory .. "/lab.yml", "all: {vars: {pgaf_formation: t, pgaf_app_password: changeme-DEV-ONLY, " ..
    "pgaf_prot: 1, mine: 2, ansible_user: x}}\nmonitor: {hosts: {m: }}\nnodes: {hosts: {a: , b: }}\n")
  local out = run(0, "-i", directory .. "/lab.yml")
  lu.assertStrContains(out, "has no place here:\n")
  lu.assertStrContains(out, 'lab.yml:1: pgaf_prot stands for no key of an inventory, did you mean "pgaf_port"?')
  lu.assertStrContains(out, "lab.yml:1: mine\n")
  lu.assertStrContains(out, "lab.yml:1: ansible_user: no ssh")
  local _, err = run(64, "-i", directory .. "/lab.yml", "--strict")
  lu.assertStrContains(err, "a mistake in the inventory:")
end

function T.test_mistakes_and_usage()
  local _, err = run(64)
  lu.assertStrContains(err, "which formation?")
  _, err = run(64, "-i", directory .. "/none.lua")
  lu.assertStrContains(err, "cannot read the inventory")
  fs.write(directory .. "/bad.lua", "return { formaton = 1 }")
  _, err = run(64, "-i", directory .. "/bad.lua")
  lu.assertStrContains(err, 'bad.lua:1: formaton: there is no such key, did you mean "formation"?')
  fs.write(directory .. "/raises.lua", "error 'of the file'")
  run(1, "-i", directory .. "/raises.lua")
end

test.run("inventory", T)

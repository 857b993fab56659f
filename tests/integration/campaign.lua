-- Campaigns on the local provider: what they leave, whom they tell, what history says, and what an interruption leaves.
-- One formation serves all tests, in the order of their names; the faults are brief ones of this test's own.

local fs = require "pgafrun.fs"
local http = require "pgafrun.http"
local json = require "pgafrun.json"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local http_server = dofile(here .. "/support/http_server.lua")
local local_formation = dofile(here .. "/support/local_formation.lua")

local T = {}
local f = local_formation.new(79)
f.values.monitor.port, f.values.nodes[1].port, f.values.nodes[2].port = 6670, 6671, 6672
local results = f.folder .. "/home/results"
local server_folder = fs.mkdtemp "pgafrun-campaign-test"
local server = http_server.start(server_folder, "tcp")

local BRIEF = [[
return {
  title = "a standby stands still for a moment", hypothesis = "Nothing changes.", promotion = "never",
  writes = "continue", needs = { "freeze" }, observe = 0.1,
  victim = function(drill) return drill.standbys[1].name end,
  run = function(drill)
    drill:mends(drill:breaks(drill.standbys[1], "thaw", nil, function(node)
      node:freeze()
      require("pgafrun.task").sleep(%s)
    end))
  end,
}
]]

local function run(script, ...)
  local result = f:run(script, ...)
  result.all = result.stdout .. result.stderr
  return result
end

local function assert_code(result, code) lu.assertEquals(result.code, code, result.all) end

local function decoded(path) return json.decode(fs.read(path)) end

local function history_folder()
  local base = f.folder .. "/home/.local/state/pgafrun/drills"
  return ("%s/%s"):format(base, fs.list(base)[1])
end

function T.test_01_a_formation()
  fs.write(f.folder .. "/brief.lua", BRIEF:format "0.05", { mode = tonumber("644", 8) })
  fs.write(f.folder .. "/longer.lua", BRIEF:format "0.2", { mode = tonumber("644", 8) })
  assert_code(run "postgres_ha", 0)
end

function T.test_02_what_cannot_be_is_refused_before_anything_is_touched()
  for _, arguments in ipairs {
    { "no-such-fault" }, { "brief.lua", "--repeat", "0" }, { "brief.lua", "--shuffle", "chance" },
    { "brief.lua", "--junit", "/nowhere/at/all.xml" }, { "brief.lua", "--notify", "nobody" },
  } do
    assert_code(run("campaign", table.unpack(arguments)), 64)
  end
  for _, name in ipairs { "lab", "staging", "production" } do
    assert_code(run(("scripts/drills-cron/%s.lua"):format(name), "--help"), 0)
  end
  assert_code(run("campaign", "power-cut"), 3)
  fs.write(f.folder .. "/home/file", "")
  assert_code(run("campaign", "brief.lua", "--folder", f.folder .. "/home/file/below"), 3)
  local refused = run("drill", "brief.lua", "--snapshot")
  assert_code(refused, 3)
  lu.assertStrContains(refused.all, "process trees have no snapshots")
  lu.assertEquals(fs.list(history_folder()), {})
end

-- Earlier drills that were quicker than any can be, so that it does not matter how quick this machine is.
local function make_history()
  for i = 1, 5 do
    local folder = ("%s/20200101T00000%dZ-0000"):format(history_folder(), i)
    fs.mkdir(folder)
    fs.write(folder .. "/result.json", json.encode {
      formation = "test", environment = "lab", fault = "longer", run = folder:match "[^/]+$",
      gap = { seconds = -99 - i }, started = "2020-01-01T00:00:00.000Z", verdict = { code = 0, name = "PASSED" },
      roles = { before = { primary = "n1", standbys = { "n2" } } },
    })
    if f.as_root then process.run { "chown", "-R", "postgres:", folder } end
  end
end

function T.test_03_a_campaign_leaves_files_and_tells()
  make_history()
  local result = run("campaign", "brief.lua", "longer.lua", "--repeat", "2", "--shuffle", "3", "--steady", "0.3",
    "--fail-on-regression", "--folder", results, "--junit", f.folder .. "/home/junit.xml",
    "--notify", ("http://127.0.0.1:%d/third-time"):format(server.port),
    "--notify-exec", "cat >home/notice.json; echo $PGAFRUN_OUTCOME >home/outcome; exit 3")
  assert_code(result, 2)
  lu.assertStrContains(result.stdout, "the order is that of seed 3")
  lu.assertStrMatches(result.stdout, ".*\nbrief +2  PASSED .*")
  lu.assertStrMatches(result.stdout, ".*\nlonger +2  FAILED .*")
  lu.assertStrContains(result.stdout, "slower than its history: ")
  lu.assertStrContains(result.stdout, "2 slower than their history")
  lu.assertStrContains(result.stderr, "the notice did not arrive")

  lu.assertEquals(fs.list(results), {
    "brief-1", "brief-2", "campaign.json", "index.html", "junit.xml", "longer-1", "longer-2",
  })
  local found = decoded(results .. "/longer-1/result.json")
  lu.assertEquals({ found.history.n, found.history.slower, found.verdict.code }, { 5, true, 2 })
  lu.assertStrContains(fs.read(results .. "/longer-1/report.html"), "Earlier runs of this drill")
  lu.assertEquals(fs.list(results .. "/brief-1"), {
    "events.jsonl", "journal", "report.html", "result.json", "settings.json", "versions.json", "writes.csv",
  })
  local whole = decoded(results .. "/campaign.json")
  lu.assertEquals({ whole.seed, #whole.runs, whole.not_run, whole.verdict.code }, { 3, 4, 0, 2 })
  local versions = decoded(results .. "/brief-1/versions.json")
  lu.assertIsString(versions.nodes.n1.postgresql)
  lu.assertIsString(versions.nodes.mon.extension)

  local checked = process.run { "xmllint", "--noout", f.folder .. "/home/junit.xml", results .. "/junit.xml" }
  lu.assertEquals(checked.code, 0, checked.stderr)
  lu.assertStrContains(fs.read(f.folder .. "/home/junit.xml"), 'tests="4" failures="2" errors="0" skipped="0"')
  lu.assertStrContains(fs.read(results .. "/junit.xml"), '<failure type="FAILED" message="slower than its history')

  lu.assertEquals(fs.read(f.folder .. "/home/outcome"), "FAILED\n")
  lu.assertEquals(#decoded(f.folder .. "/home/notice.json").runs, 4)
  local posted = http.request({ url = ("http://127.0.0.1:%d/kept"):format(server.port) }).body:match "\n(.*)$"
  lu.assertEquals(json.decode(posted).what, "campaign")
end

function T.test_04_the_ledger_has_every_write()
  local lines = 0
  for _ in fs.read(results .. "/brief-1/writes.csv"):gmatch "[^\n]+" do lines = lines + 1 end
  lu.assertEquals(lines, decoded(results .. "/brief-1/result.json").writes.total + 1)
end

function T.test_05_history_tells_of_earlier_drills_and_passes_over_broken_files()
  local broken = history_folder() .. "/20200101T000000Z-dead"
  fs.mkdir(broken)
  fs.write(broken .. "/result.json", "{")
  if f.as_root then process.run { "chown", "-R", "postgres:", broken } end
  local result = run "drill_history"
  assert_code(result, 0)
  lu.assertStrMatches(result.stdout, ".*\nbrief +2  PASSED .*")
  lu.assertStrContains(result.stderr, "20200101T000000Z-dead")
  local told = json.decode(run("drill_history", "brief", "--json", "-q").stdout)
  lu.assertEquals({ #told.faults, told.faults[1].n, #told.unreadable }, { 1, 2, 1 })
  lu.assertEquals(json.decode(run("drill_history", "longer", "--json", "-q").stdout).faults[1].n, 7)
  -- a campaign's folder is a history as well
  told = json.decode(run("drill_history", "--json", "--folder", results).stdout)
  lu.assertEquals({ #told.faults, #told.runs, #told.unreadable }, { 2, 4, 0 })
end

function T.test_06_an_interrupted_campaign_tells_what_it_did_and_leaves_the_formation_whole()
  local other = f.folder .. "/home/interrupted"
  local child, log = f:start("campaign", "brief.lua", "--repeat", "50", "--steady", "0.3", "--folder", other)
  repeat
    task.sleep(0.05)
    local ended = child:wait(0)
    lu.assertNil(ended, ended and fs.read(log))
  until fs.stat(other .. "/brief-1/result.json") and fs.read(log):find("brief (2 of 50", 1, true)
  process.kill(child.pid, "INT")
  lu.assertEquals(child:wait().code, 130, fs.read(log))
  local whole = decoded(other .. "/campaign.json")
  lu.assertTrue(#whole.runs == 1 or #whole.runs == 2)
  lu.assertTrue(whole.not_run >= 48)
  lu.assertEquals(whole.runs[1].verdict, "PASSED")
  lu.assertStrContains(fs.read(other .. "/junit.xml"), "not come to: the campaign ended before")
  local state
  for _ = 1, 60 do
    state = run "state"
    if state.code == 0 then break end
    task.sleep(0.5) -- where much else is running a node may be heard of late
  end
  assert_code(state, 0)
  lu.assertStrContains(run("restore").stdout, "nothing to put back")
end

function T.test_07_production_is_asked_for_its_name_on_a_terminal_and_refused_without()
  f:write_inventory()
  fs.write(f.folder .. "/production.lua", [[
    local inventory, secret = require "pgaf.inventory", require "pgaf.secret"
    return inventory.extend("inventory.lua", {
      environment = "production", application = { password = secret.command { "echo", "not-a-placeholder" } },
    })]], { mode = tonumber("644", 8) })
  local without = run("campaign", "brief.lua", "-i", "production.lua")
  assert_code(without, 64)
  lu.assertStrContains(without.stderr, "--i-know-this-is test")
  assert_code(run("drill", "brief.lua", "-i", "production.lua", "--i-know-this-is", "test", "--reset"), 64)
  local command = f.folder .. "/pgafrun campaign brief.lua -i production.lua --folder home/asked"
  local function asked(answer)
    local options = f:command("script", "-qec", command, "/dev/null")
    options.stdin = answer .. "\n"
    return process.run(options)
  end
  local refused = asked "another"
  lu.assertEquals(refused.code, 64, refused.stdout)
  lu.assertStrContains(refused.stdout, "type its name")
  lu.assertNil(fs.stat(f.folder .. "/home/asked"))
end

local ok, problem = pcall(test.run, "campaign", T)
task.shield(60, function()
  server:stop()
  f:close()
  fs.remove_tree(server_folder)
end)
if not ok then error(problem, 0) end

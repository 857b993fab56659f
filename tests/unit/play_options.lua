-- The options of every play, as who runs a script meets them: lists, the graph, the syntax check, exit codes.
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local prompt = require "pgaf.play.prompt"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local pgafrun = process.getenv "PGAFRUN_TEST_BINARY"
local folder

function T.setUp() folder = fs.mkdtemp "pgafrun-play-" end

function T.tearDown() fs.remove_tree(folder) end

local HEAD = [[
local cli = require "pgaf.cli"
local error = require "pgafrun.error"
local play = require "pgaf.play"
local resource = require "pgaf.resource"
local arguments = cli.parse({ name = "site", description = "test", inventory = false }, play.options, ...)
local targets = { { name = "mon", groups = { "monitor" } }, { name = "pg-1", groups = { "data" } },
  { name = "pg-2", groups = { "data" } } }
local p = play.new { title = "site", targets = targets }
]]

-- Steps of a play whose state is a file for each target: what is there is as wanted.
local SITE = [[
local fs = require "pgafrun.fs"
local folder = debug.getinfo(1, "S").source:match "^@(.*)/"
local function flag(name) return function(target)
  local path = ("%s/%s-%s"):format(folder, name, target.name)
  return { name = path,
    probe = function() return not fs.stat(path) and "missing" or nil end,
    apply = function() fs.write(path, "") end,
    changes = function() return { { what = path, before = nil, after = "here\n" } } end }
end end
local machines = p:section { "The machines", tags = "machines" }
machines:step { "packages", resource = flag "packages", notify = "reload" }
machines:step { "config", on = "data", tags = "config", needs = "packages", resource = flag "config" }
p:step { "whole", on = "monitor", needs = { play.everywhere "config" }, probe = function() end }
p:handler { "reload", run = function() end }
function p.before(mode)
  fs.write(folder .. "/before", mode.check and "check" or "run")
  return setmetatable({}, { __close = function() fs.write(folder .. "/closed", "") end })
end
return play.main(p, arguments)
]]

local function run(text, ...)
  fs.write(folder .. "/site.lua", text)
  return process.run { pgafrun, folder .. "/site.lua", ... }
end

local function is_there(name) return fs.stat(folder .. "/" .. name) ~= nil end

local function untouched() lu.assertFalse(is_there "before" or is_there "packages-mon") end

function T.test_exit_codes_of_check_run_and_failure()
  local r = run(HEAD .. SITE, "--check")
  lu.assertEquals(r.code, 2, r.stderr)
  lu.assertFalse(is_there "packages-mon")
  lu.assertEquals(fs.read(folder .. "/before"), "check")
  lu.assertEquals(run(HEAD .. SITE).code, 0)
  lu.assertTrue(is_there "packages-mon" and is_there "closed")
  r = run(HEAD .. SITE, "--check")
  lu.assertEquals(r.code, 0, r.stdout)
  lu.assertStrContains(r.stdout, "nothing would change")
  r = run(HEAD .. [[
p:step { "bad", run = function() error.raise { kind = "command", message = "no" } end }
return play.main(p, arguments)]])
  lu.assertEquals(r.code, 1)
end

function T.test_diff_shows_what_changes()
  local r = run(HEAD .. SITE, "--check", "--diff", "--limit", "mon")
  lu.assertEquals(r.code, 2)
  lu.assertStrContains(r.stdout, "+here")
  lu.assertNotStrContains(r.stdout, "pg-1")
end

function T.test_lists_touch_nothing()
  local r = run(HEAD .. SITE, "--list-tasks")
  lu.assertEquals(r.code, 0, r.stderr)
  lu.assertEquals(r.stdout, [[
play: site
  The machines
    packages  all         tags: machines
    config    pg-1, pg-2  tags: machines, config

    whole     mon
  handlers
    reload    all
]])
  r = run(HEAD .. SITE, "--list-hosts", "--limit", "data:!pg-2")
  lu.assertEquals(r.stdout, "play: site\n  hosts (1):\n    pg-1  groups: data\n")
  r = run(HEAD .. SITE, "--list-tags")
  lu.assertEquals(r.stdout, "play: site\n  tags:\n    config    1 step\n    machines  2 steps\n")
  r = run(HEAD .. SITE, "--list-tasks", "--tags", "config", "--json")
  lu.assertStrContains(r.stdout, '"name":"config"')
  untouched()
end

function T.test_graph_as_text_and_for_graphviz()
  local r = run(HEAD .. SITE, "--graph")
  lu.assertEquals(r.stdout, [[
site: 4 steps on 3 targets
  1  packages  all
  2  config    pg-1, pg-2  after packages
  2  reload    all         notified by packages
  3  whole     mon         after config (everywhere)
]])
  r = run(HEAD .. SITE, "--graph=dot")
  lu.assertStrContains(r.stdout, 'digraph "site" {')
  lu.assertStrContains(r.stdout, 's1 [label="packages\\nall"];')
  lu.assertStrContains(r.stdout, 's2 -> s3 [label="everywhere"];')
  lu.assertStrContains(r.stdout, "s1 -> s4 [style=dashed, label=notifies];")
  lu.assertEquals(run(HEAD .. SITE, "--graph=svg").code, 64)
  untouched()
end

function T.test_misspelt_names_end_with_64_and_touch_nothing()
  local r = run(HEAD .. SITE, "--tags", "machine", "--limit", "pg-3", "--start-at", "pakages")
  lu.assertEquals(r.code, 64)
  lu.assertStrContains(r.stderr, '--tags: there is no tag "machine", did you mean "machines"?')
  lu.assertStrContains(r.stderr, '--limit: there is no target or group "pg-3", did you mean "pg-1"?')
  lu.assertStrContains(r.stderr, '--start-at: there is no step "pakages", did you mean "packages"?')
  untouched()
end

function T.test_syntax_check_tells_every_mistake_at_once_with_its_place()
  local r = run(HEAD .. [[
p:step { "one", on = "dta", resource = resource.fiel { path = "/x" } }
p:step { "two", resource = resource.file { pth = "/x" } }
p:step { "three", needs = "tow", run = function() return undefind end }
p:step { "four", needs = "five", run = function() argumnts = 1 end }
p:step { "five", needs = "four", nedes = 3, run = print }
return play.main(p, arguments)]], "--syntax-check")
  lu.assertEquals(r.code, 1)
  local function told(line, message)
    lu.assertStrContains(r.stdout, ("%s/site.lua:%d: %s"):format(folder, line, message))
  end
  told(9, 'step "one": there is no resource "fiel", did you mean "file"?')
  told(9, 'step "one": there is no target or group "dta", did you mean "data"?')
  told(10, 'step "two": file "?": there is no parameter "pth", did you mean "path"?')
  told(11, 'undefined global "undefind"')
  told(11, 'step "three": it needs "tow", and there is no such step, did you mean "two"?')
  told(12, 'assignment to an undefined global "argumnts", did you mean "arguments"?')
  told(13, 'step "five": a step has no field "nedes", did you mean "needs"?')
  lu.assertStrContains(r.stdout, "the steps wait for each other: four needs five needs four")
end

function T.test_syntax_check_of_a_script_that_ends_early_still_checks_what_it_declared()
  local r = run(HEAD .. [[
p:step { "one", on = "dta", needs = "three", notify = "later", run = print }
p:step { "two", run = undefind }
p:step { "three", run = print }
return play.main(p, arguments)]], "--syntax-check")
  lu.assertEquals(r.code, 1)
  lu.assertEquals(r.stdout, (([[
%s/site.lua:10: undefined global "undefind"
%s/site.lua:9: step "one": there is no target or group "dta", did you mean "data"?
2 mistakes
]]):gsub("%%s", folder)))
end

function T.test_syntax_check_misses_the_return_without_which_a_failure_would_end_with_0()
  local r = run(HEAD .. "p:step { 'one', run = print }\nplay.main(p, arguments)", "--syntax-check")
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stdout, "site.lua:10: the exit code is lost: return play.main(p, arguments)")
end

function T.test_syntax_check_reads_what_a_script_requires_and_survives_what_it_raises()
  fs.write(folder .. "/site_roles.lua", "local M = {}\nfunction M.f() return not_there end\nreturn M\n")
  local text = ('package.path = %q .. "/?.lua;" .. package.path\n'):format(folder) .. [[
local error = require "pgafrun.error"
]] .. HEAD:gsub('local error = require "pgafrun.error"\n', "") .. [[
require "site_roles"
error.raise { kind = "missing", message = "no such thing" }]]
  fs.write(folder .. "/first.lua", text)
  local r = process.run { pgafrun, folder .. "/first.lua", "--syntax-check" }
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stdout, "no such thing")
  lu.assertStrContains(r.stdout, folder .. '/site_roles.lua:2: undefined global "not_there"')
  r = run(HEAD .. "local x = = 1", "--syntax-check")
  lu.assertEquals(r.code, 1)
end

function T.test_syntax_check_of_what_is_right_touches_nothing()
  local r = run(HEAD .. SITE, "--syntax-check")
  lu.assertEquals(r.code, 0, r.stdout .. r.stderr)
  lu.assertEquals(r.stdout, "syntax ok: site: 4 steps on 3 targets\n")
  untouched()
end

function T.test_step_asks_before_each_step_once_for_all_targets()
  local asked, answers = {}, { "x", "y", "n", "c" }
  local ask = prompt.new(function(options)
    asked[#asked + 1] = options.prompt
    task.sleep(0.001)
    return table.remove(answers, 1)
  end)
  local steps = { { "one" }, { "two" }, { "three" }, { "four" } }
  local got = {}
  do
    local group <close> = task.group {}
    for _, step in ipairs(steps) do
      for _ = 1, 2 do
        group:spawn(function() got[step[1]] = ask(step) end)
      end
    end
  end
  lu.assertEquals(got, { one = true, two = false, three = true, four = true })
  lu.assertEquals(#asked, 4)
  lu.assertStrContains(asked[1], 'run "one"?')
end

function T.test_the_end_of_the_answers_is_no()
  local ask = prompt.new(function() return nil end)
  lu.assertFalse(ask { "one" })
  lu.assertFalse(ask { "two" })
end

test.run("play_options", T)

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

function T.test_a_secret_in_a_name_or_tag_is_in_no_list()
  local text = HEAD .. [[
local name = require("pgaf.secret").value('se"cret-in-a-name')
name = require("pgaf.secret").reveal(name)
p:step { "use " .. name, tags = { "tag-" .. name }, run = function() end }
return play.main(p, arguments)]]
  for _, option in ipairs { "--list-tasks", "--list-tags", "--graph", "--graph=dot", "--list-tasks --json" } do
    local r = run(text, option:match "^%S+", option:match " (%S+)$")
    lu.assertEquals(r.code, 0, r.stderr)
    lu.assertStrContains(r.stdout, "<secret>")
    lu.assertNotStrContains(r.stdout, "cret-in-a-name")
  end
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

function T.test_graph_for_programs_is_the_steps_with_what_they_need()
  local r = run(HEAD .. SITE, "--graph", "--json")
  lu.assertEquals(r.code, 0, r.stderr)
  lu.assertStrContains(r.stdout, '"name":"config"')
  lu.assertStrContains(r.stdout, '"needs":["packages"]')
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

function T.test_syntax_check_reads_what_the_inventory_builds_on()
  fs.write(folder .. "/base.lua", [[
local function unused() return undefined_in_base end
return { formation = "f", provider = { kind = "local" }, monitor = { name = "m" },
  nodes = { { name = "a" }, { name = "b" } },
  application = { password = "changeme-DEV-ONLY" } }]])
  fs.write(folder .. "/lab.lua", [[
return require("pgaf.inventory").extend("base.lua", { environment = "lab" })]])
  fs.write(folder .. "/site.lua", (HEAD:gsub("inventory = false", "")) .. [[
p:step { "one", run = print }
return play.main(p, arguments)]])
  local r = process.run { pgafrun, "-i", folder .. "/lab.lua", folder .. "/site.lua", "--syntax-check" }
  lu.assertStrContains(r.stdout, 'base.lua:1: undefined global "undefined_in_base"')
  lu.assertStrContains(r.stdout, "1 mistake\n")
  lu.assertEquals(r.code, 1)
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

function T.test_syntax_check_takes_a_result_that_is_kept_for_one()
  for _, last in ipairs {
    "local status =\n  play.main(p, arguments)\nreturn status",
    "--[[\nplay.main(p, arguments)\n]]\nreturn play.main(p, arguments)",
    "return (\nplay.main(p, arguments))",
    "local text = [==[\nplay.main(p)\n]==]\nreturn #text > 0 and\nplay.main(p, arguments)",
  } do
    local r = run(HEAD .. "p:step { 'one', run = print }\n" .. last, "--syntax-check")
    lu.assertEquals(r.code, 0, r.stdout)
  end
  local r = run(HEAD .. "p:step { 'one', run = print } play.main(p, arguments)", "--syntax-check")
  lu.assertStrContains(r.stdout, "site.lua:9: the exit code is lost")
end

function T.test_syntax_check_tells_two_mistakes_of_one_line()
  local line = "p:stp { 'x', run = function() undefind() end }\n"
  local r = run(HEAD .. line .. "return play.main(p, arguments)", "--syntax-check")
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stdout, 'site.lua:9: undefined global "undefind"')
  lu.assertStrContains(r.stdout, "site.lua:9: attempt to call a nil value (method 'stp')")
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
  local answers = { "y" }
  local ask = prompt.new(function() return table.remove(answers) end)
  lu.assertTrue(ask { "one" })
  lu.assertFalse(ask { "two" })
  lu.assertFalse(ask { "three" })
end

function T.test_step_with_nobody_to_answer_is_refused()
  local r = run(HEAD .. SITE, "--step")
  lu.assertEquals(r.code, 64, r.stderr)
  lu.assertStrContains(r.stderr, "there is nobody to answer")
  lu.assertFalse(is_there "packages-mon")
end

function T.test_choices_that_would_run_all_or_nothing_are_refused()
  for _, tags in ipairs { "", ",", " , " } do
    local r = run(HEAD .. SITE, "--tags", tags)
    lu.assertEquals(r.code, 64)
    lu.assertStrContains(r.stderr, "--tags: it names no tag")
  end
  local r = run(HEAD .. SITE, "--start-at", "reload")
  lu.assertEquals(r.code, 64)
  lu.assertStrContains(r.stderr, '--start-at: "reload" is a handler')
  r = run(HEAD .. SITE, "--start-at", "rel*")
  lu.assertEquals(r.code, 64)
  untouched()
end

function T.test_handlers_that_no_chosen_step_notifies_are_not_listed()
  local r = run(HEAD .. SITE, "--list-tasks", "--tags", "config")
  lu.assertEquals(r.code, 0, r.stderr)
  lu.assertStrContains(r.stdout, "config  pg-1, pg-2")
  lu.assertNotStrContains(r.stdout, "reload")
end

function T.test_a_second_play_of_a_script_is_refused_before_the_first_runs()
  local text = HEAD .. [[
local fs = require "pgafrun.fs"
local q = play.new { title = "second", targets = targets }
p:step { "one", run = function(target) fs.write("]] .. folder .. [[/packages-" .. target.name, "") end }
q:step { "two", needs = "nothing", run = print }
local status = play.main(p, arguments)
if status ~= 0 then return status end
return play.main(q, arguments)]]
  local r = run(text)
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stderr, folder .. "/site.lua:10: a script has one play")
  untouched()
  r = run(text, "--syntax-check")
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stdout, folder .. "/site.lua:10: a script has one play")
  lu.assertStrContains(r.stdout, folder .. '/site.lua:12: step "two": it needs "nothing"')
  lu.assertStrContains(r.stdout, "2 mistakes")
end

function T.test_mistakes_in_calls_are_told_at_the_scripts_place()
  local cases = {
    { "return play.main(p)", 8, "play.main wants a play and what cli.parse returned" },
    { "local status = play.main(p)\nreturn status", 9, "play.main wants a play and what cli.parse returned" },
    { "p.step { 'one', run = print }\nreturn play.main(p, arguments)", 9, "a colon is missing: p:step" },
    { "p:step 'one'\nreturn play.main(p, arguments)", 9, "a step is declared by a table, not by a string" },
    { "p:section 'one'\nreturn play.main(p, arguments)", 9, "a section is declared by a table, not by a string" },
  }
  for _, case in ipairs(cases) do
    for _, option in ipairs { "--syntax-check", "--list-tasks" } do
      local r = run(HEAD .. case[1], option)
      lu.assertEquals(r.code, 1)
      lu.assertStrContains(r.stdout .. r.stderr, ("%s/site.lua:%d: %s"):format(folder, case[2], case[3]))
    end
  end
end

function T.test_an_error_that_cannot_be_shown_is_a_failure_of_its_step()
  local r = run(HEAD .. [[
p:step { "one", on = "mon", run = function()
  _G.error(setmetatable({}, { __tostring = function() _G.error "hidden" end }))
end }
p:step { "two", on = "pg-1", run = function() return "went on" end }
return play.main(p, arguments)]])
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stdout, "went on")
  lu.assertStrContains(r.stdout, "FAILED: one on mon")
  lu.assertStrContains(r.stdout, "its __tostring fails")
end

test.run("play_options", T)

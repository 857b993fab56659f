-- Plans: what is refused before anything runs, and in which order what runs.
local error = require "pgafrun.error"
local play = require "pgaf.play"
local report = require "pgaf.play.report"
local resource = require "pgaf.resource"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local plays = dofile(here .. "/support/plays.lua")

local new = plays.new

local T = {}

local function nothing() end

local function refusal(p)
  local ok, raised = pcall(p.plan, p)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "plan"))
  return raised.message
end

local function run(p, options) return plays.run(p, nil, nil, options or {}) end

-- Statuses that are not named have not come.
local function counts(named)
  for _, status in ipairs { "ok", "changed", "failed", "unreachable", "skipped", "would", "deferred" } do
    named[status] = named[status] or 0
  end
  return named
end

-- A step whose state is a flag for each target, and that takes some time.
local function switch(name, state, log, options)
  local step = options or {}
  step[1] = name
  step.probe = function(target) return not state[name .. target.name] and "off" or nil end
  step.apply = function(target)
    log[#log + 1] = "begin " .. name .. " " .. target.name
    task.sleep(step.seconds_for_test or 0.01)
    log[#log + 1] = "end " .. name .. " " .. target.name
    state[name .. target.name] = true
  end
  step.seconds_for_test = nil
  return step
end

local function index_of(log, line)
  for i, one in ipairs(log) do
    if one == line then return i end
  end
  return nil
end

function T.test_every_mistake_is_told_at_once_with_its_place()
  local p = new "a"
  p:step { "one", probe = nothing, need = { "x" } }
  p:step { "two", probe = nothing, needs = { "on" }, on = { "b" } }
  p:step { "two", probe = nothing, resource = nothing, on = {} }
  p:step { "three" }
  local message = refusal(p)
  lu.assertStrContains(message, 'step "one": a step has no field "need", did you mean "needs"?')
  lu.assertStrMatches(message, '.*tests/unit/plan.lua:%d+: step "one".*')
  lu.assertStrContains(message, 'step "two": there is no target or group "b"')
  lu.assertStrContains(message, "a step of this name is already at ")
  lu.assertStrContains(message, "it runs nowhere")
  lu.assertStrContains(message, 'step "three": a step has either a resource')
end

function T.test_a_word_of_playbooks_is_answered_with_its_page()
  local p = new "a"
  p:step { "one", probe = nothing, ignore_errors = true, throttle = 3 }
  local message = refusal(p)
  lu.assertStrContains(message, 'no field "ignore_errors", docs/moving-from-ansible.md tells what stands for it')
  lu.assertStrContains(message, 'no field "throttle", did you mean "max_parallel"?')
end

function T.test_unknown_need_has_a_suggestion()
  local p = new "a"
  p:step { "packages", probe = nothing }
  p:step { "cluster", probe = nothing, needs = { "package" } }
  lu.assertStrContains(refusal(p), 'it needs "package", and there is no such step, did you mean "packages"?')
end

function T.test_cycle_is_shown_as_a_way()
  local p = new("a", "b")
  p:step { "one", probe = nothing, needs = { "three" } }
  p:step { "two", probe = nothing, needs = { "one" } }
  p:step { "three", probe = nothing, needs = { "two" } }
  lu.assertStrContains(refusal(p), "the steps wait for each other: one needs three needs two needs one")
end

function T.test_all_cycles_are_shown_each_once()
  local p = new("a", "b")
  p:step { "one", probe = nothing, needs = "two" }
  p:step { "two", probe = nothing, needs = "one" }
  p:step { "alone", probe = nothing, needs = play.everywhere "alone" }
  p:step { "late", probe = nothing, needs = "restart", notify = "restart" }
  p:handler { "restart", probe = nothing }
  local ok, raised = pcall(p.plan, p)
  lu.assertFalse(ok)
  local message = raised.message
  lu.assertStrContains(message, "the steps wait for each other: one needs two needs one")
  lu.assertStrContains(message, "the steps wait for each other: alone needs alone")
  lu.assertStrContains(message, "the steps wait for each other: late needs restart is notified by late")
  lu.assertEquals(#raised.problems, 3)
end

-- What play.new { ... } is refused for.
local function refused_play(fields)
  local p = play.new(fields)
  p:step { "one", on = "web", probe = nothing }
  return refusal(p)
end

function T.test_what_a_play_says_of_itself_is_checked()
  local message = refused_play { titel = "T", targets = { { name = "n1" } }, max_fial = 0, group = { web = { "n1" } } }
  for wrong, meant in pairs { titel = "title", max_fial = "max_fail", group = "groups" } do
    lu.assertStrContains(message, ('a play has no field "%s", did you mean "%s"?'):format(wrong, meant))
  end
  lu.assertStrMatches(message, ".*tests/unit/plan.lua:%d+: play .*")
  lu.assertNotStrContains(message, "step") -- what follows from it is no mistake of its own
  message = refused_play { title = "T", targets = { { name = "web" } }, max_fail = "10%" }
  lu.assertStrContains(message, 'play "T": max_fail wants a whole number, 0 or more, not string')
  message = refused_play { title = "T", targets = { { name = "web" }, { name = "web" } } }
  lu.assertStrContains(message, 'two of its targets have the name "web"')
  message = refused_play { title = "T", targets = { { name = "n1" } }, groups = { web = { "n2" } } }
  lu.assertStrContains(message, 'its group "web" has "n2", which is none of its targets, did you mean "n1"?')
  message = refused_play { title = "T", targets = { { name = "n1" } }, groups = { web = "n1" } }
  lu.assertStrContains(message, "groups wants for each group a list of targets' names")
  message = refused_play { title = "T" }
  lu.assertStrContains(message, 'play "T": targets is missing')
  lu.assertNotStrContains(message, "step")
  message = refused_play { title = "T", targets = { { name = "n1", groups = "web" } } }
  lu.assertStrContains(message, 'targets wants of target "n1" a list of its groups\' names')
  message = refused_play { title = "T", targets = { "n1" } }
  lu.assertStrContains(message, "targets wants a list of targets, each with its name")
end

function T.test_what_is_declared_by_no_table_is_told_with_its_place()
  local p = new "a"
  p:step "one"
  p:handler "two"
  p:section("three"):step { "four", nedes = "x", probe = nothing }
  local message = refusal(p)
  for _, what in ipairs { "step", "handler", "section" } do
    lu.assertStrMatches(message, (".*tests/unit/plan.lua:%%d+: a %s is declared by a table, .*"):format(what))
  end
  lu.assertStrContains(message, 'a step has no field "nedes"')
  local section = p:section { "s" }
  for name, f in pairs { step = p.step, handler = p.handler, section = p.section, ["step "] = section.step } do
    local ok, raised = pcall(function() f { "one", probe = nothing } end)
    lu.assertFalse(ok)
    lu.assertStrMatches(raised, ".*tests/unit/plan.lua:%d+: a colon is missing: p:" .. name:gsub(" ", "") .. " .*")
  end
  local ok, raised = pcall(function() play.new "title" end)
  lu.assertFalse(ok)
  lu.assertStrMatches(raised, ".*tests/unit/plan.lua:%d+: play.new wants a table.*")
end

function T.test_resources_of_a_step_with_a_misspelt_on_are_checked_too()
  local p = new("a", "b")
  p:step { "one", on = "aa", resource = function() return resource.file { pth = "/x" } end }
  p:step { "two", on = "ab", resource = function(target)
    return resource.file { path = target.name == "b" and "/x" or nil, content = target.nothing.more }
  end }
  p:handler { "three", resource = function() return resource.file { path = 5, content = "" } end }
  local message = refusal(p)
  lu.assertStrContains(message, 'step "one": there is no target or group "aa"')
  lu.assertStrContains(message, 'step "one": file "?": there is no parameter "pth", did you mean "path"?')
  lu.assertStrContains(message, 'handler "three": file')
  lu.assertNotStrContains(message, 'step "two": its resource')
end

function T.test_nothing_runs_when_the_plan_is_wrong()
  local p, ran = new "a", false
  p:step { "one", probe = function() ran = true end }
  p:step { "two", probe = nothing, needs = { "nowhere" } }
  refusal(p)
  lu.assertFalse(ran)
end

function T.test_second_run_changes_nothing_and_says_so()
  local p, state, log = new("a", "b"), {}, {}
  p:step(switch("one", state, log))
  p:step(switch("two", state, log, { needs = { "one" } }))
  local result, text = run(p)
  lu.assertEquals(result.counts.changed, 4)
  lu.assertStrContains(text, "4 changes in ")
  result, text = run(p)
  lu.assertEquals(result.counts, counts { ok = 4 })
  lu.assertStrMatches(text, "nothing changed in %d+%.%d%d s")
end

function T.test_independent_steps_run_side_by_side_and_needs_are_kept()
  local p, state, log = new("a", "b"), {}, {}
  p:step(switch("one", state, log))
  p:step(switch("two", state, log, { needs = { "one" } }))
  p:step(switch("all", state, log, { needs = { play.everywhere "two" }, on = { "a" } }))
  run(p)
  lu.assertEquals({ log[1], log[2] }, { "begin one a", "begin one b" })
  lu.assertTrue(index_of(log, "end one a") < index_of(log, "begin two a"))
  lu.assertTrue(index_of(log, "end two a") < index_of(log, "begin all a"))
  lu.assertTrue(index_of(log, "end two b") < index_of(log, "begin all a"))
end

function T.test_a_step_of_another_target_is_needed_there()
  local p, state, log = new("monitor", "n1"), {}, {}
  p:step(switch("monitor up", state, log, { on = { "monitor" } }))
  p:step(switch("register", state, log, { on = { "n1" }, needs = { "monitor up" } }))
  run(p)
  lu.assertEquals(log[#log], "end register n1")
  lu.assertEquals(log[2], "end monitor up monitor")
end

function T.test_a_step_is_needed_on_named_targets_whichever_this_one_is()
  local p, state, log = new("monitor", "n1", "n2"), {}, {}
  p:step(switch("up", state, log, { serial = 1 }))
  p:step(switch("begin", state, log, { needs = { "up", play.on("up", "n1") } }))
  run(p)
  lu.assertTrue(index_of(log, "end up n1") < index_of(log, "begin begin monitor"))
  lu.assertTrue(index_of(log, "begin begin monitor") < index_of(log, "end up n2"))
  lu.assertTrue(index_of(log, "end up n2") < index_of(log, "begin begin n2"))
end

function T.test_what_is_needed_on_named_targets_has_to_run_there()
  local p = new("monitor", "n1")
  p:step { "up", on = "n1", run = print }
  p:step { "one", needs = { play.on("up", "monitor") }, run = print }
  p:step { "two", needs = play.on("up", { "monitro" }), run = print }
  p:step { "three", needs = { { "up", on = 7 } }, run = print }
  local text = refusal(p)
  lu.assertStrContains(text, 'step "one": it needs "up" where that does not run')
  lu.assertStrContains(text, 'step "two": it needs "up": there is no target or group "monitro", did you mean "mon')
  lu.assertStrContains(text, 'step "three": needs')
end

function T.test_a_failed_node_drops_out_and_others_go_on()
  local p, state, log = new("a", "b"), {}, {}
  p:step {
    "one", probe = function() return "differs" end,
    apply = function(target)
      if target.name == "a" then error.raise { kind = "command", message = "it broke", hint = "mend it" } end
      state.b = true
    end,
    settles = true,
  }
  p:step(switch("two", state, log, { needs = { "one" } }))
  p:step(switch("all", state, log, { needs = { play.everywhere "one" }, on = { "b" } }))
  local result, text = run(p)
  lu.assertTrue(result.failed)
  lu.assertEquals(result.counts, counts { changed = 2, failed = 1, skipped = 2 })
  lu.assertEquals(log, { "begin two b", "end two b" })
  lu.assertStrContains(text, "FAILED: one on a")
  lu.assertStrContains(text, "it broke [command]")
  lu.assertStrContains(text, "hint: mend it")
  lu.assertStrContains(text, "after the failure of one on a")
  lu.assertStrContains(text, "1 failed, 2 left out, 2 other changes")
end

function T.test_what_was_applied_and_still_differs_has_failed()
  local p = new "a"
  p:step { "one", probe = function() return "still wrong" end, apply = nothing }
  local result, text = run(p)
  lu.assertTrue(result.failed)
  lu.assertStrContains(text, "was applied, and still differs: still wrong [verify]")
end

function T.test_a_step_past_its_time_has_failed_and_the_run_goes_on()
  local p, state, log = new("a", "b"), {}, {}
  p:step { "slow", on = { "a" }, timeout = 0.05, ensure = function() task.sleep(60) end }
  p:step(switch("other", state, log, { on = { "b" } }))
  local result, text = run(p)
  lu.assertEquals(result.counts.failed, 1)
  lu.assertEquals(result.counts.changed, 1)
  lu.assertStrContains(text, "FAILED: slow on a")
  lu.assertStrContains(text, "[timeout deadline]")
end

function T.test_the_time_of_a_step_holds_for_its_condition_too()
  local p = new "a"
  p:step { "one", timeout = 0.01, run = nothing, when = function()
    task.sleep(60)
    return true
  end }
  local result = run(p)
  lu.assertEquals(result.counts.failed, 1)
  lu.assertEquals(result.items[1].error.kind, "timeout")
end

function T.test_cancellation_ends_the_run()
  local p = new "a"
  p:step { "slow", ensure = function() task.sleep(60) end }
  local ended
  local lines = {}
  do
    local group <close> = task.group {}
    local running = group:spawn(function()
      local ok, raised = pcall(function()
        p:plan():run(report.new { write = function(line) lines[#lines + 1] = line end })
      end)
      ended = not ok and raised
      _G.error(raised, 0)
    end)
    task.sleep(0.02)
    running:cancel()
  end
  lu.assertTrue(error.is(ended, "cancelled"))
  lu.assertStrContains(lines[#lines], "interrupted in: slow on a. The same run again goes on from there.")
end

function T.test_when_leaves_a_step_out_and_not_what_needs_it()
  local p, state, log = new "a", {}, {}
  p:step(switch("one", state, log, { when = function() return false, "not here" end }))
  p:step(switch("two", state, log, { needs = { "one" } }))
  local result, text = run(p, { verbose = true })
  lu.assertEquals(result.counts.skipped, 1)
  lu.assertEquals(result.counts.changed, 1)
  lu.assertStrContains(text, "not here")
end

function T.test_waiting_is_no_change()
  local p, asked = new "a", 0
  p:step { "whole", probe = function() return "not yet" end, wait = function() asked = asked + 1 end }
  local result = run(p)
  lu.assertEquals(result.counts.ok, 1)
  lu.assertEquals(asked, 1)
end

function T.test_a_mistake_in_a_script_is_told_with_its_place_and_with_vv_its_traceback()
  local p = new "a"
  p:step { "bad", probe = function() return ({}).missing.field end }
  local _, text = run(p)
  lu.assertStrContains(text, "attempt to index a nil value")
  lu.assertStrMatches(text, ".*\n  at +[^\n]*tests/unit/plan.lua:%d+\n.*")
  lu.assertNotStrContains(text, "stack traceback")
  _, text = run(p, { verbosity = 2 })
  lu.assertStrContains(text, "stack traceback")
end

function T.test_json_is_one_event_a_line()
  local json = require "pgafrun.json"
  local p, state, log = new "a", {}, {}
  p:step(switch("one", state, log))
  local _, text = run(p, { json = true })
  local events = {}
  for line in text:gmatch("[^\n]+") do
    local event = json.decode(line)
    events[#events + 1] = event.event .. (event.status and " " .. event.status or "")
  end
  lu.assertEquals(events, { "begin", "started", "finished changed", "recap" })
end

test.run("plan", T)

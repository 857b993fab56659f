-- What steps say about how they are done: sections, groups, retries, batches, handlers, results, limits of failures.
local error = require "pgafrun.error"
local play = require "pgaf.play"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local plays = dofile(here .. "/support/plays.lua")

local new, run = plays.new, plays.run

local T = {}

-- A step that always changes something and notes that it ran.
local function noting(log, name, fields)
  local step = fields or {}
  step[1] = name
  step.run = step.run or function(target)
    log[#log + 1] = name .. " " .. target.name
    return true
  end
  return step
end

local function failing(name, fields)
  local step = fields or {}
  step[1] = name
  step.run = function(target)
    error.raise { kind = "command", message = "broken on " .. target.name }
  end
  return step
end

local function statuses(result)
  local list = {}
  for i, item in ipairs(result.items) do list[i] = ("%s %s %s"):format(item.step[1], item.target.name, item.status) end
  return list
end

local function refusal(p)
  local ok, raised = pcall(p.plan, p)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "plan"))
  return raised.message
end

-- ------------------------------------------------------------------------------------------------- where steps run

function T.test_group_expressions_choose_targets_in_the_plays_order()
  local targets = plays.targets("mon", "pg-1", "pg-2", "pg-3")
  targets[1].groups, targets[2].groups, targets[3].groups = { "monitor" }, { "data", "quorum" }, { "data", "quorum" }
  targets[4].groups = { "data" }
  local function on(expression)
    local log = {}
    local p = play.new { title = "test", targets = targets, groups = { first = { "pg-1" } } }
    p:step(noting(log, "x", { on = expression }))
    run(p)
    for i, line in ipairs(log) do log[i] = line:sub(3) end
    return table.concat(log, " ")
  end
  lu.assertEquals(on "all", "mon pg-1 pg-2 pg-3")
  lu.assertEquals(on "data:monitor", "mon pg-1 pg-2 pg-3")
  lu.assertEquals(on "data,monitor", "mon pg-1 pg-2 pg-3")
  lu.assertEquals(on "data:&quorum", "pg-1 pg-2")
  lu.assertEquals(on "all:!monitor:!pg-2", "pg-1 pg-3")
  lu.assertEquals(on "!data", "mon")
  lu.assertEquals(on "pg-*", "pg-1 pg-2 pg-3")
  lu.assertEquals(on "pg-[13]", "pg-1 pg-3")
  lu.assertEquals(on "pg-[1-2]", "pg-1 pg-2")
  lu.assertEquals(on "pg-?:!first", "pg-2 pg-3")
  lu.assertEquals(on { "pg-3", "mon" }, "mon pg-3")
  lu.assertEquals(on { "data", "!pg-3" }, "pg-1 pg-2")
end

function T.test_unknown_groups_and_empty_choices_are_refused()
  local p = play.new { title = "test", targets = plays.targets("pg-1"), groups = { data = { "pg-1" }, monitor = {} } }
  p:step { "one", on = "dat", run = print }
  p:step { "two", on = "x-*", run = print }
  p:step { "three", on = "monitor", run = print }
  p:step { "four", needs = "three", run = print }
  local message = refusal(p)
  lu.assertStrContains(message, 'step "one": there is no target or group "dat", did you mean "data"?')
  lu.assertStrContains(message, 'step "two": no target or group matches "x-*"')
  lu.assertStrContains(message, 'step "three": it runs nowhere: no target is in "monitor"')
  lu.assertStrContains(message, 'step "four": it needs "three", which runs nowhere')
end

function T.test_resources_that_cannot_be_made_are_mistakes_of_the_plan()
  local p = new("a", "b")
  p:step { "none", on = "a", resource = function() end }
  p:step { "text", on = "a", resource = function() return "x" end }
  p:step { "raises", resource = function(target) return target.nothing.more end }
  p:step { "no probe", on = "a", resource = { { prob = print } } }
  p:step { "reads", on = "a", probe = print, reads = function() return nil .. "x" end }
  p:step { "none at all", resource = {} }
  local message = refusal(p)
  lu.assertStrContains(message, 'step "none": its resource for a is nothing')
  lu.assertStrContains(message, 'step "text": its resource for a is a string')
  lu.assertStrContains(message, 'step "raises": its resource could not be made for b: ')
  lu.assertStrContains(message, 'step "no probe": the first of its resources has neither probe nor ensure, but "prob"')
  lu.assertStrContains(message, 'step "reads": its facts\' names (reads) could not be made for a: ')
  lu.assertNotStrContains(message, "none at all")
end

function T.test_a_sections_words_hold_for_its_steps()
  local p, log = new("a", "b"), {}
  local part = p:section { "The machines", on = "a", tags = "machines", when = function() return true end }
  part:step(noting(log, "one", { tags = { "own" } }))
  part:step(noting(log, "two", { on = "b", when = function() return false, "not b" end }))
  local result = run(p)
  lu.assertEquals(statuses(result), { "one a changed", "two b skipped" })
  lu.assertEquals(result.items[1].step.tags, { "machines", "own" })
  lu.assertEquals(result.items[1].step.section, "The machines")
  -- planned a second time, nothing is inherited twice
  run(p)
  lu.assertEquals(result.items[1].step.tags, { "machines", "own" })
end

function T.test_run_once_runs_on_the_first_and_its_result_is_everybodys()
  local p, log = new("a", "b"), {}
  p:step(noting(log, "once", { run_once = true, run = function(target) return "from " .. target.name end }))
  p:step { "each", needs = "once", run = function(_, results) log[#log + 1] = results["once"] end }
  local result = run(p)
  lu.assertEquals(statuses(result), { "once a changed", "each a changed", "each b changed" })
  lu.assertEquals(log, { "from a", "from a" })
  lu.assertEquals(run(p, nil, { limit = { "b" } }).items[1].target.name, "b")
end

-- ------------------------------------------------------------------------------------------------------------ values

function T.test_results_of_earlier_steps_are_values()
  local p, seen = new("a", "b"), {}
  p:step { "port", check_safe = true, run = function(target) return { port = target.name == "a" and 1 or 2 } end }
  p:step { "quiet", run = function() return 7, false end }
  p:step {
    "use", on = "a", needs = { play.everywhere "port", "quiet" },
    when = function(_, results) return results["port"].port == 1 end,
    run = function(_, results)
      seen = { results["port"].port, results:of("port", "b").port, results["quiet"], results:changed "quiet" }
      return nil, "used them"
    end,
  }
  local result = run(p)
  lu.assertEquals(seen, { 1, 2, 7, false })
  lu.assertEquals(statuses(result), { "port a ok", "port b ok", "quiet a ok", "quiet b ok", "use a changed" })
  lu.assertEquals(result.items[5].detail, "used them")
end

function T.test_a_result_that_cannot_be_known_is_never_guessed()
  local p = new "a"
  p:step { "one", run = function() task.sleep(0.01) end }
  p:step { "two", run = function(_, results) return results["one"] end }
  p:step { "three", needs = "one", run = function(_, results) return results["onne"] end, on = "a" }
  local result, text = run(p)
  lu.assertEquals(result.counts.failed, 1)
  lu.assertStrContains(text, "one on a has not ended, and its result is asked for")
  lu.assertStrContains(text, 'needs = { "one" }')
  p = new "a"
  p:step { "one", tags = "x", run = function() return 1 end }
  p:step { "two", tags = "y", needs = "one", run = function(_, results) return results["one"] end }
  result, text = run(p, nil, { tags = { "y" } })
  lu.assertTrue(result.failed)
  lu.assertStrContains(text, "one on a is left out of this run")
  p = new "a"
  p:step { "one", run = function() return 1 end }
  p:step { "two", needs = "one", run = function(_, results) return results["onne"] end }
  result, text = run(p)
  lu.assertTrue(result.failed)
  lu.assertStrContains(text, 'there is no step "onne" whose result could be known, did you mean "one"?')
end

-- ----------------------------------------------------------------------------------------------------------- retries

function T.test_a_step_is_tried_again_until_it_is_so()
  local p, tries = new "a", 0
  p:step {
    "count", retries = 5, delay = 0, until_ = function(value) return value >= 3 end, notify = "told",
    run = function()
      tries = tries + 1
      return tries
    end,
  }
  p:handler { "told", run = function() end }
  local result, text = run(p)
  lu.assertEquals(tries, 3)
  lu.assertEquals(statuses(result), { "count a changed", "told a changed" })
  lu.assertEquals(result.items[1].attempt, 3)
  lu.assertStrContains(text, "attempt 1")
  p = new "a"
  p:step { "count", delay = 0, until_ = function() return false end, run = function() return "no" end }
  result, text = run(p)
  lu.assertEquals(result.counts.failed, 1)
  lu.assertStrContains(text, "not so after 4 attempts: it came to no")
end

function T.test_a_failure_is_tried_again_and_a_mistake_in_the_script_is_not()
  local p, tries, mistakes = new("a", "b"), 0, 0
  p:step {
    "flaky", on = "a", retries = 2, delay = 0,
    run = function()
      tries = tries + 1
      if tries < 3 then error.raise { kind = "network", message = "away" } end
    end,
  }
  p:step {
    "wrong", on = "b", retries = 5, delay = 0,
    run = function()
      mistakes = mistakes + 1
      return nil .. "x"
    end,
  }
  local result = run(p)
  lu.assertEquals(statuses(result), { "flaky a changed", "wrong b failed" })
  lu.assertEquals({ tries, mistakes }, { 3, 1 })
end

-- ---------------------------------------------------------------------------------------------------------- handlers

function T.test_a_handler_runs_once_after_all_that_may_notify_it()
  local p, log = new("a", "b"), {}
  p:handler(noting(log, "restart"))
  p:step(noting(log, "one", { notify = "restart" }))
  p:step(noting(log, "two", { needs = "one", notify = { "restart" }, run = function(target)
    task.sleep(0.005)
    log[#log + 1] = "two " .. target.name
    return nil, target.name == "a"
  end }))
  p:step { "same", on = "b", notify = "restart", probe = function() end }
  p:step { "after", needs = "restart", on = "a", run = function() log[#log + 1] = "after a" end }
  local result = run(p)
  lu.assertEquals(result.counts.failed, 0)
  local count, last = {}, {}
  for i, line in ipairs(log) do
    count[line], last[line] = (count[line] or 0) + 1, i
  end
  lu.assertEquals({ count["restart a"], count["restart b"] }, { 1, 1 })
  lu.assertTrue(last["restart a"] > last["two a"])
  lu.assertTrue(last["after a"] > last["restart a"])
end

function T.test_a_handler_that_nobody_notified_does_not_run()
  local p, log = new "a", {}
  p:step { "same", probe = function() end, notify = "restart" }
  p:handler(noting(log, "restart"))
  p:handler(noting(log, "unused"))
  local result = run(p)
  lu.assertEquals(statuses(result), { "same a ok", "restart a skipped" })
  lu.assertEquals(log, {})
end

function T.test_a_handler_runs_in_spite_of_a_later_failure_elsewhere_and_is_told_where_it_did_not()
  local p, log = new("a", "b"), {}
  p:step(noting(log, "config", { notify = "restart" }))
  p:step(failing("check", { on = "a", needs = "config", notify = "restart" }))
  p:handler(noting(log, "restart"))
  local result, text = run(p)
  lu.assertEquals(statuses(result), {
    "config a changed", "config b changed", "check a failed", "restart a skipped", "restart b changed",
  })
  lu.assertStrContains(text, "notified by config, and not run: after the failure of check on a")
  lu.assertEquals(#result.not_run, 1)
end

function T.test_what_changed_a_part_before_it_failed_has_notified()
  local p = new "a"
  local part = { probe = function() return "differs" end, apply = function() end, settles = true }
  local broken = { probe = function() error.raise { kind = "command", message = "no" } end }
  p:step { "both", resource = { part, broken }, notify = "restart" }
  p:handler { "restart", run = print }
  local result, text = run(p)
  lu.assertEquals(#result.not_run, 1)
  lu.assertStrContains(text, "notified by both, and not run")
end

local function changing_on(name, where, fields)
  fields[1], fields.run = name, function(target) return nil, target.name == where end
  return fields
end

function T.test_a_handler_that_runs_once_does_whoever_notified_it()
  local p, log = new("a", "b", "c"), {}
  p:step(changing_on("config", "b", { notify = "restart" }))
  p:step(changing_on("other", "b", { notify = "restart" }))
  p:handler(noting(log, "restart", { run_once = true }))
  run(p)
  lu.assertEquals(log, { "restart a" })
end

function T.test_a_handler_notified_where_it_does_not_run_runs_on_all_of_its_own_targets()
  local p, log = new("a", "b", "c"), {}
  p:step(changing_on("config", "c", { notify = "restart" }))
  p:step(changing_on("quiet", "none", { on = "c", notify = "unused" }))
  p:step(noting(log, "last", { on = "a", needs = "restart" }))
  p:handler(noting(log, "restart", { on = "a:b" }))
  p:handler(noting(log, "unused", { on = "a" }))
  local result = run(p)
  lu.assertEquals(result.counts.failed, 0)
  local at = {}
  for i, line in ipairs(log) do at[line] = i end
  lu.assertTrue(at["last a"] > at["restart a"])
  table.sort(log)
  lu.assertEquals(log, { "last a", "restart a", "restart b" })
end

function T.test_what_was_notified_and_is_left_out_is_told()
  local p, log = new("a", "b"), {}
  p:step(changing_on("config", "b", { notify = "restart" }))
  p:handler(noting(log, "restart", { on = "a" }))
  local result, text = run(p, nil, { limit = { "b" } })
  lu.assertEquals(log, {})
  lu.assertEquals(#result.not_run, 1)
  lu.assertStrContains(text, "notified, and not run: restart on a")
end

function T.test_misspelt_handlers_are_refused()
  local p = new("a", "b")
  p:handler { "restart", on = "b", run = print }
  p:step { "one", run = print, notify = "restrat" }
  p:step { "two", on = "a", run = print, notify = "restart" }
  p:step { "three", run = print, notify = "one" }
  local message = refusal(p)
  lu.assertStrContains(message, 'it notifies "restrat", and there is no such handler, did you mean "restart"?')
  lu.assertNotStrContains(message, 'step "two"')
  lu.assertStrContains(message, 'step "three": it notifies "one", and there is no such handler')
end

-- ------------------------------------------------------------------------------------------------ batches and limits

-- How many ran at the same time, and in which order they began.
local function crowd()
  local state = { now = 0, most = 0, began = {} }
  function state.run(target)
    state.now = state.now + 1
    state.most = math.max(state.most, state.now)
    state.began[#state.began + 1] = target.name
    task.sleep(0.003)
    state.now = state.now - 1
    if state.fails == target.name then error.raise { kind = "command", message = "broken" } end
  end
  return state
end

function T.test_serial_goes_batch_by_batch()
  local p, state = new("a", "b", "c", "d", "e"), crowd()
  p:step { "rolling", serial = 2, run = state.run }
  local result = run(p)
  lu.assertEquals(result.counts.changed, 5)
  lu.assertEquals(state.most, 2)
  lu.assertEquals(state.began, { "a", "b", "c", "d", "e" })
end

function T.test_a_failed_batch_stops_the_later_ones()
  local p, state = new("a", "b", "c", "d", "e"), crowd()
  state.fails = "c"
  p:step { "rolling", serial = 2, run = state.run }
  local result, text = run(p)
  lu.assertEquals(statuses(result), {
    "rolling a changed", "rolling b changed", "rolling c failed", "rolling d changed", "rolling e skipped",
  })
  lu.assertStrContains(text, "after the failure of rolling on c")
end

function T.test_who_dropped_out_before_stops_no_batch()
  local p, state = new("a", "b", "c"), crowd()
  p:step(failing("check", { on = "a" }))
  p:step { "rolling", serial = 1, needs = "check", run = state.run, on = "b:c" }
  p:step { "again", serial = 1, run = state.run, needs = "rolling" }
  local result = run(p)
  lu.assertEquals(result.counts.failed, 1)
  lu.assertEquals(state.began, {})
  p, state = new("a", "b", "c"), crowd()
  p:step(failing("check", { on = "a" }))
  p:step { "before", run = state.run }
  p:step { "rolling", serial = 1, needs = "before", run = state.run }
  result = run(p)
  lu.assertEquals(statuses(result), {
    "check a failed", "before a changed", "before b changed", "before c changed", "rolling a skipped",
    "rolling b changed", "rolling c changed",
  })
end

function T.test_a_sections_batch_goes_through_all_its_steps_first()
  local p, log = new("a", "b"), {}
  local part = p:section { "rolling", serial = 1 }
  part:step(noting(log, "stop"))
  part:step(noting(log, "start", { needs = "stop" }))
  run(p)
  lu.assertEquals(log, { "stop a", "start a", "stop b", "start b" })
end

function T.test_a_section_in_batches_that_waits_for_itself_is_a_cycle()
  local p = new("a", "b")
  local part = p:section { "rolling", serial = 1 }
  part:step { "stop", run = print }
  part:step { "start", needs = { play.everywhere "stop" }, run = print }
  lu.assertStrContains(refusal(p), "the steps wait for each other: ")
end

function T.test_max_parallel_lets_so_many_run_side_by_side()
  local p, state = new("a", "b", "c", "d", "e", "f", "g"), crowd()
  p:step { "few", max_parallel = 3, run = state.run }
  local result = run(p)
  lu.assertEquals(result.counts.changed, 7)
  lu.assertEquals(state.most, 3)
end

function T.test_max_parallel_goes_on_after_failures()
  local p, state = new("a", "b", "c", "d"), crowd()
  p:step { "bad", on = "c", run = function() error.raise { kind = "command", message = "no" } end }
  p:step { "few", max_parallel = 1, run = state.run }
  local result = run(p)
  lu.assertEquals(result.counts.failed, 1)
  lu.assertEquals(result.counts.changed, 3)
  lu.assertEquals(state.began, { "a", "b", "d" })
end

function T.test_max_fail_ends_the_run()
  local p, log = new("a", "b", "c", "d"), {}
  p.max_fail = 1
  p:step { "check", run = function(target)
    if target.name <= "b" then error.raise { kind = "command", message = "no" } end
  end }
  p:step(noting(log, "work", { needs = "check" }))
  local result, text = run(p)
  lu.assertEquals(result.counts.failed, 2)
  lu.assertEquals(log, {})
  lu.assertStrContains(text, "2 targets have failed, and at most 1 may")
  p.max_fail = 2
  result = run(p)
  lu.assertEquals(log, { "work c", "work d" })
  lu.assertTrue(result.failed)
end

-- ------------------------------------------------------------------------------------------------------- selections

function T.test_tags_choose_as_operators_know_it()
  local p = new "a"
  for name, tags in pairs { plain = {}, web = { "web" }, always = { "always" }, never = { "never", "debug" } } do
    p:step { name, tags = tags, run = function() end }
  end
  local function chosen(selection)
    local names = {}
    for i, item in ipairs(p:plan(selection).items) do names[i] = item.step[1] end
    table.sort(names)
    return table.concat(names, " ")
  end
  lu.assertEquals(chosen {}, "always plain web")
  lu.assertEquals(chosen { tags = { "web" } }, "always web")
  lu.assertEquals(chosen { tags = { "debug" } }, "always never")
  lu.assertEquals(chosen { tags = { "never" } }, "always never")
  lu.assertEquals(chosen { skip_tags = { "web" } }, "always plain")
  lu.assertEquals(chosen { skip_tags = { "always" } }, "plain web")
  lu.assertEquals(chosen { tags = { "all" } }, "always plain web")
  lu.assertEquals(chosen { tags = { "tagged" } }, "always web")
  lu.assertEquals(chosen { tags = { "untagged" } }, "always plain")
  lu.assertEquals(chosen { tags = { "web", "debug" }, skip_tags = { "never" } }, "always web")
end

function T.test_misspelt_choices_are_usage_errors_told_together()
  local p = new("pg-1", "pg-2")
  p:step { "packages", tags = "install", run = function() lu.fail "touched" end }
  local ok, raised = pcall(p.plan, p, {
    tags = { "instal" }, skip_tags = { "nothing-like-it" }, limit = { "pg-3" }, start_at = "package",
  })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "usage"))
  lu.assertStrContains(raised.message, '--tags: there is no tag "instal", did you mean "install"?')
  lu.assertStrContains(raised.message, '--skip-tags: there is no tag "nothing-like-it"')
  lu.assertStrContains(raised.message, '--limit: there is no target or group "pg-3", did you mean "pg-1"?')
  lu.assertStrContains(raised.message, '--start-at: there is no step "package", did you mean "packages"?')
end

function T.test_order_goes_through_what_is_left_out()
  local p, log = new("a", "b"), {}
  p:step(noting(log, "one", { tags = "x", run = function(target)
    task.sleep(0.005)
    log[#log + 1] = "one " .. target.name
  end }))
  p:step(noting(log, "two", { needs = "one" }))
  p:step(noting(log, "three", { tags = "x", needs = "two" }))
  local result = run(p, nil, { tags = { "x" }, limit = { "a" } })
  lu.assertEquals(log, { "one a", "three a" })
  lu.assertEquals(statuses(result), { "one a changed", "three a changed" })
end

function T.test_start_at_leaves_out_what_is_declared_before()
  local p, log = new "a", {}
  p:step(noting(log, "one"))
  p:step(noting(log, "two", { needs = "one" }))
  p:step(noting(log, "three"))
  run(p, nil, { start_at = "two" })
  table.sort(log)
  lu.assertEquals(log, { "three a", "two a" })
  log[1], log[2] = nil, nil
  run(p, nil, { start_at = "th*" })
  lu.assertEquals(log, { "three a" })
end

function T.test_a_step_that_others_learn_from_is_looked_at_and_not_changed()
  local p, known, log = new "a", nil, {}
  local state = "secret"
  p:step {
    "password", tags = "x", learns = true,
    probe = function()
      known = state
      return not state and "there is none" or nil
    end,
    apply = function() log[#log + 1] = "made one" end,
  }
  p:step { "config", tags = "y", needs = "password", run = function() log[#log + 1] = "with " .. known end }
  run(p, nil, { tags = { "y" } })
  lu.assertEquals(log, { "with secret" })
  state = nil
  local result, text = run(p, nil, { tags = { "y" } })
  lu.assertEquals(log, { "with secret" })
  lu.assertEquals(statuses(result), { "password a failed", "config a skipped" })
  lu.assertStrContains(text, "it is left out, and not as wanted: there is none")
end

function T.test_it_is_not_looked_at_for_those_that_are_left_out_themselves()
  local p, log = new "a", {}
  p:step {
    "password", tags = "x", learns = true, probe = function() return "there is none" end, apply = function() end,
  }
  p:step(noting(log, "config", { tags = "y", needs = "password", notify = "reload" }))
  p:step(noting(log, "machine", { tags = "z" }))
  p:handler(noting(log, "reload"))
  local result = run(p, nil, { tags = { "z" } })
  lu.assertFalse(result.failed)
  lu.assertEquals(log, { "machine a" })
end

-- ------------------------------------------------------------------------------------------------- failures and size

function T.test_a_machine_that_is_away_is_unreachable_and_no_failure_of_the_step()
  local targets = plays.targets("gone", "up", "server-gone")
  targets[1].node = { status = function() return "stopped" end }
  targets[2].node = { status = function() return "running" end }
  targets[3].node = { status = function() error.raise { kind = "network", message = "no route" } end }
  local p = play.new { title = "test", targets = targets }
  p:step { "ask", run = function() error.raise { kind = "closed", message = "the connection ended" } end }
  p:step { "next", needs = "ask", run = function() lu.fail "went on" end }
  local result = run(p)
  lu.assertTrue(result.failed)
  lu.assertEquals(statuses(result), {
    "ask gone unreachable", "ask up failed", "ask server-gone unreachable", "next gone skipped", "next up skipped",
    "next server-gone skipped",
  })
  -- a step that makes the machine is not excused by its absence
  p = play.new { title = "test", targets = targets, max_fail = 9 }
  p:step { "launch", on = "gone", makes_target = true, run = function()
    error.raise { kind = "timeout", message = "no address" }
  end }
  lu.assertEquals(statuses((run(p))), { "launch gone failed" })
end

function T.test_an_interruption_names_the_handlers_that_are_still_to_run()
  local p = new "a"
  p:step { "config", notify = "restart", run = function() end }
  p:step { "slow", needs = "config", notify = "restart", run = function() task.sleep(60) end }
  p:handler { "restart", run = function() lu.fail "ran" end }
  local plan, told = p:plan(), nil
  local heard = setmetatable({
    interrupted = function(_, items, notified)
      told = { items[1].step[1], notified[1] and notified[1].step[1] }
    end,
  }, { __index = function() return function() end end })
  heard.heartbeat = 60
  local ok = pcall(function()
    local group <close> = task.group {}
    local running = group:spawn(plan.run, plan, heard)
    task.sleep(0.01)
    running:cancel()
  end)
  lu.assertTrue(ok)
  lu.assertEquals(told, { "slow", "restart" })
end

-- ------------------------------------------------------------------------------------------- the right to change it

-- Each way in which a step may change something: as wanted already where `so`.
local function each_way(log, so)
  local p = new "a"
  local function note(name) log[#log + 1] = name end
  local function probe() return not so and "differs" or nil end
  p:step { "applies", settles = true, probe = probe, apply = function() note "applied" end }
  p:step { "ensures", probe = probe, ensure = function() note "ensured" end }
  p:step { "runs", settles = true, probe = probe, run = function() note "ran" end }
  p:step { "waits", probe = function() return "not yet" end, wait = function() note "waited" end }
  p:step { "reads", check_safe = true, run = function() note "read" end }
  return p
end

function T.test_nothing_is_held_before_there_is_something_to_change()
  local log = {}
  local mode = { before_change = function() log[#log + 1] = "held" end }
  run(each_way(log, true), mode)
  lu.assertEquals(log, { "ensured", "waited", "read" })
  log = {}
  run(each_way(log, false), mode)
  lu.assertEquals(log, { "held", "applied", "held", "ensured", "held", "ran", "waited", "read" })
end

function T.test_who_may_not_change_it_changes_nothing_and_the_run_ends()
  local log = {}
  local p = new("a", "b")
  p:step { "unknown", retries = 3, delay = 0, run = function() log[#log + 1] = "ran" end }
  p:step(noting(log, "later"))
  local ok, raised = pcall(run, p, {
    before_change = function() error.raise { kind = "locked", message = "is being changed by eve" } end,
  })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "locked"), tostring(raised))
  lu.assertEquals(log, {})
end

function T.test_no_is_an_answer_that_leaves_out_one_step()
  local p, log = new("a", "b"), {}
  p:step(noting(log, "one"))
  p:step(noting(log, "two", { needs = "one" }))
  local result = run(p, { ask = function(step) return step[1] ~= "one" end })
  lu.assertEquals(result.counts.skipped, 2)
  lu.assertEquals(#log, 2)
end

-- Not a timing: how many edges there are decides how long it takes.
function T.test_the_graph_grows_with_the_targets_and_not_with_their_square()
  local function edges(count)
    local names = {}
    for i = 1, count do names[i] = "n" .. i end
    local p = new(table.unpack(names))
    p:step { "one", run = print, notify = "told" }
    p:step { "two", needs = { play.everywhere "one" }, run = print }
    p:step { "three", needs = { play.everywhere "two", "one" }, serial = 5, run = print }
    p:handler { "told", run = print }
    local total = 0
    for _, item in ipairs(p:plan().all) do total = total + #item.after end
    return total
  end
  lu.assertTrue(edges(200) <= 11 * edges(20), ("%d beside %d"):format(edges(200), edges(20)))
end

function T.test_a_failure_that_sets_thousands_free_does_not_overflow()
  local names = {}
  for i = 1, 3000 do names[i] = "n" .. i end
  local p = new(table.unpack(names))
  p:step { "rolling", serial = 1, run = function() error.raise { kind = "command", message = "no" } end }
  local result = run(p)
  lu.assertEquals(result.counts.failed, 1)
  lu.assertEquals(result.counts.skipped, 2999)
end

test.run("play_steps", T)

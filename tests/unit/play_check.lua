-- Check mode: probes for real, nothing applied, and what cannot be known yet said to be so.
local error = require "pgafrun.error"
local play = require "pgaf.play"
local test = require "pgaf.test"
local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local plays = dofile(here .. "/support/plays.lua")

local new = plays.new

local T = {}

local function run(p, mode) return plays.run(p, mode or { check = true }) end

-- "step target status: detail" of each item.
local function told(result)
  local list = {}
  for i, item in ipairs(result.items) do
    list[i] = ("%s %s %s%s"):format(item.step[1], item.target.name, item.status,
      type(item.detail) == "string" and ": " .. item.detail or "")
  end
  return list
end

local function refuse_to_apply() lu.fail "something was applied" end

local function differing(name, fields)
  local step = fields or {}
  step[1], step.probe, step.apply = name, function() return name .. " differs" end, refuse_to_apply
  return step
end

local function raising(name, fields)
  local step = fields or {}
  step[1], step.apply = name, refuse_to_apply
  step.probe = function() error.raise { kind = "missing", message = "no such file" } end
  return step
end

local function quiet(name, fields)
  local step = fields or {}
  step[1], step.probe, step.apply = name, function() end, refuse_to_apply
  return step
end

function T.test_nothing_is_applied_and_what_differs_is_told()
  local p = new "a"
  p:step(quiet "one")
  p:step(differing "two")
  local result, text = run(p)
  lu.assertEquals(told(result), { "one a ok", "two a would: two differs" })
  lu.assertFalse(result.failed)
  lu.assertStrContains(text, "would")
end

function T.test_a_probe_that_needs_what_is_to_come_is_deferred()
  local p = new("a", "b")
  p:step(differing("first", { on = "a" }))
  p:step(quiet("between", { needs = "first", on = "a" }))
  p:step(raising("last", { needs = "between", on = "a" }))
  p:step(raising("far", { needs = { play.everywhere "last" }, on = "b" }))
  lu.assertEquals(told((run(p))), {
    "first a would: first differs", "between a ok", "last a deferred: would run after first on a",
    "far b deferred: would run after last on a",
  })
end

function T.test_a_probe_that_fails_with_nothing_to_come_has_failed()
  local p = new("a", "b")
  p:step(differing("elsewhere", { on = "b" }))
  p:step(raising("one", { on = "a" }))
  p:step(quiet("two", { on = "a", needs = "one" }))
  local result = run(p)
  lu.assertTrue(result.failed)
  lu.assertEquals(result.items[2].status, "failed")
  lu.assertEquals(result.items[3].status, "skipped")
end

function T.test_the_nearest_step_is_named_also_through_gates()
  local p = new("a", "b")
  p:step(differing("far", { on = "a" }))
  p:step(differing("near", { needs = { play.everywhere "far" } }))
  p:step(raising("last", { on = "b", needs = { play.everywhere "near", "far" } }))
  lu.assertEquals(told((run(p)))[4], "last b deferred: would run after near on b")
end

function T.test_a_machine_that_is_not_there_is_not_looked_at()
  local p = new("a", "b")
  local there = { b = true }
  p:step {
    "instance", makes_target = true, apply = refuse_to_apply,
    probe = function(target) return not there[target.name] and "it does not exist" or nil end,
  }
  p:step {
    "look", needs = "instance", probe = function(target) lu.assertTrue(there[target.name], "looked at") end,
  }
  lu.assertEquals(told((run(p))), {
    "instance a would: it does not exist", "instance b ok", "look a deferred: would run after instance on a",
    "look b ok",
  })
end

function T.test_functions_would_run_unless_they_are_safe()
  local p, ran = new "a", {}
  p:step { "acts", run = refuse_to_apply }
  p:step { "reads", check_safe = true, run = function() return 42 end }
  p:step { "guarded", probe = function() return "absent" end, run = refuse_to_apply }
  p:step { "so already", probe = function() end, run = refuse_to_apply }
  p:step { "uses", needs = "reads", check_safe = true, run = function(_, results) ran[1] = results["reads"] end }
  p:step { "cannot", needs = "acts", check_safe = true, run = function(_, results) return results["acts"] end }
  p:step { "if", needs = "acts", when = function(_, results) return results["acts"] end, run = refuse_to_apply }
  p:step { "ensures", ensure = refuse_to_apply }
  lu.assertEquals(told((run(p))), {
    "acts a would: would run", "reads a ok", "guarded a would: absent", "so already a ok", "uses a ok",
    "cannot a deferred: would run after acts on a", "if a deferred: would run after acts on a",
    "ensures a would: would run: it cannot be looked at without doing it",
  })
  lu.assertEquals(ran, { 42 })
end

function T.test_handlers_would_run_when_what_notifies_them_would_change()
  local p = new("a", "b")
  p:step {
    "config", notify = "restart", apply = refuse_to_apply,
    probe = function(target) return target.name == "a" and "differs" or nil end,
  }
  p:step(raising("more", { on = "a", needs = "config", notify = "reload" }))
  p:handler { "restart", run = refuse_to_apply }
  p:handler { "reload", run = refuse_to_apply }
  lu.assertEquals(told((run(p))), {
    "config a would: differs", "config b ok", "more a deferred: would run after config on a",
    "restart a would: would run, notified by config", "restart b skipped: not notified",
    "reload a deferred: would run after more on a, if that changes anything",
  })
end

function T.test_of_several_resources_the_rest_is_known_only_after_the_first()
  local p = new "a"
  p:step {
    "both", resource = {
      { probe = function() return "no folder" end, apply = refuse_to_apply },
      { probe = function() error.raise { kind = "missing", message = "no folder" } end, apply = refuse_to_apply },
    },
  }
  lu.assertEquals(told((run(p))), {
    "both a would: no folder; what follows in this step can be looked at only then",
  })
end

function T.test_waiting_for_what_is_to_come_is_deferred()
  local p = new("a", "b")
  p:step(differing("start", { on = "a" }))
  p:step { "whole", on = "a", needs = "start", probe = function() return "not yet" end, wait = refuse_to_apply }
  p:step { "other", on = "b", probe = function() return "not yet" end, wait = refuse_to_apply }
  lu.assertEquals(told((run(p))), {
    "start a would: start differs", "whole a deferred: would run after start on a",
    "other b would: would wait: not yet",
  })
end

function T.test_diff_keeps_what_changes_with_check_and_without()
  local state = "old"
  local p = new "a"
  p:step {
    "file", resource = {
      name = "/etc/x", probe = function() return state ~= "new" and "differs" or nil end,
      apply = function() state = "new" end,
      changes = function() return { { what = "/etc/x", before = state, after = "new" } } end,
    },
  }
  lu.assertNil(run(p).items[1].changes)
  local wanted = { { what = "/etc/x", before = "old", after = "new" } }
  lu.assertEquals(run(p, { check = true, diff = true }).items[1].changes, wanted)
  lu.assertEquals(run(p, { diff = true }).items[1].changes, wanted)
  lu.assertEquals(state, "new")
  lu.assertNil(run(p, { diff = true }).items[1].changes)
end

function T.test_a_change_that_cannot_be_shown_is_still_made()
  local done
  local p = new "a"
  p:step {
    "file", resource = {
      name = "/etc/x", settles = true, probe = function() return "differs" end, apply = function() done = true end,
      changes = function() error.raise { kind = "limit", message = "too large" } end,
    },
  }
  local result = run(p, { diff = true })
  lu.assertTrue(done)
  lu.assertFalse(result.failed)
  lu.assertStrContains(result.items[1].changes[1].what, "/etc/x (cannot be shown: ")
end

test.run("play_check", T)

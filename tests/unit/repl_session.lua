-- A session at the prompt, without a terminal: what inputs do, what is shown, what Tab offers.

local error = require "pgafrun.error"
local inspect = require "pgaf.repl.inspect"
local mask = require "pgafrun.mask"
local secret = require "pgaf.secret"
local session = require "pgaf.repl.session"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local T = {}

-- A session and a function that feeds it one input, and returns the outcome and what was shown.
local function new(environment, more)
  local shown = {}
  local options = more or {}
  options.environment = environment or {}
  options.write = function(text) shown[#shown + 1] = text end
  local s = session.new(options)
  return s, function(line)
    shown = {}
    local outcome = s:feed(line)
    return outcome, table.concat(shown)
  end
end

local function assert_shown(feed, line, text)
  local outcome, shown = feed(line)
  lu.assertEquals(shown, text)
  lu.assertEquals(outcome, "done")
end

-- ---------------------------------------------------------------------------------------------------------- inputs

function T.test_an_expression_shows_its_values()
  local _, feed = new { answer = 42 }
  assert_shown(feed, "answer + 1", "43\n")
  assert_shown(feed, "1, nil, 'two'", '1\nnil\n"two"\n')
  assert_shown(feed, "nil", "nil\n")
  assert_shown(feed, "(function() end)()", "")
  assert_shown(feed, "  ", "")
end

function T.test_the_last_value_and_the_last_error_have_names()
  local _, feed = new()
  feed "20 + 1"
  assert_shown(feed, "_ * 2", "42\n")
  lu.assertEquals((feed "error { code = 7 }"), "error")
  assert_shown(feed, "_err.code", "7\n")
  lu.assertEquals((feed "local e = require 'pgafrun.error' e.raise { kind = 'network', code = 'X', message = 'm' }"),
    "error")
  assert_shown(feed, "_err.kind .. _err.code", '"networkX"\n')
end

function T.test_new_globals_stay_and_unknown_names_are_mistakes()
  local environment = {}
  local _, feed = new(environment)
  feed "x = 5"
  feed "function twice(n) return 2 * n end"
  assert_shown(feed, "twice(x)", "10\n")
  lu.assertEquals(environment.x, 5)
  lu.assertNil(rawget(_G, "x"))
  local outcome, shown = feed "nosuchname"
  lu.assertEquals(outcome, "error")
  lu.assertStrContains(shown, "undefined name 'nosuchname'")
  feed "y = nil"
  assert_shown(feed, "y", "nil\n") -- known by now
end

function T.test_an_environment_may_set_what_is_elsewhere()
  local place = { a = 1 }
  local _, feed = new(setmetatable({}, {
    __index = place, __newindex = function(_, name, value) place[name] = value end,
  }))
  feed "a = a + 1"
  lu.assertEquals(place.a, 2)
end

function T.test_an_unfinished_input_goes_on()
  local s, feed = new()
  lu.assertEquals((feed "for i = 1, 2 do"), "more")
  lu.assertEquals((feed "  last = i"), "more")
  assert_shown(feed, "end", "")
  assert_shown(feed, "last", "2\n")
  lu.assertEquals((feed "1 +"), "more")
  assert_shown(feed, "2", "3\n")
  feed "f("
  s:reset()
  assert_shown(feed, "'new'", '"new"\n')
end

function T.test_a_mistake_shows_its_line_and_keeps_the_session()
  local _, feed = new()
  feed "if true then"
  local outcome, shown = feed "x y"
  lu.assertEquals(outcome, "error")
  lu.assertStrContains(shown, "input:2:")
  lu.assertStrContains(shown, "2 | x y")
  assert_shown(feed, "1", "1\n")
end

function T.test_several_lines_at_once()
  local _, feed = new()
  assert_shown(feed, "local a = 2\nreturn a * 3", "6\n")
  assert_shown(feed, "1\n2", "1\n2\n")
  assert_shown(feed, "b = 1\n:log", "info\n")
  lu.assertEquals((feed "for i = 1, 3 do\n  c = i"), "more")
  assert_shown(feed, "end", "")
end

function T.test_a_call_that_waits_just_waits()
  local _, feed = new { task = task }
  assert_shown(feed, "task.sleep(0.001)", "")
  assert_shown(feed, "(function() task.sleep(0.001) return 'slept' end)()", '"slept"\n')
end

function T.test_the_foreground_task_can_be_cancelled_and_the_session_goes_on()
  local running
  local s, feed = new({ task = task }, { foreground = function(t) running = t end })
  local outcome, shown
  do
    local group <close> = task.group()
    group:spawn(function() outcome, shown = feed "task.sleep(60)" end)
    group:spawn(function()
      while not running do task.yield() end
      running:cancel()
    end)
  end
  lu.assertEquals({ outcome, shown }, { "error", "interrupted\n" })
  lu.assertNil(running)
  lu.assertTrue(error.is(s.values._err, "cancelled"))
  assert_shown(feed, "1", "1\n")
end

function T.test_what_an_input_spawned_ends_with_it()
  local _, feed = new { task = task }
  local outcome = feed "local g = task.group() g:spawn(task.sleep, 60)"
  lu.assertEquals(outcome, "error") -- the group was left open
  assert_shown(feed, "2", "2\n")
end

function T.test_the_end_of_whoever_runs_the_session_goes_up()
  local _, feed = new { task = task }
  local ok, raised = pcall(task.timeout, 0.01, feed, "task.sleep(60)")
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "timeout"))
end

-- --------------------------------------------------------------------------------------------------------- commands

function T.test_commands()
  local _, feed = new { task = task }
  local _, list = feed ":help"
  lu.assertStrContains(list, ":time EXPR")
  local _, sleep = feed ":help task.sleep"
  lu.assertStrContains(sleep, "function task.sleep(seconds)")
  lu.assertStrContains(sleep, "docs/meta/task.lua")
  local _, found = feed ":help primary.move"
  lu.assertStrContains(found, "Moves the role")
  local _, shown = feed ":time 6 * 7"
  lu.assertStrMatches(shown, "42\n%d+%.%d+ ms\n")
  local _, tasks = feed ":tasks"
  lu.assertStrContains(tasks, "main")
end

function T.test_wrong_commands()
  local _, feed = new()
  for line, told in pairs {
    [":halp"] = "did you mean :help?", [":help nosuchthing"] = "nothing is known of nosuchthing",
    [":log loud"] = "debug, info, warn or error", [":load"] = "which file?", [":events on"] = "no formation",
    [":time x y"] = "syntax error",
  } do
    local outcome, shown = feed(line)
    lu.assertEquals(outcome, "error", line)
    lu.assertStrContains(shown, told)
  end
  lu.assertErrorMsgContains("exit", feed, ":quit")
end

function T.test_commands_of_the_session_itself()
  local asked
  local _, feed = new({}, {
    commands = { continue = { usage = "", summary = "goes on", run = function(_, rest) asked = rest end } },
  })
  lu.assertEquals((feed ":continue now"), "done")
  lu.assertEquals(asked, "now")
  local _, list = feed ":help"
  lu.assertStrContains(list, "goes on")
end

-- ------------------------------------------------------------------------------------------------------- completion

local function offered(s, text)
  local list, from = s:complete(text)
  return table.concat(list, " "), from
end

function T.test_completion()
  local s = new { answer = 1, nodes = { ["pgaf-1"] = { port = 1, exec = print }, ["pgaf-2"] = {} }, task = task }
  local function check(text, list, from)
    local got, at = offered(s, text)
    lu.assertEquals(got, list, text)
    lu.assertEquals(at, from, text)
  end
  check("ans", "answer", 1)
  check("x = ans", "answer", 5)
  check("string.for", "format", 8)
  check("('x'):re", "", 9) -- not followed: it would have to be run
  check('nodes["', 'pgaf-1"] pgaf-2"]', 8)
  check("nodes['pgaf-1", "pgaf-1']", 8)
  check('print(nodes["pgaf-1"].', "exec port", 23)
  check('nodes["pgaf-1"]:', "exec", 17)
  check("task.sl", "sleep", 6)
  check("nosuch.", "", 8)
  check(":he", "help", 2)
  check(":log d", "debug", 6)
  check("ret", "return", 1)
end

function T.test_completion_calls_nothing()
  local called = 0
  local s = new {
    lazy = setmetatable({}, { __index = function() called = called + 1 end }),
    primary = setmetatable({}, { __call = function() called = called + 1 end, __result = { exec = print } }),
  }
  lu.assertEquals(offered(s, "lazy.x."), "")
  lu.assertEquals(offered(s, "primary():e"), "exec")
  lu.assertEquals(called, 0)
end

function T.test_completion_of_options()
  local s, feed = new()
  feed ":help task.sleep" -- reads the annotations
  lu.assertEquals(offered(s, "nodes['x']:logs{ fol"), "follow = ")
  lu.assertEquals(offered(s, "task.group { dead"), "deadline = ")
end

-- ---------------------------------------------------------------------------------------------------------- showing

function T.test_tables()
  lu.assertEquals(inspect.render { 1, 2, b = true, a = "x" }, '{ 1, 2, a = "x", b = true }')
  lu.assertEquals(inspect.render {}, "{}")
  lu.assertEquals(inspect.render { ["not a name"] = 1, [3] = 2, ["end"] = 3 },
    '{ [3] = 2, ["end"] = 3, ["not a name"] = 1 }')
  local cycle = {}
  cycle.self = cycle
  lu.assertStrContains(inspect.render(cycle), "<cycle")
  local shared = { 1 }
  lu.assertEquals(inspect.render { shared, shared }, "{ { 1 }, { 1 } }")
  lu.assertEquals(inspect.render({ { { { 1 } } } }, { depth = 2 }), "{ { { ... } } }")
  local many = {}
  for i = 1, 500 do many[i] = i end
  lu.assertStrContains(inspect.render(many, { items = 3 }), "1, 2, 3, ... 497 more")
  lu.assertEquals(inspect.render({ aaaaaaaa = "bbbbbbbb", c = "d" }, { columns = 20 }),
    '{\n  aaaaaaaa = "bbbbbbbb",\n  c = "d"\n}')
end

function T.test_texts_cannot_command_the_terminal()
  lu.assertEquals(inspect.render "a\27[31m\n\0\xff\"é", '"a\\x1b[31m\\n\\x00\\xff\\"é"')
  lu.assertEquals(inspect.plain "a\27]0;x\7\tb\nc\xc2\x9b", "a\\x1b]0;x\\x07\tb\nc\\xc2\\x9b")
  lu.assertStrContains(inspect.render(("x"):rep(10000)), "(10000 bytes in all)")
  local _, feed = new()
  local _, shown = feed "error('\\27[2J')"
  lu.assertStrContains(shown, "\\x1b[2J")
end

function T.test_secrets_are_masked()
  mask.add "correct horse"
  lu.assertEquals(inspect.render { password = secret.literal("correct horse", true), text = "a correct horse" },
    '{ password = <secret>, text = "a <secret>" }')
end

function T.test_errors_show_their_structure()
  local cause = error.new { kind = "network", code = "ECONNREFUSED", message = "refused" }
  local text = inspect.render(error.new {
    kind = "postgres", operation = "connect", message = "no answer", cause = cause, hint = "look", extra = 1,
  })
  for _, part in ipairs {
    "kind: postgres", "operation: connect", "hint: look", "cause: error {", "ECONNREFUSED", "extra: 1",
  } do
    lu.assertStrContains(text, part)
  end
end

function T.test_a_value_may_say_how_it_is_shown()
  local _, feed = new { state = setmetatable({}, { __repl = function(_, s) return "whole " .. s:columns() end }) }
  assert_shown(feed, "state", "whole 100\n")
  local _, broken = new { odd = setmetatable({}, { __tostring = function() _G.error "no" end }) }
  assert_shown(broken, "odd", "<table whose __tostring failed>\n")
end

test.run("repl_session", T)

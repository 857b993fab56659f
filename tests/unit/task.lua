local error = require "pgafrun.error"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local time = require "pgafrun.time"

local lu = test.lu

local T = {}

local function on_close(f) return setmetatable({}, { __close = function(_, e) f(e) end }) end

local function fails_with(kind, code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, kind, code), tostring(e))
  return e
end

-- ------------------------------------------------------------------------------------------------------- groups

function T.test_leaving_a_group_waits_for_its_tasks()
  local done = 0
  do
    local g <close> = task.group()
    for i = 1, 5 do
      g:spawn(function()
        task.sleep(i / 1000)
        done = done + 1
      end)
    end
  end
  lu.assertEquals(done, 5)
end

function T.test_a_task_gives_its_results_to_every_waiter()
  local g <close> = task.group()
  local t = g:spawn(function(...) return ..., nil, 3 end, 1)
  local a, b, c = t:wait()
  lu.assertEquals({ a, b, c }, { 1, nil, 3 })
  lu.assertEquals(select("#", t:wait()), 3)
  lu.assertEquals(t:status(), "done")
end

function T.test_the_first_error_cancels_the_siblings_and_the_body_and_is_what_comes_out()
  local sibling, body
  local e = fails_with("network", "E1", function()
    local g <close> = task.group()
    g:spawn(function()
      local ok, why = pcall(task.sleep, 30)
      sibling = not ok and why
      error.raise(why)
    end)
    g:spawn(function()
      task.sleep(0.005)
      error.raise { kind = "network", code = "E1", message = "lost" }
    end)
    local ok, why = pcall(task.sleep, 30)
    body = not ok and why
    task.sleep(30)
  end)
  lu.assertEquals(e.message, "lost")
  lu.assertTrue(error.is(sibling, "cancelled", "sibling"))
  lu.assertTrue(error.is(body, "cancelled", "sibling"))
end

function T.test_an_error_of_the_body_cancels_the_tasks_and_stays_the_error()
  local closed = false
  fails_with("data", nil, function()
    local g <close> = task.group()
    g:spawn(function()
      local _ <close> = on_close(function() closed = true end)
      task.sleep(30)
    end)
    task.yield()
    error.raise { kind = "data", message = "the body's own" }
  end)
  lu.assertTrue(closed)
end

function T.test_a_cancelled_task_is_no_failure_of_its_group()
  local g <close> = task.group()
  local t = g:spawn(task.sleep, 30)
  task.yield()
  t:cancel()
  fails_with("cancelled", "requested", t.wait, t)
  lu.assertEquals(t:status(), "cancelled")
  task.sleep(0.001)
end

function T.test_a_group_cancels_its_tasks_on_request_and_is_left_in_peace()
  local t
  do
    local g <close> = task.group()
    t = g:spawn(task.sleep, 30)
    task.yield()
    g:cancel()
  end
  lu.assertEquals(t:status(), "cancelled")
end

function T.test_a_group_that_was_cancelled_from_outside_tells_its_body()
  local went_on = false
  do
    local outer <close> = task.group()
    local t = outer:spawn(function()
      do
        local g <close> = task.group()
        g:spawn(task.sleep, 30)
      end
      went_on = true
    end)
    task.sleep(0.005)
    t:cancel()
  end
  lu.assertFalse(went_on)
end

function T.test_spawning_into_a_group_that_was_left_is_a_mistake_of_the_script()
  local g
  do
    local opened <close> = task.group()
    g = opened
  end
  local ok, e = pcall(g.spawn, g, print)
  lu.assertFalse(ok)
  lu.assertStrContains(e, "left already")
end

function T.test_a_group_without_close_is_told_and_its_tasks_end()
  local ended = false
  local ok, e = pcall(function()
    local outer <close> = task.group()
    outer:spawn(function()
      local forgotten = task.group()
      forgotten:spawn(function()
        local _ <close> = on_close(function() ended = true end)
        task.sleep(30)
      end)
      task.yield()
    end)
  end)
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(e), "<close>")
  lu.assertTrue(ended)
end

function T.test_groups_nest_and_errors_go_up_through_both()
  local e = fails_with("file", nil, function()
    local outer <close> = task.group()
    outer:spawn(function()
      local inner <close> = task.group()
      inner:spawn(error.raise, { kind = "file", message = "deep" })
      task.sleep(30)
    end)
    task.sleep(30)
  end)
  lu.assertEquals(e.message, "deep")
end

function T.test_an_ended_task_with_an_error_can_be_asked_again_for_it()
  pcall(function()
    local g <close> = task.group()
    local t = g:spawn(error.raise, { kind = "data", message = "x" })
    fails_with("data", nil, t.wait, t)
    fails_with("data", nil, t.wait, t)
    lu.assertEquals(t:status(), "failed")
  end)
end

-- ----------------------------------------------------------------------------------------- cancelling, deadlines

function T.test_cancellation_is_raised_again_at_every_later_wait()
  local waits = 0
  do
    local g <close> = task.group()
    local t = g:spawn(function()
      for _ = 1, 3 do
        local ok, e = pcall(task.sleep, 30)
        if not ok and error.is(e, "cancelled") then waits = waits + 1 end
      end
    end)
    task.yield()
    t:cancel()
  end
  lu.assertEquals(waits, 3)
end

function T.test_a_task_cancelled_before_it_began_to_wait_does_not_wait()
  local g <close> = task.group()
  local t = g:spawn(function() task.sleep(30) end)
  t:cancel()
  fails_with("cancelled", nil, t.wait, t)
end

function T.test_a_shield_keeps_cancellation_out_and_ends_at_its_own_limit()
  local put_back, limited = false, false
  do
    local g <close> = task.group()
    local t = g:spawn(function()
      local _ <close> = on_close(function()
        task.shield(5, function()
          task.sleep(0.01)
          put_back = true
        end)
        local ok, e = pcall(task.shield, 0.01, task.sleep, 30)
        limited = not ok and error.is(e, "timeout", "deadline")
      end)
      task.sleep(30)
    end)
    task.yield()
    t:cancel()
  end
  lu.assertTrue(put_back)
  lu.assertTrue(limited)
end

function T.test_tasks_in_a_shielded_group_are_out_of_reach_too()
  local finished = false
  do
    local g <close> = task.group()
    local t = g:spawn(function()
      task.shield(5, function()
        local inner <close> = task.group()
        inner:spawn(function()
          task.sleep(0.02)
          finished = true
        end)
      end)
    end)
    task.sleep(0.005)
    t:cancel()
  end
  lu.assertTrue(finished)
end

function T.test_deadlines_are_inherited_and_only_shrink()
  fails_with("timeout", "deadline", task.timeout, 0.02, function()
    lu.assertTrue(task.remaining() <= 0.02)
    task.timeout(30, function()
      lu.assertTrue(task.remaining() <= 0.02)
      local g <close> = task.group { deadline = 60 }
      g:spawn(function()
        lu.assertTrue(task.remaining() <= 0.02)
        task.sleep(30)
      end)
    end)
  end)
end

function T.test_a_timeout_gives_the_results_when_it_did_not_pass()
  local a, b = task.timeout(5, function(x) return x, "b" end, "a")
  lu.assertEquals({ a, b }, { "a", "b" })
  lu.assertEquals(task.timeout(5, select, "#", nil, nil), 2)
end

function T.test_an_error_in_a_timeout_stays_what_it_was()
  fails_with("postgres", "40P01", task.timeout, 5, error.raise, { kind = "postgres", code = "40P01", message = "m" })
end

function T.test_a_group_left_open_inside_a_timeout_is_ended()
  local t
  task.timeout(5, function()
    local g = task.group()
    t = g:spawn(task.sleep, 30)
  end)
  lu.assertEquals(t:status(), "cancelled")
end

function T.test_a_script_that_spins_meets_its_deadline()
  fails_with("timeout", "deadline", task.timeout, 0.1, function()
    while true do end -- luacheck: ignore
  end)
end

-- The watch, which takes a part of the speed, is over who spins, and over nobody that it spawns.
function T.test_what_a_spinning_task_spawns_is_not_watched()
  repeat until debug.gethook() -- luacheck: ignore
  local g <close> = task.group()
  lu.assertNil((g:spawn(function() return (debug.gethook()) end):wait()))
end

function T.test_check_raises_without_waiting()
  task.check()
  fails_with("timeout", "deadline", task.timeout, 0.001, function()
    local till = time.now() + 0.005
    while time.now() < till do end -- luacheck: ignore
    task.check()
  end)
end

-- ---------------------------------------------------------------------------------------------------- conditions

function T.test_a_condition_wakes_the_longest_waiting_first()
  local order = {}
  local c = task.condition()
  do
    local g <close> = task.group()
    for i = 1, 3 do
      g:spawn(function()
        lu.assertTrue(c:wait())
        order[#order + 1] = i
      end)
    end
    task.yield()
    lu.assertEquals(c:notify(1), 1)
    task.yield()
    lu.assertEquals(c:notify(), 2)
  end
  lu.assertEquals(order, { 1, 2, 3 })
end

function T.test_a_condition_without_a_notify_ends_by_its_time()
  lu.assertFalse(task.condition():wait(0.005))
end

-- --------------------------------------------------------------------------------------------- where one may wait

function T.test_waiting_in_a_coroutine_of_ones_own_is_refused_with_the_reason()
  local ok, e = coroutine.resume(coroutine.create(function() task.sleep(1) end))
  lu.assertFalse(ok)
  lu.assertStrContains(e, "coroutine of your own")
end

function T.test_waiting_where_lua_cannot_yield_is_refused_with_the_reason()
  local ok, e = pcall(string.gsub, "x", "x", function() task.sleep(1) end)
  lu.assertFalse(ok)
  lu.assertStrContains(e, "impossible here")
end

function T.test_a_bare_yield_lets_others_run()
  local order = {}
  do
    local g <close> = task.group()
    g:spawn(function()
      order[#order + 1] = "a"
      coroutine.yield()
      order[#order + 1] = "c"
    end)
    g:spawn(function() order[#order + 1] = "b" end)
  end
  lu.assertEquals(order, { "a", "b", "c" })
end

function T.test_a_task_cannot_wait_for_itself()
  local ok, e = pcall(function()
    local t = task.current()
    t:wait()
  end)
  lu.assertFalse(ok)
  lu.assertStrContains(e, "its own end")
end

-- --------------------------------------------------------------------------------------------------- for people

function T.test_the_list_tells_what_each_task_waits_for()
  local g <close> = task.group()
  local t = g:spawn_named("the sleeper", task.sleep, 30)
  task.yield()
  local found
  for _, entry in ipairs(task.list()) do found = entry.name == "the sleeper" and entry or found end
  lu.assertEquals(found.status, "waiting")
  lu.assertEquals(found.waiting_for, "task.sleep")
  lu.assertEquals(t:label(), "the sleeper")
  g:cancel()
end

function T.test_a_plain_error_of_a_task_becomes_structured_with_its_place()
  local ok, e = pcall(function()
    local g <close> = task.group()
    g:spawn(function() local x = nil; return x.y end)
  end)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "script"))
  lu.assertStrContains(e.message, "task.lua:")
  lu.assertStrContains(e.traceback, "stack traceback")
end

function T.test_ten_thousand_tasks_under_an_eager_collector()
  local sum = 0
  do
    local g <close> = task.group()
    for i = 1, 10000 do
      g:spawn(function()
        task.sleep(0.001 * (i % 7))
        sum = sum + 1
      end)
      if i % 1000 == 0 then collectgarbage() end
    end
  end
  lu.assertEquals(sum, 10000)
end

test.run("task", T)

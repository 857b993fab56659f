-- What a run can tell of itself: its tasks as a tree, the handles of its loop; and the tasks beside a script.

local error = require "pgafrun.error"
local net = require "pgafrun.net"
local process = require "pgafrun.process"
local scope = require "pgaf.debugger.scope"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local time = require "pgafrun.time"

local lu = test.lu

local T = {}

local function find(nodes, name)
  for _, node in ipairs(nodes) do
    local found = node.name == name and node or find(node.children, name)
    if found then return found end
  end
end

function T.test_each_task_is_below_the_one_that_spawned_it()
  local before = time.now()
  local group <close> = task.group { name = "outer", deadline = 60 }
  group:spawn_named("parent", function()
    local inner <close> = task.group { name = "inner" }
    inner:spawn_named("first", task.sleep, 60)
    inner:spawn_named("second", function()
      local condition = task.condition()
      condition:wait()
    end)
  end)
  group:spawn(task.sleep, 60)
  task.yield()
  task.yield()
  local tree = task.tree()
  lu.assertEquals(tree[1].name, "main")
  lu.assertEquals(tree[1].status, "running")
  lu.assertStrContains(tree[1].where, "introspection.lua:")
  lu.assertNil(tree[1].waiting_for)
  local parent = find(tree, "parent")
  lu.assertEquals(parent.group, "outer")
  lu.assertEquals(parent.status, "waiting")
  lu.assertTrue(parent.deadline > 0 and parent.deadline <= 60)
  lu.assertEquals({ parent.children[1].name, parent.children[2].name }, { "first", "second" })
  local first, second = parent.children[1], parent.children[2]
  lu.assertEquals(first.waiting_for, "task.sleep")
  lu.assertEquals(first.group, "inner")
  lu.assertTrue(first.since >= before and first.since <= time.now())
  lu.assertEquals(second.waiting_for, "condition:wait")
  lu.assertStrMatches(second.where, ".*introspection%.lua:%d+")
  lu.assertStrMatches(tree[1].children[2].name, "task %d+")
  group:cancel()
  lu.assertTrue(find(task.tree(), "first").cancelled)
end

function T.test_a_tree_that_is_deep_is_no_trouble()
  local levels = 0
  local function go_down(n)
    local group <close> = task.group()
    if n == 0 then return task.sleep(60) end
    group:spawn_named("level", go_down, n - 1)
  end
  local group <close> = task.group()
  group:spawn(go_down, 3000)
  for _ = 1, 3010 do task.yield() end
  local nodes = task.tree()[1].children
  while nodes[1] do nodes, levels = nodes[1].children, levels + 1 end
  lu.assertEquals(levels, 3001)
  group:cancel()
end

local function handle(about)
  for _, one in ipairs(task.handles()) do
    if one.about:find(about, 1, true) then return one end
  end
end

function T.test_handles_tell_what_they_are_about()
  local clock = handle "all sleeping tasks"
  lu.assertEquals(clock.type, "timer")
  lu.assertFalse(clock.closing)
  local path = os.tmpname()
  os.remove(path)
  do
    local listener <close> = net.listen(path, { background = true })
    lu.assertNotNil(listener)
    local found = handle("unix " .. path)
    lu.assertEquals({ found.type, found.active, found.referenced }, { "pipe", true, false })
  end
  lu.assertNil(handle("unix " .. path))
  local group <close> = task.group()
  group:spawn(process.run, { "sleep", "60" })
  task.yield()
  lu.assertEquals(handle("process ").type, "process")
  group:cancel()
end

function T.test_connections_from_lua()
  local path = os.tmpname()
  os.remove(path)
  local listener <close> = net.listen(path)
  local group <close> = task.group()
  group:spawn(function()
    local far <close> = listener:accept()
    lu.assertEquals(far:peer().uid, process.self().uid)
    far:write(far:read():upper())
  end)
  local near <close> = net.connect(path)
  near:write "hello"
  lu.assertEquals(near:read(), "HELLO")
  lu.assertNil(near:read())
  near:close()
  near:close()
  local ok, e = pcall(near.read, near)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "closed"))
  lu.assertErrorMsgContains("no option 'forever'; there are: background", net.listen, path, { forever = true })
  lu.assertErrorMsgContains("EADDRINUSE", net.listen, path)
  lu.assertErrorMsgContains("ENOENT", net.connect, path .. ".nothing")
end

-- ------------------------------------------------------------------------------------------------------ beside it

function T.test_an_interlude_lets_the_others_go_on()
  local group <close> = task.group()
  local steps = {}
  group:spawn(function()
    for i = 1, 3 do
      steps[#steps + 1] = i
      task.yield()
    end
  end)
  lu.assertTrue(task.interlude("pause", function(a, b)
    task.sleep(0.01)
    steps[#steps + 1] = a .. b
  end, "x", "y"))
  lu.assertEquals(steps, { 1, 2, 3, "xy" })
end

function T.test_an_interlude_is_possible_where_nothing_can_wait()
  local seen
  local list = { 3, 1, 2 }
  table.sort(list, function(a, b)
    task.interlude("sorting", function()
      task.sleep(0.001)
      seen = task.tree()
    end)
    return a < b
  end)
  lu.assertEquals(list, { 1, 2, 3 })
  lu.assertEquals(find(seen, "main").status, "stopped")
  local inner = coroutine.wrap(function() return task.interlude("own", task.sleep, 0.001) end)
  lu.assertTrue(inner())
end

function T.test_an_interlude_tells_of_its_error()
  local ok, e = task.interlude("bad", error.raise, { kind = "network", message = "gone" })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "network"))
  table.sort({ 1, 2 }, function(a, b)
    lu.assertFalse((task.interlude("bad", error.raise, { kind = "network", message = "gone" })))
    return a < b
  end)
end

function T.test_an_interlude_that_cannot_end_is_given_up()
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", "--deadline", "0.2", "-e", [[
    local task = require "pgafrun.task"
    local ok
    table.sort({ 1, 2 }, function(a, b)
      ok = task.interlude("for ever", function() task.condition():wait() end)
      return a < b
    end)
    return ok and 1 or 7]] }
  lu.assertEquals(r.code, 7, r.stderr)
end

function T.test_a_service_ends_with_the_script_and_no_sooner()
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", "-e", [[
    local task = require "pgafrun.task"
    task.service("beside", function()
      local _ <close> = setmetatable({}, { __close = function() print "service over" end })
      task.sleep(1000)
    end)
    local ok = pcall(function()
      task.abort()
      task.sleep(1)
    end)
    print("script over", ok, task.tree()[2].name, task.tree()[2].service, task.tree()[2].cancelled)]] }
  lu.assertEquals(r.stdout, "script over\tfalse\tbeside\ttrue\tnil\nservice over\n")
end

function T.test_a_task_without_patience_is_stopped()
  local group <close> = task.group()
  local spinning = group:spawn(pcall, function()
    while true do end
  end)
  spinning:patience(0.3)
  local ok, e = spinning:wait()
  lu.assertFalse(ok)
  lu.assertStrContains(e, "computes without waiting")
end

function T.test_who_asks_hears_of_failures_while_the_stack_stands()
  local heard
  task.on_failure(function(e)
    heard = { e = e, place = debug.getinfo(4, "l").currentline, local_name = debug.getlocal(4, 1) }
  end)
  local line = debug.getinfo(1, "l").currentline + 4
  pcall(function()
    local group <close> = task.group()
    group:spawn(function()
      local answer = 42; _G.error("no " .. answer)
    end)
  end)
  task.on_failure(nil)
  lu.assertStrContains(tostring(heard.e), "no 42")
  lu.assertEquals(heard.place, line)
  lu.assertEquals(heard.local_name, "answer")
end

-- -------------------------------------------------------------------------------------------------------- variables

local function stopped(f, ...)
  local co = coroutine.create(f)
  assert(coroutine.resume(co, ...))
  return co
end

function T.test_variables_are_read_and_set_by_name()
  local up = "before"
  local co = stopped(function(argument)
    local x = 1
    local hidden, list = nil, {}
    for i = 1, 1 do
      local x = x + i -- luacheck: ignore
      coroutine.yield(up, hidden)
      list[1], list[2] = x, argument
    end
    return list
  end, "a")
  local frames = scope.frames(co, 0)
  local frame = frames[scope.nearest(frames)]
  lu.assertStrContains(frame.where, "introspection.lua")
  local rest = { other = 3 }
  local env = scope.environment(co, function() return frame end, rest)
  lu.assertEquals({ env.x, env.argument, env.up, env.other, env.hidden }, { 2, "a", "before", 3 })
  env.x, env.argument, env.up, env.new = 20, "b", "after", true
  lu.assertEquals({ env.x, env.argument, up, rest.new }, { 20, "b", "after", true })
  local names = {}
  for _, variable in ipairs(scope.variables(co, frame)) do names[#names + 1] = variable.kind .. " " .. variable.name end
  lu.assertEquals(names, { "local argument", "local x", "local hidden", "local list", "local i", "upvalue up" })
  lu.assertEquals(select(2, coroutine.resume(co)), { 20, "b" })
end

test.run("introspection", T)

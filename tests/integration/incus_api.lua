-- The Incus API against a server that misbehaves: envelopes, operations, changes of state.

local error = require "pgafrun.error"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local client = require "pgaf.incus.client"
local instance = require "pgaf.incus.instance"
local operation = require "pgaf.incus.operation"
local lu = test.lu

local server <close> = dofile(here .. "/support/incus_server.lua").start()

local T = {}

local function connect() return client.open(server:remote()) end

local function expect(kind, code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok, "no error was raised")
  lu.assertTrue(error.is(e, kind, code), tostring(e))
  return e
end

function T.setUp() server:misbehave() end

-- ------------------------------------------------------------------------------------------------------- reaching it

function T.test_no_socket_and_nobody_listening_are_told_apart()
  local remote = server:remote()
  remote.endpoints = { { url = "http://incus", unix_socket = "/nonexistent/socket" } }
  local e = expect("network", "ENOENT", client.open, remote)
  lu.assertStrContains(e.message, "/nonexistent/socket")
  lu.assertStrContains(e.hint, "running")
end

function T.test_the_first_endpoint_that_answers_is_taken()
  local remote = server:remote()
  table.insert(remote.endpoints, 1, { url = "http://127.0.0.1:1" })
  local c = client.open(remote)
  lu.assertEquals(c.endpoint.unix_socket, server.socket)
end

function T.test_a_limited_socket_is_only_for_those_who_may_not_use_the_other()
  local remote = server:remote()
  local limited = { url = "http://incus", unix_socket = server.socket, project = "user-1", when = "EACCES" }
  remote.endpoints = { { url = "http://incus", unix_socket = "/nonexistent/socket" }, limited }
  expect("network", "ENOENT", client.open, remote)
end

function T.test_a_certificate_that_is_not_trusted()
  server:misbehave { auth = "untrusted" }
  local e = expect("permission", "untrusted", connect)
  lu.assertStrContains(e.hint, "incus config trust add")
end

-- --------------------------------------------------------------------------------------------------------- envelopes

function T.test_answers_that_are_no_envelopes()
  local c = connect()
  server:add "pgaf-1"
  for _, fault in ipairs { "garbage", "html" } do
    server:misbehave { envelope = fault }
    local e = expect("protocol", nil, c.get, c, "/1.0/instances/pgaf-1")
    lu.assertStrContains(e.operation, "GET /1.0/instances/pgaf-1")
  end
end

function T.test_a_read_is_asked_again_when_its_connection_breaks()
  local c = connect()
  server:add "pgaf-1"
  server:misbehave { envelope = "reset" }
  lu.assertEquals(c:get("/1.0/instances/pgaf-1").name, "pgaf-1")
end

function T.test_a_server_that_does_not_answer()
  local c = connect()
  server:add "pgaf-1"
  server:misbehave { envelope = "stall" }
  expect("timeout", nil, c.call, c, { path = "/1.0/instances/pgaf-1", timeout = 0.2 })
end

function T.test_what_does_not_exist()
  local c = connect()
  local e = expect("incus", "404", c.get, c, "/1.0/instances/none")
  lu.assertEquals(e.message, "Instance not found")
  lu.assertNil((c:find "/1.0/instances/none"))
end

-- -------------------------------------------------------------------------------------------------------- operations

function T.test_an_operation_is_found_whatever_its_url_looks_like()
  lu.assertEquals(operation.id "/1.0/operations/0a-1b?project=default", "0a-1b")
  lu.assertEquals(operation.id "/1.0/operations/0a-1b", "0a-1b")
  lu.assertEquals(expect("protocol", nil, operation.id, nil).outcome, "unknown")
  expect("protocol", nil, operation.id, "/1.0/instances/x")
end

local function create(name)
  local i = instance.of(connect(), name)
  i:create { source = { alias = "debian/12" }, profiles = { "default" }, config = { ["user.pgaf.node"] = name } }
  return i
end

function T.test_waits_that_mislead_do_not()
  for n, faults in ipairs {
    { suffix = true }, { wait = "error" }, { wait = "short", dawdle = 0.3 }, { vanish = true }, {},
  } do
    server:misbehave(faults)
    local i = create("made-" .. n)
    lu.assertEquals(i:status(), "Stopped")
    lu.assertTrue(i:start())
    lu.assertFalse(i:start())
    lu.assertTrue(i:delete())
    lu.assertNil(i:status())
  end
end

function T.test_a_creation_that_failed_says_why()
  local i = instance.of(connect(), "failed")
  local e = expect("incus", nil, i.create, i, { source = { alias = "none/such" } })
  lu.assertEquals(e.message, "Image not provided for instance creation")
end

function T.test_an_operation_that_outlives_the_wait_has_an_unknown_outcome()
  local c = connect()
  server:add("slow", { status = "Stopped" })
  server:misbehave { dawdle = 1 }
  local request = { method = "PUT", path = "/1.0/instances/slow/state", body = { action = "start" } }
  local e = expect("timeout", "operation", operation.run, c, request, { what = "start slow", timeout = 0.3 })
  lu.assertEquals({ e.outcome, e.operation }, { "unknown", "start slow" })
end

function T.test_what_somebody_else_asked_for_is_waited_for()
  local c = connect()
  local i = instance.of(c, "slow")
  server:add("slow", { status = "Stopped" })
  server:add("slower", { status = "Stopped" })
  lu.assertFalse(i:settle())
  server:misbehave { dawdle = 0.3 }
  c:call { method = "PUT", path = "/1.0/instances/slow/state", body = { action = "start" } }
  lu.assertFalse(instance.of(c, "slower"):settle(), "that is another one's")
  lu.assertEquals(i:status(), "Stopped")
  lu.assertTrue(i:settle())
  lu.assertEquals(i:status(), "Running")
  lu.assertFalse(i:settle())
end

function T.test_a_cancelled_wait_says_that_the_outcome_is_unknown()
  local c = connect()
  server:add("slow", { status = "Stopped" })
  server:misbehave { dawdle = 1 }
  local problem
  do
    local group <close> = task.group()
    local waiting = group:spawn(function()
      local ok, e = pcall(function() return instance.of(c, "slow"):start() end)
      problem = not ok and e
    end)
    task.sleep(0.2)
    waiting:cancel()
  end
  lu.assertTrue(error.is(problem, "cancelled"), tostring(problem))
  lu.assertEquals(problem.outcome, "unknown")
  lu.assertTrue(server:counts().cancel == nil, "an operation that cannot be cancelled was asked to be")
end

-- ---------------------------------------------------------------------------------------------------- state changes

function T.test_a_refusal_is_no_verdict()
  local i = instance.of(connect(), "pgaf-1")
  server:add("pgaf-1", { status = "Stopped" })
  server:misbehave { refuse = "start", refuse_but_do = true }
  lu.assertTrue(i:start())
  lu.assertEquals(i:status(), "Running")
end

function T.test_a_state_that_is_not_reached_is_told_with_its_reason()
  local i = instance.of(connect(), "pgaf-1")
  server:add("pgaf-1", { status = "Stopped" })
  server:misbehave { refuse = "start" }
  local e = expect("state", nil, i.start, i)
  lu.assertStrContains(e.message, "Stopped")
  lu.assertTrue(error.is(e.cause, "incus"))
end

function T.test_a_graceful_stop_that_fails_is_followed_by_a_forced_one()
  local i = instance.of(connect(), "pgaf-1")
  server:add "pgaf-1"
  server:misbehave { deaf = true }
  lu.assertTrue(i:stop())
  local counts = server:counts()
  lu.assertTrue(counts.stop >= 1 and counts["stop force"] >= 1)
  lu.assertEquals(i:status(), "Stopped")
end

function T.test_frozen_ones_are_thawed_by_start_and_stopped_by_force()
  local i = instance.of(connect(), "pgaf-1")
  server:add "pgaf-1"
  lu.assertTrue(i:freeze())
  lu.assertFalse(i:freeze())
  lu.assertTrue(i:start())
  lu.assertEquals(i:status(), "Running")
  i:freeze()
  lu.assertTrue(i:stop())
  expect("state", nil, i.thaw, i)
end

function T.test_an_instance_that_does_not_exist_cannot_change()
  local i = instance.of(connect(), "none")
  expect("absent", nil, i.start, i)
  lu.assertFalse(i:delete())
end

function T.test_a_change_is_made_on_what_is_there_now()
  local i = instance.of(connect(), "pgaf-1")
  server:add("pgaf-1", { config = { ["user.a"] = "1" } })
  server:misbehave { meddle = 2 }
  local seen = 0
  lu.assertTrue(i:update(function(object)
    seen = seen + 1
    return { config = { ["user.a"] = object.config["user.a"] .. "2", ["user.b"] = "" } }
  end))
  lu.assertEquals(seen, 3)
  local config = i:get().config
  lu.assertEquals(config["user.a"], "12")
  lu.assertNotNil(config["user.meddled"])
  lu.assertFalse(i:update(function() return nil end))
end

function T.test_snapshots()
  local i = instance.of(connect(), "pgaf-1")
  server:add("pgaf-1", { config = { ["user.a"] = "before" } })
  lu.assertTrue(i:snapshot "baseline")
  lu.assertFalse(i:snapshot "baseline")
  lu.assertEquals(i:snapshots(), { "baseline" })
  i:update(function() return { config = { ["user.a"] = "after" } } end)
  i:restore "baseline"
  lu.assertEquals(i:get().config["user.a"], "before")
  lu.assertTrue(i:delete_snapshot "baseline")
  lu.assertFalse(i:delete_snapshot "baseline")
  expect("incus", nil, i.restore, i, "baseline")
end

test.run("incus_api", T)

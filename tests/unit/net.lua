local error = require "pgafrun.error"
local net = require "pgafrun.net"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local T = {}

function T.test_a_port_that_nobody_listens_on()
  -- Port 1 (tcpmux) is served nowhere today.
  lu.assertEquals({ net.probe("127.0.0.1", 1, 30) }, { false, "ECONNREFUSED" })
end

function T.test_a_name_that_is_none()
  local ok, code = net.probe("no-such-name.invalid", 80, 60)
  lu.assertFalse(ok)
  lu.assertStrContains(code, "EAI_")
  local resolved, e = pcall(net.resolve, "no-such-name.invalid")
  lu.assertFalse(resolved)
  lu.assertTrue(error.is(e, "network"), tostring(e))
  lu.assertStrContains(e.message, "no-such-name.invalid")
end

function T.test_resolve()
  lu.assertEquals(net.resolve "127.0.0.1", { "127.0.0.1" })
  lu.assertEquals(net.resolve "::1", { "::1" })
  lu.assertTableContains(net.resolve "localhost", "127.0.0.1")
end

function T.test_can_be_cancelled()
  local group <close> = task.group()
  group:spawn(net.probe, "127.0.0.1", 1, 60)
  group:spawn(net.resolve, "localhost")
  task.yield()
  group:cancel()
end

function T.test_wrong_arguments_are_mistakes_of_the_script()
  lu.assertErrorMsgContains("not a port", net.probe, "127.0.0.1", 0, 1)
  lu.assertErrorMsgContains("not a port", net.probe, "127.0.0.1", 65536, 1)
  lu.assertErrorMsgContains("seconds", net.probe, "127.0.0.1", 80, 0)
  lu.assertErrorMsgContains("empty", net.resolve, "")
end

test.run("net", T)

-- A task that a libuv timer made ready slept until something else happened: libuv before 1.45 goes on from its
-- timers to waiting for events. Connecting to a unix socket that is not there fails inside curl's first timer.

local is = require("pgafrun.error").is
local http = require "pgafrun.http"
local process = require "pgafrun.process"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

-- In a program of its own, because the fault is that nothing ends it: no other timer may be pending.
function T.test_a_failure_inside_a_timer_wakes_its_task()
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", "-e", [[
    local ok, e = pcall(require("pgafrun.http").request, { url = "http://x/", unix_socket = "/nonexistent/socket" })
    print(ok, e.code)]], timeout = 30 }
  lu.assertEquals(r.stdout, "false\tENOENT\n")
end

function T.test_and_so_here()
  local ok, e = pcall(http.request, { url = "http://x/", unix_socket = "/nonexistent/socket" })
  lu.assertFalse(ok)
  lu.assertTrue(is(e, "network"))
end

test.run("ready_before_poll", T)

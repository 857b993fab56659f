-- Notices by HTTP: what arrives, what is tried again, and that a notice which does not arrive is only told.

local fs = require "pgafrun.fs"
local http = require "pgafrun.http"
local json = require "pgafrun.json"
local notify = require "pgaf.drill.notify"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local http_server = dofile(here .. "/support/http_server.lua")
local lu = test.lu

local folder = fs.mkdtemp "pgafrun-notify-test"
local server = http_server.start(folder, "tcp")
local _ <close> = setmetatable({}, {
  __close = function()
    task.shield(30, function()
      server:stop()
      fs.remove_tree(folder)
    end)
  end,
})

local T = {}

local OUTCOME = { what = "drill", outcome = "PASSED", code = 0, formation = "f", run = "run-1", reasons = {} }

local function url(path) return ("http://127.0.0.1:%d%s"):format(server.port, path) end

local function send(path) notify.send({ urls = { url(path) }, commands = {} }, {}, OUTCOME) end

local function how_often(path)
  return math.tointeger(tonumber(http.request({ url = url("/how-often?" .. path) }).body))
end

function T.test_a_server_that_is_busy_is_asked_again()
  send "/third-time"
  local key, body = http.request({ url = url "/kept" }).body:match "^([^\n]*)\n(.*)$"
  lu.assertEquals(json.decode(body).outcome, "PASSED")
  lu.assertStrContains(key, "run-1")
  lu.assertEquals(how_often "/third-time", 3)
end

function T.test_a_server_that_answers_is_asked_once()
  send "/hook"
  lu.assertEquals(how_often "/hook", 1)
  send "/status/404"
end

-- In another process, whose log is looked at.
function T.test_a_notice_that_does_not_arrive_is_told_without_its_secrets()
  local script = ([[
    local notify = require "pgaf.drill.notify"
    local url = "http://robot:hidden-password@127.0.0.1:%d/status/404?token=hidden-token"
    notify.send(notify.parse { notify = { url } }, {}, {
      what = "drill", outcome = "FAILED", code = 2, formation = "f", reasons = {},
    })
    print "and on"]]):format(server.port)
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY" or "/proc/self/exe", "-e", script }
  lu.assertEquals({ r.code, r.stdout }, { 0, "and on\n" })
  lu.assertStrContains(r.stderr, "the notice did not arrive")
  lu.assertStrContains(r.stderr, "status 404")
  lu.assertNotStrContains(r.stderr, "hidden")
end

function T.test_an_interrupted_drill_is_told_as_well()
  local group <close> = task.group()
  group:spawn(function()
    task.current():cancel()
    lu.assertFalse((pcall(task.check)))
    send "/after-all"
  end)
  group:wait()
  lu.assertEquals(how_often "/after-all", 1)
end

test.run("notices", T)

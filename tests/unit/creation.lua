-- A creation that goes on as the service: what it has copied is told, its end is an error with its log, and nothing is
-- left that tries over and over. Whoever waits does so as long as there is progress.
local creation = require "pgaf.autofailover.creation"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local ARGV = { "pg_autoctl", "create", "postgres", "--name", "n2" }

-- A target whose service runs, and says its lines one after the other.
local function target(lines)
  local service = { stopped = 0, running = "running", said = 0 }
  function service:start(command) self.command = table.concat(command, " ") end
  function service:stop() self.stopped = self.stopped + 1 end
  function service:status() return self.running, "failed (failed), result exit-code, status 12, 0 restarts" end
  function service:logs()
    self.said = math.min(self.said + 1, #lines)
    return lines[self.said]
  end
  return { name = "n2", node = { service = function() return service end } }, service
end

local function look_anew(look)
  task.sleep(0.51) -- it asks the node no more often than twice a second
  return look()
end

function T.test_what_is_copied_is_told_once()
  local told = {}
  local made, service = target { "starting", "1024/30767 kB (3%), 0/1", "1024/30767 kB (3%), 0/1", "done" }
  local look = creation.start(made, ARGV, function(text) told[#told + 1] = text end)
  lu.assertEquals(service.command, "pg_autoctl create postgres --name n2 --run")
  lu.assertEquals(#ARGV, 5, "the words are not the service's to change")
  lu.assertEquals(look(), "")
  lu.assertEquals(service.said, 0, "not at once")
  lu.assertEquals(look_anew(look), "")
  for _ = 1, 3 do lu.assertEquals(look_anew(look), "1024/30767 kB (3%)") end
  lu.assertEquals(told, { "copied 1024/30767 kB (3%)" })
end

function T.test_its_end_is_an_error_with_the_log_and_it_is_not_tried_again()
  local made, service = target { "FATAL no route to the monitor\nbye" }
  local look = creation.start(made, ARGV, print)
  service.running = "failed"
  local ok, raised = pcall(look_anew, look)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "command"))
  lu.assertEquals(raised.operation, "pg_autoctl create postgres on n2")
  lu.assertStrContains(raised.message, "status 12")
  lu.assertStrContains(raised.message, "\n    FATAL no route to the monitor\n    bye")
  lu.assertStrContains(raised.hint, "run the same again")
  lu.assertEquals(service.stopped, 1)
end

-- A formation that says what `judge` returns, waited for.
local function wait(seconds, judge)
  local started = time.now()
  local node = { paths = function() return {} end }
  local provider = { system_user = "postgres", can = function() return true end, node = function() return node end }
  local formation = formations.open(provider, { formation = "f", monitor = { name = "m", port = 5432 }, nodes = {} })
  function formation.state() return {} end
  local ok, raised = pcall(formation.wait, formation, seconds, judge, "join n2", "a hint")
  return ok, raised, time.now() - started
end

function T.test_waiting_goes_on_while_there_is_progress()
  local looks = 0
  local ok, _, took = wait(0.15, function()
    looks = looks + 1
    return looks < 10 and "not yet" or nil, looks
  end)
  lu.assertTrue(ok)
  lu.assertTrue(took > 0.3, "longer than the seconds without progress")
end

function T.test_without_progress_it_ends()
  local ok, raised = wait(0.15, function() return "it is catchingup", "the same" end)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "timeout"))
  lu.assertStrContains(raised.message, "not so after 0.15 s without progress: it is catchingup")
  lu.assertEquals(raised.hint, "a hint")
end

function T.test_what_the_judge_raises_is_passed_on()
  local ok, raised = wait(5, function() error.raise { kind = "command", message = "ended" } end)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "command"))
end

test.run("creation", T)

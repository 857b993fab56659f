local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local time = require "pgafrun.time"

local lu = test.lu
local T = {}

local function node(name, reported, changes)
  local made = {
    nodeid = 1, name = name, reported = reported, goal = reported, running = true, health = 1, report_age = 0.5,
    state_age = 100,
  }
  for key, value in pairs(changes or {}) do made[key] = value end
  return made
end

local function formation(...)
  return { id = "default", known = true, at = time.now(), nodes = { ... }, monitor_uptime = 1000 }
end

local function reasons(...) return table.concat(state.problems(formation(...), { "a", "b" }), "; ") end

function T.test_primary_and_secondary_are_whole()
  lu.assertEquals(reasons(node("a", "primary"), node("b", "secondary")), "")
end

function T.test_rows_of_the_dead_are_not_believed()
  lu.assertStrContains(reasons(node("a", "primary", { report_age = 40 }), node("b", "secondary")), "heard of 40 s ago")
end

function T.test_a_monitor_that_has_just_started_knows_of_nobody()
  local made = formation(node("a", "primary"), node("b", "secondary"))
  made.monitor_uptime = 0.4
  lu.assertStrContains(state.problems(made)[1], "a has not been heard of since the monitor was started")
  made.nodes[1].report_age, made.nodes[2].report_age = 0.1, 0.3
  lu.assertEquals(state.problems(made), {})
end

function T.test_each_reason_is_told()
  lu.assertStrContains(reasons(node("a", "primary"), node("b", "secondary", { goal = "catchingup" })), "on its way")
  lu.assertStrContains(reasons(node("a", "primary"), node("b", "secondary", { health = 0 })), "fails")
  lu.assertStrContains(reasons(node("a", "primary"), node("b", "secondary", { running = false })), "does not run on b")
  lu.assertStrContains(reasons(node("a", "primary"), node("b", "maintenance")), "b is maintenance")
  lu.assertStrContains(reasons(node("a", "primary")), "b is in the inventory")
  lu.assertStrContains(reasons(node("a", "primary"), node("b", "primary")), "more than one primary")
  lu.assertStrContains(reasons(node("a", "secondary"), node("b", "secondary")), "no node is primary")
  lu.assertStrContains(reasons(node("a", "single"), node("b", "secondary")), "a is single")
end

function T.test_who_rests_is_in_maintenance_and_nothing_else()
  local function why(resting, ...) return table.concat(state.problems(formation(...), { "a", "b" }, resting), "; ") end
  local rests = { b = true }
  lu.assertEquals(why(rests, node("a", "wait_primary"), node("b", "maintenance", { running = false, health = 0 })), "")
  lu.assertEquals(why(rests, node("a", "primary"), node("b", "maintenance"), node("c", "secondary")), "")
  lu.assertStrContains(why(rests, node("a", "primary"), node("b", "secondary")), "b is secondary")
  lu.assertStrContains(why(rests, node("a", "primary"), node("b", "maintenance", { report_age = 9 })), "heard of")
  lu.assertStrContains(why(rests, node("a", "wait_primary"), node("b", "maintenance"), node("c", "secondary")),
    "a is wait_primary")
  lu.assertStrContains(why({}, node("a", "wait_primary"), node("b", "secondary")), "a is wait_primary")
end

function T.test_the_last_node_may_be_alone_where_that_is_wanted()
  local last = formation(node("a", "single"))
  lu.assertEquals(state.problems(last, { "a" }, {}), {})
  lu.assertStrContains(table.concat(state.problems(last, { "a" }), "; "), "a is single")
end

function T.test_an_unknown_formation_is_one_reason()
  lu.assertEquals(#state.problems { id = "x", known = false, nodes = {} }, 1)
end

-- A connection that answers with what `rows` returns.
local function fake(rows)
  return {
    query = function() return { rows = rows() } end, is_open = function() return true end, close = function() end,
  }
end

local function row(name, reported, changes)
  local made = node(name, reported, changes)
  made.monitor_wall, made.monitor_uptime, made.last_event = 1000, 500, 7
  return made
end

function T.test_reading_splits_formation_and_nodes()
  local read = state.read(fake(function() return { row("a", "primary"), row("b", "secondary") } end), "default")
  lu.assertEquals(#read.nodes, 2)
  lu.assertEquals(read.last_event, 7)
  lu.assertNil(read.nodes[1].monitor_uptime)
  lu.assertAlmostEquals(read.clock_offset, read.at - 1000, 1e-6)
  lu.assertEquals(state.primary(read).name, "a")
end

function T.test_whole_is_what_stays_whole()
  local reads = 0
  local connection = fake(function()
    reads = reads + 1
    local flaps = reads == 3
    return { row("a", "primary"), row("b", "secondary", flaps and { health = 0 } or nil) }
  end)
  local _, since = state.wait_whole(function() return connection end, "default",
    { timeout = 5, stable = 0.05, poll = 0.02 })
  lu.assertTrue(reads >= 5, reads .. " reads")
  lu.assertTrue(since <= time.now())
end

function T.test_waiting_ends_with_the_reasons()
  local connection = fake(function() return { row("a", "primary"), row("b", "catchingup") } end)
  local ok, problem = pcall(state.wait_whole, function() return connection end, "default",
    { timeout = 0.1, poll = 0.02 })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "timeout", "not-whole"))
  lu.assertStrContains(problem.message, "b is catchingup")
end

function T.test_an_unreachable_monitor_is_waited_for()
  local tries = 0
  local connection = fake(function() return { row("a", "primary"), row("b", "secondary") } end)
  state.wait_whole(function()
    tries = tries + 1
    if tries < 3 then error.raise { kind = "network", message = "no" } end
    return connection
  end, "default", { timeout = 5, stable = 0.01, poll = 0.01 })
  lu.assertEquals(tries, 3)
end

function T.test_timers_are_in_seconds()
  local timers = state.timers(fake(function()
    return {
      { name = "pgautofailover.health_check_period", setting = "5000", unit = "ms" },
      { name = "pgautofailover.health_check_max_retries", setting = "2" },
    }
  end))
  lu.assertEquals(timers.health_check_period, 5)
  lu.assertEquals(timers.health_check_max_retries, 2)
end

function T.test_password_files_are_read_as_libpq_does()
  local text = "# no\nh:1:other:x:no\n10.0.0.1:5432:pg_auto_failover:autoctl_node:a\\:b\\\\c\n"
  lu.assertEquals(connect.find_password(text, "pg_auto_failover", "autoctl_node"), "a:b\\c")
  lu.assertNil(connect.find_password(text, "pg_auto_failover", "nobody"))
  lu.assertEquals(connect.find_password("*:*:*:r:p", "any", "r"), "p")
end

-- What made a dial fail with "could not read root certificate file", once in many runs of doctor.
function T.test_tasks_that_fetch_the_certificate_side_by_side_share_one_that_stays()
  local pulled = 0
  local monitor = { name = "m" }
  function monitor.paths() return { ca_crt = "/ca.crt" } end
  function monitor.pull()
    pulled = pulled + 1
    local mine = pulled
    task.sleep(0.01 * mine)
    return "certificate " .. mine
  end
  local reach <close> = connect.open({ node = function() return monitor end }, { monitor = monitor, nodes = {} })
  local group <close> = task.group()
  local first, second = group:spawn(reach.ca, reach), group:spawn(reach.ca, reach)
  local path = first:wait()
  lu.assertEquals(second:wait(), path)
  collectgarbage()
  lu.assertEquals(pulled, 2)
  lu.assertEquals(fs.read(path), "certificate 1")
end

test.run("formation state", T)

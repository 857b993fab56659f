local budget = require "pgaf.doctor.budget"
local compare = require "pgaf.doctor.compare"
local error = require "pgafrun.error"
local incus = require "pgaf.doctor.incus"
local machine = require "pgaf.doctor.machine"
local node = require "pgaf.doctor.node"
local report = require "pgaf.doctor.report"
local sheet = require "pgaf.doctor.sheet"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local thresholds = require "pgaf.doctor.thresholds"
local time = require "pgafrun.time"

local lu = test.lu
local T = {}

-- What a look at something finds, as one line each.
local function found(look)
  local lines = {}
  for i, finding in ipairs(sheet.fill { { about = "it", check = "one", limit = 5, look = look } }) do
    lines[i] = finding.status .. ": " .. finding.text
  end
  return lines
end

local function only(look)
  local lines = found(look)
  lu.assertEquals(#lines, 1, table.concat(lines, "\n"))
  return lines[1]
end

function T.test_what_does_not_answer_delays_nobody_and_is_told()
  local findings = sheet.fill {
    { about = "a", check = "slow", limit = 0.05, look = function(page)
      page:ok "as far as it came"
      task.sleep(60)
    end },
    { about = "b", check = "quick", limit = 5, look = function(page) page:ok "well" end },
  }
  lu.assertEquals(#findings, 3)
  lu.assertEquals(findings[1].text, "as far as it came")
  lu.assertEquals(findings[2].status, "unknown")
  lu.assertStrContains(findings[2].text, "no answer within 0.05 s")
  lu.assertEquals(findings[3].about, "b")
  lu.assertEquals(sheet.exit_code(findings), 3)
end

function T.test_what_is_raised_is_a_problem_with_its_hint()
  local findings = sheet.fill {
    { about = "a", check = "x", limit = 5, look = function()
      error.raise { kind = "network", message = "not there", hint = "start it" }
    end },
    { about = "b", check = "y", limit = 5, look = function(page) page:ok "well" end },
  }
  lu.assertEquals(findings[1].text, "not there")
  lu.assertEquals(findings[1].mend, "start it")
  lu.assertEquals(findings[2].status, "ok")
  lu.assertEquals(sheet.exit_code(findings), 3)
end

function T.test_an_interrupt_ends_the_examination()
  local ok, problem = pcall(task.timeout, 0.05, sheet.fill, {
    { about = "a", check = "x", limit = 60, look = function() task.sleep(60) end },
  })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "timeout"))
end

function T.test_exit_codes()
  local function code(look)
    return sheet.exit_code(sheet.fill { { about = "a", check = "x", limit = 5, look = look } })
  end
  lu.assertEquals(code(function(page) page:ok "" end), 0)
  lu.assertEquals(code(function(page) page:warning("", "") end), 0)
  lu.assertEquals(code(function(page) page:unknown "" end), 0)
  lu.assertEquals(code(function(page) page:problem("", "") end), 1)
  lu.assertEquals(code(function(page)
    page:problem("", "")
    page:missing ""
  end), 3)
end

function T.test_versions_are_compared_number_by_number()
  lu.assertTrue(machine.at_least("7.88.1", "7.81"))
  lu.assertTrue(machine.at_least("7.81", "7.81"))
  lu.assertTrue(machine.at_least("10.0", "9.9"))
  lu.assertFalse(machine.at_least("7.9", "7.81"))
  lu.assertFalse(machine.at_least("2", "2.13"))
end

function T.test_versions_are_read_as_the_program_prints_them()
  local own, libraries = machine.read_versions(
    "pgafrun 0.1.0\nLua 5.4.4\nlibuv 1.44.2\nlibpq 15.10\nOpenSSL 3.0.15 3 Sep 2024\n")
  lu.assertEquals(own, "0.1.0")
  lu.assertEquals(libraries, {
    { name = "Lua", version = "5.4.4" }, { name = "libuv", version = "1.44.2" }, { name = "libpq", version = "15.10" },
    { name = "OpenSSL", version = "3.0.15" },
  })
end

function T.test_this_machine_has_what_it_needs()
  for _, finding in ipairs(sheet.fill(machine.checks())) do
    lu.assertNil(finding.missing, finding.text)
  end
end

function T.test_extensions_that_a_server_lacks()
  local function all() return true end
  lu.assertEquals(incus.missing_extensions(all, true), {})
  local function few(name) return name ~= "projects" and name ~= "clustering" end
  lu.assertEquals(incus.missing_extensions(few, false), { "projects (projects)" })
  lu.assertEquals(#incus.missing_extensions(few, true), 2)
end

function T.test_a_nodes_answer_is_read()
  local read = node.read_probe([[
disk /dev/loop0     1000      400       600      40% /var/lib/postgresql
disk overlay        2000      400      1600      20% /
postgres postgres (PostgreSQL) 15.10 (Debian 15.10-0+deb12u1)
autoctl pg_autoctl version 2.0
]])
  lu.assertEquals(read.disks, {
    { total = 1024000, free = 614400, place = "/var/lib/postgresql" },
    { total = 2048000, free = 1638400, place = "/" },
  })
  lu.assertEquals(read.installed, "15.10")
  lu.assertEquals(read.autoctl, "2.0")
end

function T.test_one_disk_is_told_once()
  lu.assertEquals(#node.read_probe("disk a 10 4 6 40% /\ndisk a 10 4 6 40% /\n").disks, 1)
end

function T.test_a_clock_is_as_sure_as_its_quickest_answer()
  local answers = 0
  local clock = node.measure_clock {
    run = function()
      answers = answers + 1
      if answers ~= 3 then task.sleep(0.02) end
      return { stdout = ("%.9f\n"):format(time.wall() + 100) }
    end,
  }
  lu.assertEquals(answers, 5)
  lu.assertTrue(math.abs(clock.offset - 100) <= clock.uncertainty + 0.001)
end

function T.test_clocks_count_beyond_their_uncertainty()
  local function tell(offset, uncertainty)
    return only(function(page) thresholds.clock(page, { offset = offset, uncertainty = uncertainty }) end)
  end
  lu.assertStrMatches(tell(0.01, 0.001), "ok: its clock is 0.0100 s ahead of .*")
  lu.assertStrMatches(tell(-2, 0.001), "warning: its clock is 2.0000 s behind .*")
  lu.assertStrMatches(tell(2, 1.9), "unknown: .*")
  lu.assertStrMatches(tell(-120, 1), "problem: .*certificates.*")
end

function T.test_disks()
  local GIB = 1024 ^ 3
  local function tell(total, free)
    return only(function(page) thresholds.disk(page, "it", total * GIB, free * GIB, "make room") end)
  end
  lu.assertEquals(tell(100, 50), "ok: it has 50.0 GiB free of 100.0 GiB")
  lu.assertEquals(tell(100, 9), "warning: it has 9.0 GiB free of 100.0 GiB")
  lu.assertEquals(tell(100, 2), "problem: it has 2.0 GiB free of 100.0 GiB")
  lu.assertEquals(tell(1, 0.9):match "^%a+", "ok")
end

function T.test_certificates()
  local function tell(days)
    return only(function(page) thresholds.certificate(page, "it", time.wall() + days * 86400, 90, "renew") end)
  end
  lu.assertEquals(tell(400):match "^%a+", "ok")
  lu.assertStrMatches(tell(60), "warning: it ends on .*, in 60 days")
  lu.assertEquals(tell(3):match "^%a+", "problem")
  lu.assertStrMatches(tell(-3), "problem: it ended on .*")
end

local function differences(facts)
  return found(function(page) compare.nodes(page, "m", { "a", "b" }, facts) end)
end

function T.test_nodes_that_are_the_same_are_well()
  local one = { installed = "15.10", running = "15.10", autoctl = "2.0", clock = { offset = 0, uncertainty = 0.001 } }
  for _, line in ipairs(differences { m = one, a = one, b = one }) do lu.assertEquals(line:match "^%a+", "ok") end
end

function T.test_nodes_of_which_nothing_is_known_are_passed_over()
  lu.assertEquals(differences {}, {})
  lu.assertEquals(#differences { m = {}, a = { installed = "15.10" } }, 1)
end

function T.test_other_versions_on_other_nodes_are_told()
  local lines = differences {
    m = { installed = "15.10" }, a = { installed = "15.10", running = "15.8" }, b = { installed = "15.8" },
  }
  lu.assertEquals(lines[1], "warning: PostgreSQL is not the same everywhere: 15.10 on m, a; 15.8 on b")
  lu.assertEquals(lines[2], "warning: a runs PostgreSQL 15.8, while 15.10 is installed")
end

function T.test_other_major_versions_cannot_replicate()
  lu.assertStrContains(differences { a = { installed = "15.10" }, b = { installed = "16.4" } }[1], "problem: ")
end

function T.test_clocks_that_are_apart_are_told()
  local lines = differences {
    m = { clock = { offset = 0, uncertainty = 0.1 } }, a = { clock = { offset = -1, uncertainty = 0.1 } },
    b = { clock = { offset = 1, uncertainty = 0.1 } },
  }
  lu.assertEquals(lines[1],
    "warning: the nodes' clocks are at most 2.0000 s apart (+- 0.2000 s): a is behind b")
end

local TIMERS = {
  health_check_period = 5, health_check_timeout = 5, health_check_max_retries = 2, health_check_retry_delay = 2,
  node_considered_unhealthy_timeout = 20, primary_demote_timeout = 30,
}
local INVENTORY = {
  formation = "f", provider = { kind = "local" }, nodes = { {}, {} }, timers = { network_partition_timeout = 20 },
  postgres = { wal_retrieve_retry_interval = "200ms" },
}

function T.test_timers_are_held_against_the_budget()
  local function tell(rto)
    return only(function(page) budget.look(page, INVENTORY, TIMERS, "the inventory", rto) end)
  end
  lu.assertEquals(tell(60):match "^%a+", "ok")
  lu.assertStrMatches(tell(52), "warning: .*not always kept.*primary_demote_timeout = 30 s.*")
  lu.assertStrMatches(tell(30), "problem: .*cannot be kept.*")
end

function T.test_a_primary_that_stops_too_late_is_a_problem()
  local timers = setmetatable({ primary_demote_timeout = 20 }, { __index = TIMERS })
  local lines = found(function(page) budget.look(page, INVENTORY, timers, "the inventory", 600) end)
  lu.assertStrContains(lines[2], "may still take writes when another one does")
end

function T.test_the_report_has_a_block_for_each_subject()
  local findings = {
    { status = "ok", about = "a", check = "x", text = "well" },
    { status = "problem", about = "b", check = "y", text = "broken", mend = "mend it" },
    { status = "unknown", about = "a", check = "z", text = "who knows" },
  }
  lu.assertEquals(report.lines(findings, { colour = false }), {
    "a", "  ok       x            well", "  unknown  z            who knows",
    "b", "  problem  y            broken", "                        -> mend it",
    "", "1 problem, 1 unknown, 1 ok",
  })
  local quiet = report.lines(findings, { colour = false, quiet = true })
  lu.assertEquals(quiet[2], "  unknown  z            who knows")
end

test.run("doctor", T)

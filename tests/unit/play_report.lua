-- What is told of a run: to people as lines, to programs as events, to CI as a JUnit file; and that nothing secret, and
-- nothing that a terminal or an XML parser chokes on, gets out.
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local mask = require "pgafrun.mask"
local process = require "pgafrun.process"
local report = require "pgaf.play.report"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local function item(step, target, fields)
  local made = { step = { step, where = "play.lua:7" }, target = { name = target }, status = "pending", after = {} }
  for key, value in pairs(fields or {}) do made[key] = value end
  return made
end

local STATUSES = { "ok", "changed", "failed", "unreachable", "skipped", "would", "deferred" }

-- Tells of items that have ended already; returns the lines.
local function told(items, options, mode)
  local lines = {}
  options = options or {}
  options.write = function(line) lines[#lines + 1] = line end
  local tell = report.new(options)
  local plan = { title = "trial", items = items }
  tell:begin(plan, mode)
  local counts = {}
  for _, status in ipairs(STATUSES) do counts[status] = 0 end
  for _, one in ipairs(items) do
    one.seconds = one.seconds or 0.01
    tell:started(one)
    tell:finished(one)
    counts[one.status] = counts[one.status] + 1
  end
  tell:finish {
    items = items, counts = counts, seconds = 1.25, mode = mode or {},
    failed = counts.failed + counts.unreachable > 0,
  }
  return table.concat(lines, "\n"), lines
end

local function command_failed(fields)
  local raised = {
    kind = "command", operation = "run on n1", code = "100", message = "`apt-get` ended with status 100",
    command = "apt-get -y install postgresql-97", result = { code = 100, stdout = "", stderr = "E: no package\n" },
  }
  for key, value in pairs(fields or {}) do raised[key] = value end
  return error.new(raised)
end

-- --------------------------------------------------------------------------------------------------- for people

function T.test_the_recap_counts_for_each_target()
  local text = told {
    item("one", "n1", { status = "ok" }), item("two", "n1", { status = "changed", detail = "wrote x" }),
    item("one", "n2", { status = "unreachable", error = error.new { kind = "unreachable", message = "gone" } }),
    item("two", "n2", { status = "skipped", barred = {}, detail = "after the failure of one on n2" }),
  }
  lu.assertStrContains(text, "n1  ok 1   changed 1   failed 0   skipped 0   unreachable 0")
  lu.assertStrContains(text, "n2  ok 0   changed 0   failed 0   skipped 1   unreachable 1")
  lu.assertStrContains(text, "UNREACHABLE: one on n2")
  lu.assertStrContains(text, "see whether n2 is up")
  lu.assertStrContains(text, "1 unreachable, 1 left out, 1 change in 1.25 s")
end

function T.test_the_slowest_steps_are_told_slowest_first()
  local items = { item("quick", "n1", { status = "ok", seconds = 0.2 }) }
  for i = 1, 7 do items[#items + 1] = item("step " .. i, "n1", { status = "changed", seconds = i, detail = "x" }) end
  local text = told(items)
  lu.assertStrMatches(text, ".*slowest:\n     7.00 s  step 7 on n1\n     6.00 s  step 6 on n1\n.*")
  lu.assertNotStrContains(text, "s  step 2 on n1")
  lu.assertNotStrContains(text, "quick on n1")
end

function T.test_check_mode_says_what_would_be()
  local text = told({
    item("files", "n1", { status = "would", detail = "/etc/x differs", changes = {
      { what = "/etc/x", before = "a\n", after = "b\n" }, { what = "work_mem", before = "4MB", after = "8MB" },
    } }),
    item("restart", "n1", { status = "deferred", detail = "would run after files on n1" }),
    item("other", "n1", { status = "ok" }),
  }, {}, { check = true, diff = true })
  lu.assertStrMatches(text, ".*would     files    n1  /etc/x differs\n    %-%-%- /etc/x\n    %+%+%+ /etc/x\n.*")
  lu.assertStrContains(text, "\n    -a\n    +b\n    work_mem: 4MB -> 8MB\n")
  lu.assertStrContains(text, "deferred  restart  n1  would run after files on n1")
  lu.assertStrContains(text, "n1  ok 1   would 1   deferred 1   failed 0   skipped 0   unreachable 0")
  lu.assertStrContains(text, "1 would change, 1 would run after it, nothing was touched in 1.25 s")
end

function T.test_check_mode_of_what_is_as_wanted_is_short()
  local _, lines = told({ item("files", "n1", { status = "ok" }) }, {}, { check = true })
  lu.assertEquals(lines, { "nothing would change, nothing was touched in 1.25 s" })
end

function T.test_many_would_run_after_them()
  local items = {}
  for i = 1, 3 do items[i] = item("w" .. i, "n1", { status = "would", detail = "x" }) end
  for i = 4, 15 do items[i] = item("d" .. i, "n1", { status = "deferred", detail = "x" }) end
  lu.assertStrContains(told(items, {}, { check = true }),
    "3 would change, 12 would run after them, nothing was touched")
end

function T.test_a_failed_command_is_told_with_status_output_and_what_to_do()
  local output = {}
  for i = 1, 30 do output[i] = "line " .. i end
  local text = told { item("packages", "n1", { status = "failed", error = command_failed {
    result = { code = 100, stdout = "", stderr = table.concat(output, "\n") .. "\n" },
  } }) }
  lu.assertStrContains(text, "FAILED: packages on n1\n  command      apt-get -y install postgresql-97\n")
  lu.assertStrContains(text, "\n  exit status  100\n  output       line 16\n               line 17\n")
  lu.assertStrContains(text, "line 30")
  lu.assertNotStrContains(text, "line 15")
  lu.assertStrContains(text, "\n  next         look on n1, mend it, and run the same again")
end

function T.test_with_vv_all_of_the_output_is_told()
  local output = {}
  for i = 1, 30 do output[i] = "line " .. i end
  local text = told({ item("packages", "n1", { status = "failed", error = command_failed {
    result = { code = 1, stdout = table.concat(output, "\n"), stderr = "" },
  } }) }, { verbosity = 2 })
  lu.assertStrContains(text, "line 1\n")
  lu.assertStrContains(text, "\n  step         play.lua:7")
end

function T.test_a_command_beneath_another_error_is_found_and_the_hint_kept()
  local text = told { item("key", "n1", { status = "failed", error = error.new {
    kind = "network", operation = "apt source pgdg", message = "n1 cannot fetch the key", cause = command_failed(),
    hint = "copy it here",
  } }) }
  lu.assertStrContains(text, "  what         apt source pgdg: n1 cannot fetch the key\n  command      apt-get")
  lu.assertStrContains(text, "  hint         copy it here")
  lu.assertNotStrContains(text, "\n  next ")
end

function T.test_no_traceback_unless_vv()
  local failed = item("one", "n1", { status = "failed", error = error.new {
    kind = "file", message = "no such file", traceback = "stack traceback:\n\tx.lua:1: in f",
  } })
  lu.assertNotStrContains(told { failed }, "stack traceback")
  lu.assertNotStrContains(told({ failed }, { verbosity = 1 }), "stack traceback")
  lu.assertStrContains(told({ failed }, { verbosity = 2 }), "stack traceback")
end

function T.test_a_mistake_in_the_library_is_told_at_the_place_of_the_step()
  local text = told { item("one", "n1", { status = "failed", error = error.new {
    kind = "script", message = "bad argument", where = "/usr/share/pgafrun/stdlib/pgaf/play/runner.lua:1",
  } }) }
  lu.assertStrContains(text, "  at           play.lua:7\n")
end

function T.test_quiet_tells_failures_alone()
  local text = told({
    item("one", "n1", { status = "changed", detail = "x" }),
    item("two", "n1", { status = "failed", error = command_failed() }),
  }, { verbosity = -1 })
  lu.assertStrContains(text, "FAILED: two on n1")
  lu.assertNotStrContains(text, "changed")
end

function T.test_very_many_failures_are_counted_and_very_many_targets_summed_up()
  local items = {}
  for i = 1, 60 do
    items[i] = item("one", "n" .. i, i <= 30 and { status = "failed", error = command_failed() } or { status = "ok" })
  end
  local text = told(items)
  local _, blocks = text:gsub("FAILED: ", "")
  lu.assertEquals(blocks, 25)
  lu.assertStrContains(text, "and 5 more; -v tells them all")
  lu.assertStrContains(text, "30 nodes on which nothing went wrong are not listed")
end

function T.test_what_nodes_wrote_cannot_move_the_cursor()
  local text = told { item("one\27[2J", "n1", {
    status = "failed",
    error = command_failed { result = { code = 1, stdout = "", stderr = "\27]0;x\7a\rb\xff\194\155" } },
  }) }
  lu.assertNil(text:find "[%z\1-\8\11-\31\127]")
  lu.assertTrue(utf8.len(text) ~= nil)
  lu.assertNil(text:find("\194\155", 1, true))
  lu.assertStrContains(text, "\\e]0;x\\x07a\\rb\\xff")
end

function T.test_retrying_and_interruption_are_told()
  local lines = {}
  local tell = report.new { write = function(line) lines[#lines + 1] = line end }
  local one = item("whole", "n1")
  tell:begin { title = "trial", items = { one } }
  tell:retrying(one, 2, error.new { kind = "timeout", message = "not yet" })
  tell:interrupted { one }
  lu.assertStrContains(lines[1], "whole  n1  attempt 2: not yet [timeout]")
  lu.assertStrContains(lines[2], "interrupted in: whole on n1. The same run again goes on from there.")
end

function T.test_only_what_a_failure_kept_back_is_left_out()
  local failed = item("one", "n1", { status = "failed", error = command_failed() })
  local text = told {
    failed, item("two", "n1", { status = "skipped", barred = failed, detail = "after the failure of one on n1" }),
    item("three", "n1", { status = "skipped", detail = "not wanted here" }),
    item("reload", "n1", { status = "skipped", handler = true, detail = "not notified" }),
  }
  lu.assertStrContains(text, "1 failed, 1 left out, nothing changed")
  lu.assertStrContains(text, "failed 1   skipped 2   unreachable 0")
end

function T.test_handlers_that_were_notified_and_did_not_run_are_told()
  local lines = {}
  local tell = report.new { write = function(line) lines[#lines + 1] = line end }
  local one, reload = item("files", "n1", { status = "running" }), item("reload", "n1")
  tell:begin { title = "trial", items = { one, reload } }
  tell:interrupted({ one }, { reload })
  lu.assertStrContains(lines[2], "notified, and not run: reload on n1.")
end

-- -------------------------------------------------------------------------------------------------- for programs

local function events_of(lines)
  local events = {}
  for i, line in ipairs(lines) do
    lu.assertNil(line:find "\n")
    events[i] = json.decode(line)
  end
  return events
end

function T.test_events_hold_command_status_and_changes()
  local _, lines = told({
    item("files", "n1", { status = "changed", detail = "wrote x", changes = {
      { what = "/etc/x", before = "a\n", after = "b\n" }, { what = "work_mem", after = "8MB" },
    } }),
    item("packages", "n1", { status = "failed", error = command_failed() }),
  }, { json = true }, { diff = true })
  local events = events_of(lines)
  local names = {}
  for i, event in ipairs(events) do names[i] = event.event end
  lu.assertEquals(names, { "begin", "started", "finished", "started", "finished", "recap" })
  lu.assertEquals(events[3].changes[2], { what = "work_mem", after = "8MB" })
  lu.assertStrContains(events[3].changes[1].diff, "-a\n+b")
  lu.assertEquals(events[5].error.command, "apt-get -y install postgresql-97")
  lu.assertEquals(events[5].error.status, 100)
  lu.assertEquals(events[6].counts.changed, 1)
  lu.assertTrue(events[6].failed)
end

function T.test_events_are_json_whatever_the_nodes_wrote()
  local _, lines = told({ item("one", "n1", { status = "changed", detail = "\xff\27[1m\n\0" }) }, { json = true })
  lu.assertEquals(events_of(lines)[3].detail, "\\xff\\e[1m\n\\0")
end

function T.test_progress_is_told_at_most_once_a_second()
  local lines = {}
  local tell = report.new { json = true, write = function(line) lines[#lines + 1] = line end }
  local one = item("packages", "n1")
  tell:begin { title = "trial", items = { one } }
  for i = 1, 50 do tell:progress(one, "libpq5", i / 50) end
  lu.assertEquals(#lines, 2)
  lu.assertEquals(events_of(lines)[2].fraction, 0.02)
end

-- ------------------------------------------------------------------------------------------------------- secrets

local function everything(secret)
  return {
    item("one " .. secret, "n1", { status = "changed", detail = "wrote " .. secret, changes = {
      { what = "password", before = "x", after = secret },
      { what = "/etc/x", before = "a\n", after = "a\npassword=" .. secret .. "\n" },
      { what = "hidden", before = "was-unknown-value", after = "is-unknown-value", secret = true },
    } }),
    item("two", "n1", { status = "failed", error = command_failed {
      command = "psql " .. secret, message = secret, hint = "not " .. secret,
      result = { code = 1, stdout = secret, stderr = ("x\n"):rep(3) .. "FATAL " .. secret .. "\n" },
      cause = error.new { kind = "x", message = secret },
    } }),
  }
end

function T.test_known_secrets_are_masked_in_everything_that_is_told()
  local folder = fs.mkdtemp "pgafrun-report"
  local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
  local secrets = { "hunter2-and-more", 'quo"ted\\ & <secret>-too', "key line one\nkey line two\nkey line three" }
  for _, secret in ipairs(secrets) do
    mask.add(secret)
    for _, options in ipairs { {}, { verbosity = 2 }, { json = true }, { json = true, verbosity = 2 } } do
      options.junit = folder .. "/junit.xml"
      local text = told(everything(secret), options, { diff = true })
      for _, shown in ipairs { text, fs.read(folder .. "/junit.xml") } do
        for _, part in ipairs { "hunter2", "quo", "line two", "line three", "unknown-value" } do
          lu.assertNotStrContains(shown, part)
        end
        lu.assertStrContains(shown, options.json and shown == text and "<secret>" or "secret")
      end
    end
  end
end

-- --------------------------------------------------------------------------------------------------------- JUnit

local function junit_of(items, act)
  local folder = fs.mkdtemp "pgafrun-report"
  local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
  local path = folder .. "/junit.xml"
  if act then
    local tell = report.new { junit = path, write = function() end }
    tell:begin({ title = "trial & <more>", items = items }, {})
    act(tell)
  else
    told(items, { junit = path })
  end
  local checked = process.run { "xmllint", "--noout", path }
  lu.assertEquals(checked.code, 0, checked.stderr)
  lu.assertEquals(fs.list(folder), { "junit.xml" })
  return fs.read(path)
end

function T.test_junit_has_one_suite_a_section_and_one_case_an_item()
  local machines = item("instance", "n1", { status = "ok" })
  machines.step.section = "The machines"
  local xml = junit_of {
    machines, item("files", "n1", { status = "changed", detail = "wrote x" }),
    item("two", "n1", { status = "failed", error = command_failed() }),
    item("three", "n1", { status = "skipped", detail = "after the failure of two on n1" }),
  }
  lu.assertStrContains(xml, '<testsuites name="trial" tests="4" failures="1" errors="0" skipped="1"')
  lu.assertStrContains(xml, '<testsuite name="The machines" tests="1" failures="0" errors="0" skipped="0"')
  lu.assertStrContains(xml, '<testsuite name="trial" tests="3" failures="1" errors="0" skipped="1"')
  lu.assertStrContains(xml, '<testcase classname="n1" name="files" time="0.010">')
  lu.assertStrContains(xml, '<failure type="command" message="run on n1: `apt-get` ended with status 100')
  lu.assertStrContains(xml, "E: no package")
  lu.assertStrContains(xml, '<skipped message="after the failure of two on n1"/>')
end

function T.test_junit_is_written_also_after_an_interruption()
  local done = item("one", "n1", { status = "ok", seconds = 1 })
  local at_work, to_come = item("two", "n1", { status = "running" }), item("three", "n1")
  local xml = junit_of({ done, at_work, to_come }, function(tell) tell:interrupted { at_work } end)
  lu.assertStrContains(xml, 'name="trial &amp; &lt;more&gt;" tests="3" failures="0" errors="1" skipped="1"')
  lu.assertStrContains(xml, '<error type="interrupted"')
  lu.assertStrContains(xml, '<skipped message="not reached: the run ended before"/>')
end

function T.test_junit_is_written_also_when_nothing_was_begun()
  local xml = junit_of({}, function(tell)
    tell:refused({ title = "trial" }, error.new { kind = "locked", message = "is being changed by somebody" })
  end)
  lu.assertStrContains(xml, '<testsuites name="trial" tests="1" failures="1"')
  lu.assertStrContains(xml, "is being changed by somebody")
end

function T.test_junit_is_xml_whatever_the_nodes_wrote()
  local xml = junit_of {
    item("a<b>&\"'\n\t\1", "n\xff1", { status = "failed", error = command_failed {
      message = "]]> <x> \0\27[1m \239\191\190 \237\160\128",
      result = { code = 1, stdout = "", stderr = "]]> & \8\12\239\191\191 \xc3\x28" },
    } }),
  }
  lu.assertStrContains(xml, 'name="a&lt;b&gt;&amp;&quot;\'&#10;&#9;\\x01"')
end

function T.test_a_junit_file_that_cannot_be_is_refused_before_anything_runs()
  for _, path in ipairs { "/nowhere/at/all.xml", "/etc/passwd/x.xml", "/tmp/", "/tmp" } do
    local ok, raised = pcall(report.new, { junit = path, write = function() end })
    lu.assertFalse(ok)
    lu.assertTrue(error.is(raised, "usage"))
    lu.assertStrContains(raised.message, path)
  end
end

test.run("play_report", T)

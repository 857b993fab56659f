local test = require "pgaf.test"
local timeline = require "pgaf.drill.timeline"

local lu = test.lu
local T = {}

local function begun()
  local made = timeline.new()
  made:expect("a", "a", { nodes = {
    { name = "a", reported = "primary", goal = "primary", health = 1 },
    { name = "b", reported = "secondary", goal = "secondary", health = 1 },
  } })
  made:mark("fault_sent", "a", 100)
  return made
end

local function sources(made, text)
  local found = {}
  for _, entry in ipairs(made.entries) do
    if entry.text == text then found[#found + 1] = entry.at end
  end
  return found
end

function T.test_the_story_of_a_fail_over()
  local made = begun()
  made:state("notify", 106, "a", "primary", "primary", "bad")
  made:state("notify", 120.0, "b", "secondary", "prepare_promotion", "good")
  made:state("notify", 120.0, "a", "primary", "draining", "bad")
  made:state("notify", 121, "b", "stop_replication", "stop_replication", "good")
  made:state("notify", 150, "b", "stop_replication", "wait_primary", "good")
  lu.assertEquals(made:at "noticed", 120.0)
  lu.assertEquals(made:at "assigned", 120.0)
  lu.assertEquals(made:at "presumed_gone", 150)
  lu.assertNil(made:at "synchronous")
  made:mark("start_sent", "a", 151)
  made:state("notify", 154, "a", "secondary", "secondary", "good")
  made:state("notify", 155, "b", "primary", "primary", "good")
  lu.assertEquals(made:at "rejoined", 154)
  lu.assertEquals(made:at "synchronous", 155)
  lu.assertEquals(#sources(made, "health bad"), 1)
end

function T.test_the_dead_primarys_row_says_nothing()
  local made = begun()
  made:state("poll", 130, "a", "primary", "primary")
  lu.assertNil(made:at "noticed")
  lu.assertNil(made:at "presumed_gone")
end

function T.test_what_was_told_twice_counts_once()
  local made = begun()
  made:state("notify", 120.01, "b", "secondary", "prepare_promotion", "good")
  made:state("notify", 120.05, "b", "secondary", "prepare_promotion", "good")
  made:state("event", 120.00, "b", "secondary", "prepare_promotion")
  made:state("poll", 120.5, "b", "secondary", "prepare_promotion")
  lu.assertEquals(#sources(made, "secondary -> prepare_promotion"), 1)
end

function T.test_the_event_table_fills_gaps()
  local made = begun()
  made:state("notify", 121, "b", "stop_replication", "stop_replication", "good")
  made:state("event", 120, "b", "secondary", "prepare_promotion")
  lu.assertEquals(#sources(made, "secondary -> prepare_promotion"), 1)
  -- It is told late, but it happened before: the order is that of the clock, and what is known now stays.
  lu.assertEquals(made.known.b.reported, "stop_replication")
  local last = 0
  for _, entry in ipairs(made.entries) do
    lu.assertTrue(entry.at >= last)
    last = entry.at
  end
end

function T.test_an_event_that_comes_late_moves_its_mark_back()
  local made = begun()
  made:state("notify", 121, "b", "stop_replication", "stop_replication", "good")
  lu.assertEquals(made:at "assigned", 121)
  made:state("event", 120, "b", "secondary", "prepare_promotion")
  lu.assertEquals(made:at "assigned", 120)
end

function T.test_a_late_event_is_compared_with_what_was_before_it()
  local made = begun()
  made:state("notify", 105.2, "a", "primary", "draining", "bad")
  made:state("event", 105.1, "a", "primary", "primary")
  lu.assertEquals(made:at "noticed", 105.2)
  lu.assertEquals(#sources(made, "primary -> primary"), 0)
end

function T.test_a_missed_state_is_covered_by_the_next()
  local made = begun()
  made:state("poll", 151, "b", "wait_primary", "wait_primary")
  lu.assertEquals(made:at "noticed", 151)
  lu.assertEquals(made:at "assigned", 151)
  lu.assertEquals(made:at "presumed_gone", 151)
end

function T.test_the_victim_is_heard_of_again_by_the_age_of_its_report()
  local made = begun()
  made:mark("start_sent", "a", 150)
  local function look(at, age)
    made:look { at = at, nodes = { { name = "a", reported = "demoted", goal = "demoted", report_age = age } } }
  end
  look(151, 51)
  lu.assertNil(made:at "heard_of")
  look(152, 0.5)
  lu.assertEquals(made:at "heard_of", 151.5)
end

function T.test_marks_keep_their_first_time()
  local made = begun()
  made:mark("promoted", "b", 110)
  made:mark("promoted", "b", 111)
  lu.assertEquals(made:at "promoted", 110)
end

function T.test_exported_times_count_from_the_fault()
  local made = timeline.new()
  made:note("drill", "before", nil, 99)
  made:mark("fault_sent", "a", 100)
  local exported = made:export()
  lu.assertEquals(exported[1].seconds, -1)
  lu.assertEquals(exported[2].seconds, 0)
end

test.run("drill timeline", T)

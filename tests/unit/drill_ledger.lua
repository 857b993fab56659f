local error = require "pgafrun.error"
local ledger = require "pgaf.drill.ledger"
local personas = require "pgaf.drill.personas"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

-- A ledger of writes { settled at, fate, host, writer }.
local function book(writes)
  local made = ledger.new()
  for _, write in ipairs(writes) do
    local id = made:send(write[4] or "client 1", write[3] or "a")
    made:settle(id, write[2])
    made.sent[id], made.settled[id] = write[1] - 0.001, write[1]
  end
  return made
end

local ACK, NO, UNKNOWN = "acknowledged", "refused", "unknown"

function T.test_a_write_in_flight_is_unknown()
  local made = ledger.new()
  made:send("client 1", "a")
  lu.assertEquals(made:tally().unknown, 1)
end

function T.test_the_gap_lies_between_the_servers()
  local gap = book {
    { 1.00, ACK }, { 1.01, ACK }, { 1.02, UNKNOWN }, { 3, NO }, { 6.50, ACK, "b" }, { 6.51, ACK, "b" },
  }:gap("client 1", 1.005, "a")
  lu.assertEquals(gap.from, 1.01)
  lu.assertEquals(gap.to, 6.50)
  lu.assertEquals(gap.from_host .. gap.to_host, "ab")
end

function T.test_split_brain_is_what_the_old_server_acknowledges_after_another_has()
  local made = book {
    { 1, ACK, "a" }, { 2, ACK, "a" }, { 5, ACK, "b" }, { 5.5, ACK, "a" }, { 6, NO, "a" }, { 9, ACK, "a" },
  }
  local ids, last = personas.split_brain(made, "a", 1.5)
  lu.assertEquals(ids, { 4, 6 })
  lu.assertEquals(last, 2)
  -- from 8 on it is the primary again
  lu.assertEquals(personas.split_brain(made, "a", 1.5, 8), { 4 })
end

function T.test_a_server_that_stays_primary_splits_nothing()
  lu.assertEquals(personas.split_brain(book { { 1, ACK, "a" }, { 9, ACK, "a" } }, "a", 2), {})
end

function T.test_the_dying_server_may_acknowledge_after_the_fault_was_sent()
  -- Sent at 1.005: neither the write at 1.01 nor the pause before it is the outage.
  local gap = book { { 1.00, ACK }, { 1.01, ACK }, { 1.04, ACK }, { 7, ACK, "b" } }:gap("client 1", 1.005, "a")
  lu.assertAlmostEquals(gap.seconds, 5.96, 1e-9)
end

function T.test_no_gap_without_a_write_on_another_server()
  lu.assertNil(book { { 1, ACK }, { 2, ACK }, { 9, ACK } }:gap("client 1", 1.5, "a"))
  lu.assertNil(book { { 1, ACK }, { 2, NO, "b" } }:gap("client 1", 1.5, "a"))
end

function T.test_each_client_has_its_own_gap()
  local made = book { { 1, ACK, "a", "x" }, { 1.5, ACK, "a", "y" }, { 5, ACK, "b", "y" }, { 6, ACK, "b", "x" } }
  lu.assertEquals(made:gap("x", 1, "a").seconds, 5)
  lu.assertEquals(made:gap("y", 1, "a").seconds, 3.5)
end

function T.test_nobody_could_write_between_two_servers_whoever_tried()
  local made = book { { 1, ACK, "a", "x" }, { 1.5, ACK, "a", "y" }, { 5, ACK, "b", "look" }, { 6, ACK, "b", "x" } }
  lu.assertEquals(made:outage(1.2).seconds, 3.5)
  made = book { { 1, ACK, "a", "x" }, { 2, ACK, "a", "x" }, { 4, NO, "b", "x" }, { 5, ACK, "b", "x" }, { 6, ACK, "c" } }
  lu.assertEquals(made:outage(1.5).seconds, 3)
  lu.assertNil(book({ { 1, ACK }, { 2, ACK } }):outage(1.5))
  lu.assertNil(book({ { 2, ACK } }):outage(1.5))
end

function T.test_the_longest_silence_of_a_span()
  local made = book { { 1, ACK }, { 6, ACK, "b" }, { 6.1, ACK, "b" }, { 8, ACK, "b" }, { 8.1, ACK, "b" } }
  lu.assertAlmostEquals(made:longest_silence("client 1", 6, 9).seconds, 1.9, 1e-9)
end

function T.test_audit_tells_what_is_lost_and_what_should_not_be_there()
  local made = book { { 1, ACK }, { 2, ACK }, { 3, NO }, { 4, NO }, { 5, UNKNOWN }, { 6, UNKNOWN } }
  local audit = made:audit { 1, 4, 5, 5, 77 }
  lu.assertEquals(audit.lost[1], 2)
  lu.assertEquals(#audit.lost, 1)
  lu.assertEquals(audit.ghosts[1], 4)
  lu.assertEquals(#audit.ghosts, 1)
  lu.assertEquals(audit.duplicates[1], 5)
  lu.assertEquals(audit.strangers[1], 77)
  lu.assertEquals(audit.unknown_present, 1)
  lu.assertEquals(audit.unknown_absent, 1)
end

function T.test_difference_finds_rows_of_one_side()
  local differs = ledger.difference({ 1, 2, 3 }, { 3, 2, 4 })
  lu.assertEquals(table.concat(differs, " "), "1 4")
  lu.assertEquals(#ledger.difference({ 1, 2 }, { 2, 1 }), 0)
end

local function fate(fields) return ledger.fate_of(error.new(fields)) end

function T.test_only_a_clear_no_is_a_refusal()
  lu.assertEquals(fate { kind = "postgres", code = "25006", message = "read-only" }, NO)
  lu.assertEquals(fate { kind = "postgres", code = "53100", message = "disk full" }, NO)
  lu.assertEquals(fate { kind = "network", message = "broke before it was sent" }, NO)
end

function T.test_what_may_be_committed_is_unknown()
  lu.assertEquals(fate { kind = "network", message = "broke", outcome = "unknown" }, UNKNOWN)
  lu.assertEquals(fate { kind = "timeout", message = "no answer", outcome = "unknown" }, UNKNOWN)
  lu.assertEquals(fate { kind = "postgres", code = "57P01", message = "shutting down" }, UNKNOWN)
  lu.assertEquals(fate { kind = "postgres", code = "40003", message = "completion unknown" }, UNKNOWN)
  lu.assertEquals(fate { kind = "postgres", message = "without a code" }, UNKNOWN)
  lu.assertEquals(ledger.fate_of "a bug", UNKNOWN)
end

function T.test_latencies_and_counts_are_of_their_span()
  local made = book { { 1, ACK }, { 2, NO }, { 3, ACK }, { 9, ACK } }
  lu.assertEquals(#made:latencies(0, 4), 2)
  lu.assertEquals(made:acknowledged_between(2, 9), 1)
end

test.run("drill ledger", T)

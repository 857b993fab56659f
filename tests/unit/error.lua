local error = require "pgafrun.error"
local test = require "pgaf.test"

local lu = test.lu

local T = {}

function T.test_it_reads_as_one_sentence_with_its_cause_and_what_to_do()
  local e = error.new {
    kind = "network", operation = "incus.start", code = "ECONNREFUSED", message = "no answer",
    cause = error.new { kind = "timeout", message = "late" }, hint = "start the daemon",
  }
  lu.assertEquals(tostring(e), "incus.start: no answer [network ECONNREFUSED]\n  cause: late [timeout]\n" ..
    "  hint: start the daemon")
end

function T.test_an_unknown_outcome_is_said()
  lu.assertStrContains(tostring(error.new { kind = "timeout", message = "m", outcome = "unknown" }), "outcome: unknown")
end

function T.test_it_knows_its_place()
  local e = error.new { kind = "data", message = "m" }
  lu.assertStrContains(e.where, "error.lua:")
  lu.assertFalse(e.retryable)
end

function T.test_is_compares_kind_and_code_and_never_text()
  local e = error.new { kind = "postgres", code = "25006", message = "m" }
  lu.assertTrue(error.is(e))
  lu.assertTrue(error.is(e, "postgres"))
  lu.assertTrue(error.is(e, "postgres", "25006"))
  lu.assertTrue(error.is(e, nil, "25006"))
  lu.assertFalse(error.is(e, "network"))
  lu.assertFalse(error.is(e, "postgres", "40P01"))
  lu.assertFalse(error.is("postgres"))
  lu.assertFalse(error.is({ kind = "postgres" }))
end

function T.test_kind_and_message_are_needed()
  lu.assertFalse((pcall(error.new, { message = "m" })))
  lu.assertFalse((pcall(error.new, { kind = "data" })))
end

function T.test_fields_of_ones_own_are_kept()
  lu.assertEquals(error.new { kind = "command", message = "m", result = { code = 3 } }.result.code, 3)
end

test.run("error", T)

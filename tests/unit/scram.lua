-- Passwords against SCRAM verifiers: one made by a PostgreSQL server, others made here.
local pg = require "pgafrun.pg"
local scram = require "pgafrun.scram"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

-- RFC 7677's example: user "user", password "pencil", StoredKey and ServerKey computed from its salt and 4096 rounds.
local PENCIL = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" ..
  "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

function T.test_the_example_of_rfc_7677()
  lu.assertTrue(scram.matches(PENCIL, "pencil"))
  lu.assertFalse(scram.matches(PENCIL, "pencil "))
  lu.assertFalse(scram.matches(PENCIL, ""))
end

function T.test_what_libpq_made()
  for _, password in ipairs { "changeme-DEV-ONLY", "x", ("long"):rep(64), "with 'quotes' and \\" } do
    local verifier = pg.scram_verifier(password, "app")
    lu.assertTrue(scram.matches(verifier, password))
    lu.assertFalse(scram.matches(verifier, password .. "x"))
  end
end

function T.test_what_is_no_verifier_matches_nothing()
  for _, text in ipairs {
    "", "md5d5a8b5b0a8d1b0c0", "SCRAM-SHA-256$", "SCRAM-SHA-256$0:AAAA$AAAA:AAAA", "SCRAM-SHA-256$4096:$:",
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==", PENCIL:gsub("%$WG5d", "$WG5"), (PENCIL:gsub("W22Z", "W2!Z")),
  } do
    lu.assertFalse(scram.matches(text, "pencil"))
  end
end

test.run("scram", T)

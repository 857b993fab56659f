-- What the prompt's objects are made of: rows, the production guard, the history.

local fs = require "pgafrun.fs"
local guard = require "pgaf.repl.guard"
local history = require "pgaf.repl.history"
local mask = require "pgafrun.mask"
local rows = require "pgaf.repl.rows"
local test = require "pgaf.test"

local lu = test.lu

local T = {}

local function shown(found) return getmetatable(found).__repl(found) end

function T.test_rows_as_an_aligned_table()
  local found = rows.of_csv 'name,n,"a ""b"""\nx,1,\n"two\nlines",22,\\N\nlonger,3,"\\N"\n'
  lu.assertEquals(#found, 3)
  lu.assertEquals(found[1], { name = "x", n = "1", ['a "b"'] = "" })
  lu.assertEquals(found[2], { name = "two\nlines", n = "22" })
  lu.assertEquals(found[3]['a "b"'], "\\N")
  lu.assertEquals(shown(found), table.concat({
    'name         n  a "b"', "----------  --  -----", "x            1", "two\\nlines  22", "longer       3  \\N",
    "3 rows",
  }, "\n"))
  lu.assertEquals(shown(rows.of_csv "n\n"), "n\n-\n0 rows")
  lu.assertEquals(shown(rows.of_tag "INSERT 0 1"), "INSERT 0 1")
end

function T.test_statements_that_only_read()
  for sql, reads in pairs {
    ["select 1"] = true, ["  SHOW ALL"] = true, ["/* x */ select 1;"] = true, ["-- c\nvalues (1)"] = true,
    ["select * from pgautofailover.node where nodeid in (1)"] = true, ["select pg_is_in_recovery()"] = true,
    ["delete from t"] = false, ["select 1; delete from t"] = false, ["select pg_promote ()"] = false,
    ["select PG_terminate_backend(1)"] = false, ["select pgautofailover.remove_node('a')"] = false, ["\\d"] = false,
    ["select pg_reload_conf()"] = false, [""] = false,
  } do
    lu.assertEquals(guard.only_reads(sql), reads, sql)
  end
end

function T.test_production_is_asked_about()
  local production = { environment = "production", formation = "prod" }
  local asked, answer
  local function ask(text)
    asked = text
    return answer
  end
  local g = guard.new(production, nil, ask)
  answer = "prod"
  g:allow "stop n1"
  lu.assertStrContains(asked, "To stop n1, type its name")
  for _, wrong in ipairs { "y", "" } do
    answer = wrong
    lu.assertErrorMsgContains("not done: stop n1", g.allow, g, "stop n1")
  end
  lu.assertErrorMsgContains("--i-know-this-is prod", function() guard.new(production):allow "stop n1" end)
  lu.assertErrorMsgContains("not done", function() guard.new(production, "other"):allow "stop n1" end)
  guard.new(production, "prod"):allow "stop n1"
  guard.new({ environment = "lab", formation = "x" }):allow "stop n1"
  guard.new(nil):allow "anything"
end

function T.test_history_is_private_and_without_secrets()
  local folder = fs.mkdtemp "pgafrun-h-"
  local path = folder .. "/state/pgafrun/history"
  mask.add "hunter2hunter2"
  local first = history.open(path)
  for _, entry in ipairs {
    "1 + 1", "for i = 1, 2 do\n  print(i, '\\n')\nend", "login('hunter2hunter2')",
    "sql \"alter role a password 'x'\"", "last", "last",
  } do first:add(entry) end
  lu.assertEquals(fs.stat(path).mode, tonumber("600", 8))
  lu.assertEquals(history.open(path).entries, { "1 + 1", "for i = 1, 2 do\n  print(i, '\\n')\nend", "last" })
  fs.chmod(path, tonumber("644", 8))
  history.open(path)
  lu.assertEquals(fs.stat(path).mode, tonumber("600", 8))
  fs.remove_tree(folder)
end

function T.test_a_history_that_cannot_be_kept_does_no_harm()
  local without = history.open "/proc/nowhere/history"
  without:add "1"
  lu.assertEquals(without.entries, { "1" })
end

test.run("repl_objects", T)

local process = require "pgafrun.process"
local test = require "pgaf.test"
local tty = require "pgafrun.tty"

local lu = test.lu

local T = {}

-- Runs code in a pgafrun of its own, which no terminal controls.
local function pgafrun(code, stdin)
  code = 'local tty = require "pgafrun.tty" ' .. code
  return process.run { process.getenv "PGAFRUN_TEST_BINARY", "-e", code, stdin = stdin }
end

function T.test_without_a_terminal_lines_come_from_standard_input()
  local code = [[
    for line in function() return tty.read_line { prompt = "? ", secret = true } end do print("[" .. line .. "]") end]]
  local r = pgafrun(code, "one\n\ntwo")
  lu.assertEquals(r.stdout, "[one]\n[]\n[two]\n")
  lu.assertEquals(r.stderr, "? ? ? ? ")
  lu.assertEquals(pgafrun(code).stdout, "") -- /dev/null
end

function T.test_what_is_no_terminal()
  lu.assertEquals(pgafrun("print(tty.is_terminal(0), tty.is_terminal(1), tty.is_terminal(99), (tty.size(0)))").stdout,
    "false\tfalse\tfalse\tnil\n")
end

function T.test_without_a_terminal_none_can_be_taken()
  local code = [[local ok, problem = pcall(tty.raw) print(ok, problem.kind, problem.code)]]
  lu.assertEquals(pgafrun(code).stdout, "false\tsystem\tENXIO\n")
end

function T.test_mistakes_are_told()
  lu.assertErrorMsgContains("no option 'promt'; there are: prompt, secret", tty.read_line, { promt = "?" })
  lu.assertErrorMsgContains("'secret' must be true or false", tty.read_line, { secret = 1 })
  lu.assertErrorMsgContains("no option 'entr'; there are: enter, leave", tty.raw, { entr = "" })
  lu.assertErrorMsgContains("a file descriptor", tty.is_terminal, -1)
  lu.assertErrorMsgContains("a time in seconds", tty.wait_resize, 0)
end

function T.test_a_wait_for_another_size_ends_in_time() lu.assertNil(tty.wait_resize(0.01)) end

test.run("tty", T)

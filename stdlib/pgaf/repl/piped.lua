-- A session without a terminal: the text on standard input, line by line, as if it were typed.

local throw = error
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"

local piped = {}

local CODES = { usage = 64, inventory = 64, cancelled = 130 }

-- All of it before anything is run: what reads here would block the loop. A pipe of another user's cannot be opened
-- by its name.
local function read_input()
  local ok, text = pcall(fs.read, "/dev/stdin")
  if ok then return text end
  if not error.is(text, "file") then error.raise(text) end
  return io.stdin:read "a" or ""
end

local function code_of(raised)
  return type(raised) == "table" and CODES[rawget(raised, "kind")] or 1
end

---Runs it to its end; a mistake does not keep what follows from being run.
---@param session pgaf.repl.Session
---@return integer exit_code of the last error; 0 without
function piped.run(session)
  local code = 0
  local text = read_input()
  for input in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch "([^\n]*)\n" do
    local ok, outcome = pcall(session.feed, session, input)
    if not ok then
      if error.is(outcome, "exit") and not outcome.status then return code end -- :quit
      throw(outcome, 0)
    end
    if outcome == "error" then code = code_of(session.values._err) end
  end
  if session.pending then
    session:reset()
    session:fail("input: the text ends in the middle of a statement")
    code = 1
  end
  return code
end

return piped

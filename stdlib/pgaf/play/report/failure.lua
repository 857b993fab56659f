-- What a person reads of a step that failed: where, what was run, what came back, and what to do next.

local error = require "pgafrun.error"
local failures = require "pgaf.failure"
local mask = require "pgafrun.mask"
local text = require "pgaf.play.report.text"

local failure = {}

local OUTPUT_LINES = 15
local OUTPUT_LINES_VERBOSE = 500
local COMMAND_COLUMNS = 160

-- For errors that bring no hint of their own; %s: the node.
local NEXT = {
  command = "look on %s, mend it, and run the same again",
  timeout = "it may still be at work on %s: run the same again, or give the step a longer `timeout`",
  verify = "something on %s undoes it, or the step looks at something else than it changes",
  drift = "this step only looks: mend it on %s by hand",
  script = "mend the script",
}
local MORE = { command = "; -vv shows all of its output", script = "; -vv shows the traceback" }
local NEXT_UNREACHABLE = "see whether %s is up and can be reached, and run the same again"

---What an error says, in one line.
---@param raised any
---@return string
function failure.first_line(raised)
  -- a colon at its end announces lines that are not shown here
  return (text.clean(failures.first_line(mask.apply(tostring(raised)))):gsub(":$", ""))
end

---The error, or one beneath it, that tells of a command that ended badly.
---@param raised any
---@return pgafrun.Error?
local function command_error(raised)
  for _ = 1, 20 do
    if not error.is(raised) then return nil end
    if raised.kind == "command" and raised.command and raised.result then return raised end
    raised = raised.cause
  end
  return nil
end
failure.command_error = command_error

-- Masked whole: a secret of several lines would not be found in one of them.
local function shown_lines(value) return text.lines(text.clean(mask.apply(tostring(value)))) end

local function add(lines, label, value)
  local pieces = shown_lines(value)
  for i, piece in ipairs(pieces) do
    lines[#lines + 1] = ("  %-11s  %s"):format(i == 1 and label or "", piece):gsub("%s+$", "")
  end
end

-- What the errors above the command's say. What it says itself is in the lines that follow.
local function add_story(lines, raised, command)
  while raised ~= command do
    add(lines, "what", ("%s%s"):format(raised.operation and raised.operation .. ": " or "", tostring(raised.message)))
    raised = raised.cause
  end
end

local function exit_status(result)
  if result.code then return tostring(result.code) end
  return result.signal and "ended by signal " .. tostring(result.signal) or "not known"
end

-- In one line, and not all of a long script. Masked first: what is cut off must not keep a secret from being found.
local function command_line(command, columns)
  return text.cut(text.clean(mask.apply(command.command)):gsub("%s+", " "), columns)
end

local function add_command(lines, command, target, verbosity)
  local result = command.result
  if command.operation and command.operation ~= "run on " .. target then add(lines, "what", command.operation) end
  add(lines, "command", command_line(command, verbosity >= 1 and 2000 or COMMAND_COLUMNS))
  add(lines, "exit status", exit_status(result))
  local output = result.stderr and result.stderr:find "%S" and result.stderr or result.stdout or ""
  local last = text.last_lines(mask.apply(output), verbosity >= 2 and OUTPUT_LINES_VERBOSE or OUTPUT_LINES)
  if #last == 0 then last[1] = "(none)" end
  for i, line in ipairs(last) do add(lines, i == 1 and "output" or "", line) end
end

local function find_hint(raised)
  for _ = 1, 20 do
    if not error.is(raised) then return nil end
    if raised.hint then return raised.hint end
    raised = raised.cause
  end
  return nil
end

-- A place in the library says nothing to who wrote the script: then the step's.
local function place_of(item)
  local where = type(item.error) == "table" and item.error.where
  if where and not where:find("stdlib/pgaf/", 1, true) then return where end
  return item.step.where
end

---@param item pgaf.Item one that failed or could not be reached
---@param verbosity integer as program.verbosity
---@return string[] lines
function failure.lines(item, verbosity)
  local raised, target = item.error, item.target.name
  local away = item.status == "unreachable"
  local lines = { text.clean(("%s: %s on %s"):format(away and "UNREACHABLE" or "FAILED", item.step[1], target)) }
  local command = command_error(raised)
  if command then
    add_story(lines, raised, command)
    add_command(lines, command, target, verbosity)
    if raised.outcome then add(lines, "outcome", "unknown: the change may have been made, or not") end
    local hint = find_hint(raised)
    if hint then add(lines, "hint", hint) end
  else
    for _, line in ipairs(shown_lines(raised)) do lines[#lines + 1] = "  " .. line end
  end
  local kind = type(raised) == "table" and raised.kind or nil
  if kind == "script" and place_of(item) then add(lines, "at", place_of(item)) end
  if verbosity >= 1 and item.step.where then add(lines, "step", item.step.where) end
  local what_next = away and NEXT_UNREACHABLE or not find_hint(raised) and NEXT[kind]
  if what_next then
    local more = not away and verbosity < 2 and MORE[kind] or ""
    add(lines, "next", what_next:gsub("%%s", (target:gsub("%%", "%%%%"))) .. more)
  end
  local traceback = verbosity >= 2 and type(raised) == "table" and raised.traceback
  if traceback then
    for _, line in ipairs(shown_lines(traceback)) do lines[#lines + 1] = "  " .. line end
  end
  return lines
end

---The same for programs.
---@param raised any
---@return table<string, any>
function failure.fields(raised)
  if not error.is(raised) then return { message = tostring(raised) } end
  local command = command_error(raised)
  return {
    kind = raised.kind, operation = raised.operation, code = raised.code, message = raised.message,
    hint = raised.hint, outcome = raised.outcome, cause = raised.cause and tostring(raised.cause),
    command = command and command_line(command, 2000), status = command and command.result.code,
    where = raised.kind == "script" and raised.where or nil,
  }
end

return failure

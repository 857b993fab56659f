-- Colours of a terminal (https://no-color.org holds): a word of the report in the colour of what it means.

local process = require "pgafrun.process"

local colour = {}

local CODES = {
  ok = "32", changed = "33", would = "33", failed = "31;1", unreachable = "31;1", skipped = "36", deferred = "36",
  removed = "31", added = "32", place = "36", faint = "2", bold = "1",
}

---@return boolean
function colour.is_wanted()
  local refused = process.getenv "NO_COLOR"
  return refused == nil or refused == ""
end

---@param value string
---@param meaning string? a key of CODES; anything else stays as it is
---@return string
function colour.paint(value, meaning)
  local code = CODES[meaning]
  if not code or value == "" then return value end
  return ("\27[%sm%s\27[0m"):format(code, value)
end

local DIFF = { ["+"] = "added", ["-"] = "removed", ["@"] = "place" }

---A line of a diff.
---@param line string
---@return string
function colour.diff(line) return colour.paint(line, DIFF[line:sub(1, 1)]) end

return colour

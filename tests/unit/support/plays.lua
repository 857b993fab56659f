-- Plays on targets that are names alone, and what a person sees of a run.

local play = require "pgaf.play"
local report = require "pgaf.play.report"

local plays = {}

---@param ... string names
---@return pgaf.Target[]
function plays.targets(...)
  local targets = {}
  for i, name in ipairs { ... } do targets[i] = { name = name } end
  return targets
end

---@param ... string names of the targets
---@return pgaf.Play
function plays.new(...) return play.new { title = "test", targets = plays.targets(...) } end

---Plans and runs a play.
---@param p pgaf.Play
---@param mode? pgaf.play.Mode
---@param selection? table
---@param options? table the report's; default: verbose
---@return pgaf.play.Result result, string text
function plays.run(p, mode, selection, options)
  local lines = {}
  options = options or { verbose = true }
  options.write = function(line) lines[#lines + 1] = line end
  return p:plan(selection):run(report.new(options), mode), table.concat(lines, "\n")
end

return plays

-- Drills as CI systems show them: a JUnit file with a suite for each formation and fault, a case for each run. A drill
-- that found something is a failure; one that could not be done, an error.

local junit = require "pgaf.junit"
local judge = require "pgaf.drill.judge"
local report = require "pgaf.drill.report"

local cases = {}

local FAILURES = { [judge.TOO_SLOW] = true, [judge.LOST] = true, [judge.NOT_PUT_BACK] = true }

---@param result table as pgaf.drill leaves it, or as a refusal does
---@param name string
---@param seconds number that it took
---@return pgaf.junit.Case
function cases.of(result, name, seconds)
  local verdict = result.verdict
  local case = { classname = result.formation, name = name, seconds = seconds }
  local lines = result.run and report.lines(result, { colour = false }) or verdict.reasons
  local text = table.concat(lines, "\n")
  if verdict.code == judge.PASSED then
    case.output = text
  else
    case.outcome = FAILURES[verdict.code] and "failures" or "errors"
    case.type, case.message, case.text = verdict.name, verdict.reasons[1] or verdict.name, text
  end
  return case
end

---One that was not come to.
---@param formation string
---@param name string
---@param why string
---@return pgaf.junit.Case
function cases.skipped(formation, name, why)
  return { classname = formation, name = name, outcome = "skipped", message = why }
end

---@param path string
---@param name string of the whole
---@param suites pgaf.junit.Suite[]
---@param seconds number
function cases.write(path, name, suites, seconds) junit.write(path, junit.document(name, suites, seconds)) end

return cases

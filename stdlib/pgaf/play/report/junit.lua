-- A run as a JUnit file: one suite for each section of the play, one case for each step on each target. A step that
-- would change something (check mode) has passed, and says so in its output; one that was not reached was skipped; one
-- that an interruption caught at work is an error.

local diff = require "pgaf.play.diff"
local failure = require "pgaf.play.report.failure"
local junit = require "pgaf.junit"
local log = require "pgafrun.log"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local LAST_SECONDS = 10

---@class pgaf.play.report.Junit
---@field path string
---@field verbosity integer
local Junit = {}
Junit.__index = Junit

---The folder must be there: that is found now, and not at the end of a long run.
---@param path string
---@param verbosity integer
---@return pgaf.play.report.Junit
function Junit.new(path, verbosity)
  junit.check(path)
  return setmetatable({ path = path, verbosity = verbosity, written = false }, Junit)
end

-- ---------------------------------------------------------------------------------------------------------- cases

local function output_of(item)
  local lines = {}
  if type(item.detail) == "string" then
    local would = item.status == "would" and "would change: " or item.status == "changed" and "changed: " or ""
    lines[1] = would .. item.detail
  end
  for _, change in ipairs(item.changes or {}) do
    for _, line in ipairs(diff.describe(change)) do lines[#lines + 1] = line end
  end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

local BAD = { failed = true, unreachable = true }
local FINISHED = { ok = true, changed = true, would = true }

local function outcome_of(item)
  if BAD[item.status] then return "failures" end
  if item.status == "running" then return "errors" end
  return not FINISHED[item.status] and "skipped" or nil
end

local function case_of(item, verbosity)
  local case = {
    classname = item.target.name, name = item.step[1], seconds = item.seconds, outcome = outcome_of(item),
  }
  if case.outcome == "failures" then
    case.type = type(item.error) == "table" and item.error.kind or "error"
    case.message = failure.first_line(item.error)
    case.text = table.concat(failure.lines(item, verbosity), "\n")
  elseif case.outcome == "errors" then
    case.type, case.message = "interrupted", "the run was interrupted while this was at work: it may be half done"
  elseif case.outcome == "skipped" then
    local reached = item.status == "skipped" or item.status == "deferred"
    local why = type(item.detail) == "string" and item.detail or nil
    if reached then case.message = why else case.message = "not reached: the run ended before" end
  end
  if case.outcome ~= "skipped" then case.output = output_of(item) end
  return case
end

local function suites_of(self)
  local suites, by_name = {}, {}
  for _, item in ipairs(self.plan.items) do
    local section = item.step.section
    local name = type(section) == "table" and section.title or section or self.plan.title
    local suite = by_name[name]
    if not suite then
      suite = { name = name, timestamp = self.stamp, cases = {} }
      by_name[name], suites[#suites + 1] = suite, suite
    end
    suite.cases[#suite.cases + 1] = case_of(item, self.verbosity)
  end
  return suites
end

---The whole document, as the plan's items are now.
---@return string
function Junit:document() return junit.document(self.plan.title, suites_of(self), time.now() - self.began) end

---What has to be right before anything is touched was not: one suite, whose one case tells why, and no step.
---@param plan pgaf.Plan
---@param raised any
function Junit:refused(plan, raised)
  self:begin { title = plan.title, items = { {
    step = { "before anything" }, target = { name = plan.title }, status = "failed", error = raised,
  } } }
  self:interrupted()
end

---@param plan pgaf.Plan
function Junit:begin(plan)
  self.plan, self.began, self.stamp = plan, time.now(), time.iso():match "^[^.]*"
end

-- Also written by a run that has been cancelled.
local function write(self) task.shield(LAST_SECONDS, junit.write, self.path, self:document()) end

---Raises when the file cannot be written.
function Junit:finish() write(self) end

---The run ends with what ended it: a file that cannot be written is only told.
function Junit:interrupted()
  local ok, raised = pcall(write, self)
  if not ok then log.warn("the JUnit file was not written", { why = tostring(raised) }) end
end

return Junit

-- A run as a JUnit file, which CI systems show as tests: one suite for each section of the play, one case for each step
-- on each target. A step that would change something (check mode) has passed, and says so in its output; one that was
-- not reached was skipped; one that an interruption caught at work is an error.

local diff = require "pgaf.play.diff"
local error = require "pgafrun.error"
local failure = require "pgaf.play.report.failure"
local fs = require "pgafrun.fs"
local log = require "pgafrun.log"
local mask = require "pgafrun.mask"
local task = require "pgafrun.task"
local text = require "pgaf.play.report.text"
local time = require "pgafrun.time"

local MODE = tonumber("644", 8)
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
  local folder = path:match "^(.*)/[^/]*$"
  if folder == "" then folder = "/" end
  local ok, found = pcall(function() return fs.stat(fs.realpath(folder or ".")) end)
  if not ok or not found or found.type ~= "directory" or path:sub(-1) == "/" then
    error.raise { kind = "usage", message = ("--junit %s: there is no folder for such a file"):format(path) }
  end
  return setmetatable({ path = path, verbosity = verbosity, written = false }, Junit)
end

-- ------------------------------------------------------------------------------------------------------------ XML

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

-- What XML 1.0 cannot hold, not even as an entity, shows as escapes or goes.
local function escape(value)
  value = text.clean(mask.apply(value)):gsub("\239\191[\190\191]", "")
  return (value:gsub('[&<>"]', ENTITIES))
end

local function attribute(value) return (escape(value):gsub("[\n\t]", { ["\n"] = "&#10;", ["\t"] = "&#9;" })) end

local function element(parts, indent, name, attributes, body)
  local open = { indent, "<", name }
  for _, pair in ipairs(attributes) do
    if pair[2] ~= nil then open[#open + 1] = (' %s="%s"'):format(pair[1], attribute(tostring(pair[2]))) end
  end
  open[#open + 1] = body == nil and "/>\n" or (">%s</%s>\n"):format(escape(body), name)
  parts[#parts + 1] = table.concat(open)
end

local function seconds(value) return ("%.3f"):format(value or 0) end

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

local function put_case(parts, item, verbosity)
  local outcome = outcome_of(item)
  local inner = {}
  if outcome == "failures" then
    local kind = type(item.error) == "table" and item.error.kind or "error"
    element(inner, "      ", "failure", { { "type", kind }, { "message", failure.first_line(item.error) } },
      table.concat(failure.lines(item, verbosity), "\n"))
  elseif outcome == "errors" then
    element(inner, "      ", "error", { { "type", "interrupted" },
      { "message", "the run was interrupted while this was at work: it may be half done" } })
  elseif outcome == "skipped" then
    local reached = item.status == "skipped" or item.status == "deferred"
    local why = type(item.detail) == "string" and item.detail or nil
    element(inner, "      ", "skipped", { { "message", reached and why or "not reached: the run ended before" } })
  end
  local output = outcome ~= "skipped" and output_of(item)
  if output then element(inner, "      ", "system-out", {}, output) end
  local open = ('    <testcase classname="%s" name="%s" time="%s"'):format(
    attribute(item.target.name), attribute(item.step[1]), seconds(item.seconds))
  if #inner == 0 then
    parts[#parts + 1] = open .. "/>\n"
  else
    parts[#parts + 1] = open .. ">\n" .. table.concat(inner) .. "    </testcase>\n"
  end
end

-- --------------------------------------------------------------------------------------------------------- suites

local function suites_of(plan)
  local suites, by_name = {}, {}
  for _, item in ipairs(plan.items) do
    local section = item.step.section
    local name = type(section) == "table" and section.title or section or plan.title
    local suite = by_name[name]
    if not suite then
      suite = { name = name, items = {}, failures = 0, errors = 0, skipped = 0, seconds = 0 }
      by_name[name], suites[#suites + 1] = suite, suite
    end
    suite.items[#suite.items + 1] = item
    suite.seconds = suite.seconds + (item.seconds or 0)
    local outcome = outcome_of(item)
    if outcome then suite[outcome] = suite[outcome] + 1 end
  end
  return suites
end

local function counts(tests, of, time_taken)
  return ('tests="%d" failures="%d" errors="%d" skipped="%d" time="%s"'):format(
    tests, of.failures, of.errors, of.skipped, seconds(time_taken))
end

---The whole document, as the plan's items are now.
---@return string
function Junit:document()
  local suites, all = suites_of(self.plan), { failures = 0, errors = 0, skipped = 0 }
  for _, suite in ipairs(suites) do
    for outcome in pairs(all) do all[outcome] = all[outcome] + suite[outcome] end
  end
  local parts = {
    '<?xml version="1.0" encoding="UTF-8"?>\n',
    ('<testsuites name="%s" %s>\n'):format(attribute(self.plan.title), counts(#self.plan.items, all,
      time.now() - self.began)),
  }
  for _, suite in ipairs(suites) do
    parts[#parts + 1] = ('  <testsuite name="%s" %s timestamp="%s">\n'):format(
      attribute(suite.name), counts(#suite.items, suite, suite.seconds), self.stamp)
    for _, item in ipairs(suite.items) do put_case(parts, item, self.verbosity) end
    parts[#parts + 1] = "  </testsuite>\n"
  end
  parts[#parts + 1] = "</testsuites>\n"
  return table.concat(parts)
end

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

-- The file is old or new, never half; it is also written by a run that has been cancelled.
local function write(self) task.shield(LAST_SECONDS, fs.write, self.path, self:document(), { mode = MODE }) end

---Raises when the file cannot be written.
function Junit:finish() write(self) end

---The run ends with what ended it: a file that cannot be written is only told.
function Junit:interrupted()
  local ok, raised = pcall(write, self)
  if not ok then log.warn("the JUnit file was not written", { why = tostring(raised) }) end
end

return Junit

-- What a person, or a program with --json, reads of a run: one line for what changed, failed or was left out, and a
-- recap. Steps that found everything as wanted are told with -v.

local error = require "pgafrun.error"
local json = require "pgafrun.json"
local program = require "pgafrun.program"
local time = require "pgafrun.time"

local report = {}

---@class pgaf.play.Report
local Report = {}
Report.__index = Report

---@param options? { json?: boolean, write?: fun(line: string), verbose?: boolean }
---@return pgaf.play.Report
function report.new(options)
  options = options or {}
  return setmetatable({
    json = options.json or false,
    verbose = options.verbose == nil and program.verbosity > 0 or options.verbose or false,
    quiet = program.verbosity < 0,
    write = options.write or function(line)
      io.stdout:write(line, "\n")
      io.stdout:flush()
    end,
  }, Report)
end

local function milliseconds(seconds) return math.floor(seconds * 1000 + 0.5) / 1000 end

-- One event a line, for programs.
---@param event string
---@param fields table
function Report:event(event, fields)
  if not self.json then return end
  local line = { event = event, at = time.iso() }
  for key, value in pairs(fields) do line[key] = value end
  self.write(json.encode(line))
end

---A line for people only.
---@param line string
function Report:say(line)
  if not self.json and not self.quiet then self.write(line) end
end

---@param plan pgaf.Plan
function Report:begin(plan)
  self.began = time.now()
  self.width, self.step_width = 0, 0
  for _, item in ipairs(plan.items) do
    self.width = math.max(self.width, #item.target.name)
    self.step_width = math.max(self.step_width, #item.step[1])
  end
  self:event("begin", { title = plan.title, steps = #plan.items })
end

-- Only the first line: a recap names the rest.
local function first_line(value)
  local text = tostring(value)
  return text:match("^[^\n]*")
end

local function line_of(self, item, detail)
  return ("%7.2f s  %-7s  %-" .. self.step_width .. "s  %-" .. self.width .. "s  %s"):format(
    time.now() - self.began, item.status, item.step[1], item.target.name, detail or ""):gsub("%s+$", "")
end

---@param item pgaf.Item
function Report:started(item)
  self:event("started", { step = item.step[1], node = item.target.name })
end

local function error_fields(raised)
  if not error.is(raised) then return { message = tostring(raised) } end
  return {
    kind = raised.kind, operation = raised.operation, code = raised.code, message = raised.message,
    hint = raised.hint, outcome = raised.outcome, cause = raised.cause and tostring(raised.cause),
  }
end

---@param item pgaf.Item
function Report:finished(item)
  self:event("finished", {
    step = item.step[1], node = item.target.name, status = item.status, seconds = milliseconds(item.seconds),
    detail = type(item.detail) == "string" and item.detail or nil,
    error = item.status == "failed" and error_fields(item.error) or nil,
  })
  if self.json then return end
  local quiet = item.status == "ok" or (item.status == "skipped" and not item.barred)
  if quiet and not self.verbose then return end
  if self.quiet and item.status ~= "failed" then return end
  local detail = type(item.detail) == "string" and item.detail or item.error and first_line(item.error)
  if item.status == "changed" and item.seconds >= 1 then
    detail = ("%s (%.1f s)"):format(detail or "", item.seconds)
  end
  self.write((line_of(self, item, detail)))
end

local function listed(items)
  local told = {}
  for i, item in ipairs(items) do told[i] = item.step[1] .. " on " .. item.target.name end
  return table.concat(told, ", ")
end

---@param items pgaf.Item[]
function Report:still_running(items)
  if #items == 0 then return end
  self:say(("%7.2f s  ...      %s"):format(time.now() - self.began, listed(items)))
end

---The run ends before its time; what was being done may be half done.
---@param items pgaf.Item[]
function Report:interrupted(items)
  local where = listed(items)
  self:event("interrupted", { at_work = where })
  self:say(("%7.2f s  interrupted in: %s. The same run again goes on from there."):format(
    time.now() - self.began, where ~= "" and where or "nothing"))
end

local STATUSES = { "ok", "changed", "failed", "unreachable", "skipped", "would", "deferred" }

-- One row a target.
local function recap(self, result)
  local rows, by_target = {}, {}
  for _, item in ipairs(result.items) do
    local row = by_target[item.target.name]
    if not row then
      row = { name = item.target.name }
      for _, status in ipairs(STATUSES) do row[status] = 0 end
      by_target[row.name], rows[#rows + 1] = row, row
    end
    row[item.status] = row[item.status] + 1
  end
  for _, row in ipairs(rows) do
    local parts = {}
    for i, status in ipairs(STATUSES) do
      if i <= 3 or row[status] > 0 then parts[#parts + 1] = ("%s %-3d"):format(status, row[status]) end
    end
    self:say(("  %-" .. self.width .. "s  %s"):format(row.name, table.concat(parts, " ")):gsub("%s+$", ""), nil)
  end
end

local function tell_failures(self, result)
  for _, item in ipairs(result.items) do
    if item.status == "failed" then
      self:say("")
      self:say(("FAILED: %s on %s"):format(item.step[1], item.target.name))
      self:say("  " .. tostring(item.error):gsub("\n", "\n  "))
      local traceback = type(item.error) == "table" and item.error.traceback
      if traceback and (program.verbosity >= 2 or item.error.kind == "script") then
        self:say("  " .. traceback:gsub("\n", "\n  "))
      end
    end
  end
end

---@param result pgaf.play.Result
function Report:finish(result)
  local counts = result.counts
  self:event("recap", { counts = counts, seconds = milliseconds(result.seconds), changed = counts.changed > 0 })
  if self.json then return end
  if counts.changed > 0 or counts.failed > 0 or self.verbose then recap(self, result) end
  tell_failures(self, result)
  local outcome = counts.changed == 0 and "nothing changed" or
    counts.changed == 1 and "1 change" or counts.changed .. " changes"
  if counts.failed > 0 then
    outcome = ("%d failed, %d left out, %s"):format(counts.failed, counts.skipped, outcome)
  end
  self:say(("%s in %.2f s"):format(outcome, result.seconds))
end

return report

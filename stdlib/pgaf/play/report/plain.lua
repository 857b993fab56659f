-- A run as lines of text: one for what changed, would change, failed or was left out, and a recap. Steps that found
-- everything as wanted are told with -v. Without colours it holds no escapes at all.

local colour = require "pgaf.play.report.colour"
local diff = require "pgaf.play.diff"
local failure = require "pgaf.play.report.failure"
local mask = require "pgafrun.mask"
local recap = require "pgaf.play.report.recap"
local text = require "pgaf.play.report.text"
local time = require "pgafrun.time"

local LONG_SECONDS = 1
local DETAIL_COLUMNS = 30
local MOST_FAILURES = 25

---@class pgaf.play.report.Plain
---@field write fun(line: string) one line, without its line break
---@field verbosity integer
---@field colours boolean
---@field always_recap boolean also after a run that changed nothing
---@field quiet_heart boolean? what is at work is shown elsewhere
---@field width_limit? fun(): integer? columns: where names and padding would take most of them, they are not padded
local Plain = {}
Plain.__index = Plain

---@param options table the fields
---@return pgaf.play.report.Plain
function Plain.new(options)
  return setmetatable({
    write = options.write, verbosity = options.verbosity or 0, colours = options.colours or false,
    always_recap = options.always_recap or false, width_limit = options.width_limit, quiet_heart = options.quiet_heart,
    status_width = 7, width = 0, step_width = 0, began = time.now(),
  }, Plain)
end

local function paint(self, value, meaning) return self.colours and colour.paint(value, meaning) or value end

---@param line string
function Plain:say(line)
  if self.verbosity >= 0 then self.write(text.clean(line)) end
end

---@param plan pgaf.Plan
---@param mode pgaf.play.Mode
function Plain:begin(plan, mode)
  self.began = time.now()
  self.status_width = mode.check and 8 or 7
  self.width, self.step_width = 0, 0
  for _, item in ipairs(plan.items) do
    self.width = math.max(self.width, #item.target.name)
    self.step_width = math.max(self.step_width, #item.step[1])
  end
end

local function stamp(self) return ("%7.2f s"):format(time.now() - self.began) end

-- Columns of equal width, unless the terminal is too narrow for them.
local function line_of(self, status, item, detail)
  local step, target = text.clean(item.step[1]), text.clean(item.target.name)
  local columns = self.width_limit and self.width_limit()
  local shown = status
  if not columns or columns >= 17 + self.status_width + self.step_width + self.width + DETAIL_COLUMNS then
    shown = text.pad(status, self.status_width)
    step, target = text.pad(step, self.step_width), text.pad(target, self.width)
  end
  local line = ("%s  %s  %s  %s  %s"):format(stamp(self), shown, step, target, detail or ""):gsub("%s+$", "")
  -- painted last: what is invisible must not count as width
  return self.colours and line:gsub(status, function(word) return colour.paint(word, status) end, 1) or line
end

-- Masked whole: a secret of several lines would not be found in what is left of it.
local function one_line(value) return (text.clean(mask.apply(value)):gsub("%s*\n%s*", "; ")) end

local function is_wanted(self, item)
  local bad = item.status == "failed" or item.status == "unreachable"
  if self.verbosity < 0 then return bad end
  local usual = item.status == "ok" or (item.status == "skipped" and not item.barred)
  return not usual or self.verbosity > 0
end

function Plain:changes(item)
  for _, change in ipairs(item.changes or {}) do
    for _, line in ipairs(diff.describe(change)) do
      self.write("    " .. (self.colours and colour.diff(line) or line))
    end
  end
end

---@param item pgaf.Item
function Plain:finished(item)
  if not is_wanted(self, item) then return end
  local detail = type(item.detail) == "string" and one_line(item.detail) or
    item.error and failure.first_line(item.error) or ""
  if item.status == "changed" and item.seconds >= LONG_SECONDS then
    detail = ("%s (%.1f s)"):format(detail, item.seconds)
  end
  self.write(line_of(self, item.status, item, detail))
  if item.changes then self:changes(item) end
end

---@param item pgaf.Item
---@param attempt integer the one that failed
---@param raised any
function Plain:retrying(item, attempt, raised)
  self:say(line_of(self, "again", item, ("attempt %d: %s"):format(attempt, failure.first_line(raised))))
end

---@param items pgaf.Item[]
function Plain:still_running(items)
  if #items == 0 or self.quiet_heart then return end
  self:say(("%s  ...      %s"):format(stamp(self), text.places(items)))
end

-- What notified them is as wanted now, and will not notify them again.
local function tell_not_run(self, items)
  if not items or #items == 0 then return end
  self.write(text.clean(("notified, and not run: %s. Another run will not notify them again: see to it by hand"):format(
    text.places(items))))
end

---@param items pgaf.Item[]
---@param not_run pgaf.Item[] handlers that were notified
function Plain:interrupted(items, not_run)
  local where = text.places(items)
  self:say(("%s  interrupted in: %s. The same run again goes on from there."):format(
    stamp(self), where ~= "" and where or "nothing"))
  tell_not_run(self, not_run)
end

local function tell_failures(self, result)
  local told, more = 0, 0
  for _, item in ipairs(result.items) do
    if item.status == "failed" or item.status == "unreachable" then
      if told < MOST_FAILURES or self.verbosity > 0 then
        told = told + 1
        self.write ""
        for i, line in ipairs(failure.lines(item, self.verbosity)) do
          self.write(i == 1 and paint(self, line, "failed") or line)
        end
      else
        more = more + 1
      end
    end
  end
  if more > 0 then self:say(("\nand %d more; -v tells them all"):format(more)) end
  if told > 0 then self:say("") end
end

---@param result pgaf.play.Result
function Plain:finish(result)
  local counts = result.counts
  local eventful = counts.ok + counts.skipped < #result.items
  if eventful or self.verbosity > 0 or self.always_recap then
    for _, line in ipairs(recap.rows(result, self.width_limit and self.width_limit())) do self:say(line) end
    for _, line in ipairs(recap.slowest(result)) do self:say(line) end
  end
  tell_failures(self, result)
  if not (result.mode and result.mode.check) then tell_not_run(self, result.not_run) end
  self:say(recap.outcome(result))
end

return Plain

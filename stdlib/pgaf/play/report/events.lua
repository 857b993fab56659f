-- A run as one JSON object a line, for programs.

local diff = require "pgaf.play.diff"
local failure = require "pgaf.play.report.failure"
local json = require "pgafrun.json"
local mask = require "pgafrun.mask"
local text = require "pgaf.play.report.text"
local time = require "pgafrun.time"

local PROGRESS_SECONDS = 1

---@class pgaf.play.report.Events
---@field write fun(line: string)
local Events = {}
Events.__index = Events

---@param write fun(line: string)
---@return pgaf.play.report.Events
function Events.new(write)
  return setmetatable({ write = write, told = setmetatable({}, { __mode = "k" }) }, Events)
end

local function milliseconds(seconds) return math.floor(seconds * 1000 + 0.5) / 1000 end

-- Secrets are masked before the text is encoded: what JSON escapes would not be found any more.
local function presentable(value)
  if type(value) == "string" then return text.clean(mask.apply(value)) end
  if type(value) ~= "table" or (getmetatable(value) or {}).__tojson then return value end
  local copy = setmetatable({}, getmetatable(value))
  for key, inner in pairs(value) do copy[key] = presentable(inner) end
  return copy
end

---@param event string
---@param fields table
function Events:event(event, fields)
  local line = presentable(fields)
  line.event, line.at = event, time.iso()
  self.write(json.encode(line))
end

local function section_of(step)
  local section = step.section
  return type(section) == "table" and section.title or section
end

local function place(item, fields)
  fields.step, fields.node, fields.section = item.step[1], item.target.name, section_of(item.step)
  return fields
end

---@param plan pgaf.Plan
---@param mode pgaf.play.Mode
function Events:begin(plan, mode)
  self:event("begin", {
    title = plan.title, steps = #plan.items, check = mode.check or nil, diff = mode.diff or nil,
  })
end

---@param item pgaf.Item
function Events:started(item) self:event("started", place(item, {})) end

---At most one a second for each step on each target.
---@param item pgaf.Item
---@param message string
---@param fraction? number
function Events:progress(item, message, fraction)
  local now = time.now()
  if now - (self.told[item] or -math.huge) < PROGRESS_SECONDS then return end
  self.told[item] = now
  self:event("progress", place(item, { message = message, fraction = fraction and milliseconds(fraction) }))
end

---@param item pgaf.Item
---@param attempt integer
---@param raised any
function Events:retrying(item, attempt, raised)
  self:event("retrying", place(item, { attempt = attempt, error = failure.fields(raised) }))
end

local function is_text(value) return value and (#value > 200 or value:find "\n") end

local function change_fields(change)
  local fields = { what = change.what, secret = change.secret or nil }
  if change.secret then return fields end
  if is_text(change.before) or is_text(change.after) then
    fields.diff = table.concat(diff.describe(change), "\n")
  else
    fields.before, fields.after = change.before, change.after
  end
  return fields
end

---@param item pgaf.Item
function Events:finished(item)
  local bad = item.status == "failed" or item.status == "unreachable"
  local changes
  if item.changes then
    changes = json.as_array {}
    for i, change in ipairs(item.changes) do changes[i] = change_fields(change) end
  end
  self:event("finished", place(item, {
    status = item.status, seconds = milliseconds(item.seconds or 0),
    detail = type(item.detail) == "string" and item.detail or nil,
    error = bad and failure.fields(item.error) or nil, changes = changes,
  }))
end

local function places_or_nil(items) return items and #items > 0 and text.places(items) or nil end

---@param items pgaf.Item[]
---@param not_run pgaf.Item[] handlers that were notified
function Events:interrupted(items, not_run)
  self:event("interrupted", { at_work = text.places(items), not_run = places_or_nil(not_run) })
end

---@param result pgaf.play.Result
function Events:finish(result)
  local counts = result.counts
  self:event("recap", {
    counts = counts, seconds = milliseconds(result.seconds), changed = counts.changed > 0, failed = result.failed,
    not_run = places_or_nil(result.not_run),
  })
end

return Events

-- The end of a run for people: one row for each target, the slowest steps, and one line that says how it went.

local text = require "pgaf.play.report.text"

local recap = {}

-- Of a run on very many targets only those are listed on which something went wrong.
local MOST_ROWS = 50
local SLOWEST = 5
local SLOW_SECONDS = 0.5

local RUN = { "ok", "changed", "failed", "skipped", "unreachable" }
local CHECK = { "ok", "would", "deferred", "failed", "skipped", "unreachable" }

local function count_by_target(items)
  local rows, by_target = {}, {}
  for _, item in ipairs(items) do
    local row = by_target[item.target.name]
    if not row then
      row = { name = text.clean(item.target.name), bad = false }
      by_target[item.target.name], rows[#rows + 1] = row, row
    end
    -- a handler that nobody notified is none
    local counts = not item.handler or item.status ~= "skipped" or item.barred
    if counts then row[item.status] = (row[item.status] or 0) + 1 end
    if item.status == "failed" or item.status == "unreachable" then row.bad = true end
  end
  return rows
end

local function row_line(row, statuses, width, columns)
  local parts, told = {}, {}
  for _, status in ipairs(statuses) do
    local count = row[status] or 0
    parts[#parts + 1] = ("%s %-3d"):format(status, count)
    if count > 0 then told[#told + 1] = ("%s %d"):format(status, count) end
  end
  local line = ("  %s  %s"):format(text.pad(row.name, width), table.concat(parts, " ")):gsub("%s+$", "")
  if not columns or text.width(line) <= columns then return line end
  return ("  %s  %s"):format(row.name, table.concat(told, " "))
end

---@param result pgaf.play.Result
---@param columns? integer where they are too few, only what there is is counted
---@return string[] lines
function recap.rows(result, columns)
  local rows, lines, width = count_by_target(result.items), {}, 0
  local many = #rows > MOST_ROWS
  local left_out = 0
  for _, row in ipairs(rows) do
    if not many or row.bad then width = math.max(width, text.width(row.name)) else left_out = left_out + 1 end
  end
  for _, row in ipairs(rows) do
    if not many or row.bad then
      lines[#lines + 1] = row_line(row, result.mode and result.mode.check and CHECK or RUN, width, columns)
    end
  end
  if left_out > 0 then
    lines[#lines + 1] = ("  %d nodes on which nothing went wrong are not listed"):format(left_out)
  end
  return lines
end

---@param result pgaf.play.Result
---@return string[] lines none when everything was quick
function recap.slowest(result)
  local slow, lines = {}, {}
  for _, item in ipairs(result.items) do
    if item.seconds and item.seconds >= SLOW_SECONDS then slow[#slow + 1] = item end
  end
  table.sort(slow, function(a, b) return a.seconds > b.seconds end)
  for i = 1, math.min(SLOWEST, #slow) do
    lines[1] = "slowest:"
    lines[#lines + 1] = text.clean(("%9.2f s  %s on %s"):format(slow[i].seconds, slow[i].step[1], slow[i].target.name))
  end
  return lines
end

-- What failed half-way may have changed something, too.
local function changes(result)
  local counts = result.counts
  if not (result.mode and result.mode.check) then
    local other = false
    for _, item in ipairs(result.items) do
      other = other or item.changed_at and (item.status == "failed" or item.status == "unreachable")
    end
    if counts.changed == 0 then return other and "nothing else changed" or "nothing changed" end
    return ("%d%s %s"):format(counts.changed, other and " other" or "", counts.changed == 1 and "change" or "changes")
  end
  local would, deferred = counts.would or 0, counts.deferred or 0
  local parts = { (would == 0 and "nothing" or tostring(would)) .. " would change" }
  if deferred > 0 then
    parts[#parts + 1] = would == 1 and ("%d would run after it"):format(deferred) or
      would > 1 and ("%d would run after them"):format(deferred) or ("%d are not known yet"):format(deferred)
  end
  parts[#parts + 1] = "nothing was touched"
  return table.concat(parts, ", ")
end

-- What a failure has kept from being begun; steps that were not wanted are not among them.
local function left_out(items)
  local count = 0
  for _, item in ipairs(items) do
    if item.status == "skipped" and item.barred then count = count + 1 end
  end
  return count
end

---"3 changes in 1.20 s", "1 failed, 4 left out, nothing else changed in 0.31 s".
---@param result pgaf.play.Result
---@return string
function recap.outcome(result)
  local counts, parts = result.counts, {}
  local failed, unreachable = counts.failed or 0, counts.unreachable or 0
  if failed > 0 then parts[#parts + 1] = ("%d failed"):format(failed) end
  if unreachable > 0 then parts[#parts + 1] = ("%d unreachable"):format(unreachable) end
  if #parts > 0 then parts[#parts + 1] = ("%d left out"):format(left_out(result.items)) end
  parts[#parts + 1] = changes(result)
  return ("%s in %.2f s"):format(table.concat(parts, ", "), result.seconds)
end

return recap

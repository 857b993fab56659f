-- Figures of several drills, for the terminal: a row for each fault.

local columns = require "pgaf.columns"

local rows = {}

local function cell(value) return value and ("%.2f"):format(value) or "-" end

-- "PASSED", or "PASSED 3, FAILED 1": the commonest first.
local function verdicts_of(row)
  local told = {}
  for name, n in pairs(row.verdicts) do told[#told + 1] = { name = name, n = n } end
  table.sort(told, function(a, b)
    if a.n ~= b.n then return a.n > b.n end
    return a.name < b.name
  end)
  local words = {}
  for i, one in ipairs(told) do words[i] = #told == 1 and one.name or ("%s %d"):format(one.name, one.n) end
  return table.concat(words, ", ")
end

local HEAD = { "fault", "n", "verdict", "median", "p95", "max", "last", "lost" }

local function cells_of(row)
  return {
    row.fault, tostring(row.n), verdicts_of(row), cell(row.gap.median), cell(row.gap.p95), cell(row.gap.max),
    cell(row.gap.values[row.gap.n]), row.lost and tostring(row.lost) or "unknown",
  }
end

local AT_THE_RIGHT = { [2] = true, [4] = true, [5] = true, [6] = true, [7] = true, [8] = true }

---A line for each row, with a head. Times are the seconds that clients could not write.
---@param list pgaf.campaign.Row[]
---@return string[]
function rows.lines(list)
  local all = { HEAD }
  for _, row in ipairs(list) do all[#all + 1] = cells_of(row) end
  return columns.lines(all, { right = AT_THE_RIGHT })
end

local function slower_of(row)
  return row.slower and row.slower > 0 and ("  (%d slower than their history)"):format(row.slower) or ""
end

---Each fault's own values, where there are more than the row tells.
---@param list pgaf.campaign.Row[]
---@return string[]
function rows.values(list)
  local lines = {}
  for _, row in ipairs(list) do
    if row.gap.n > 1 or slower_of(row) ~= "" then
      local values = {}
      for i, value in ipairs(row.gap.values) do values[i] = ("%.2f"):format(value) end
      lines[#lines + 1] = ("%s: %s%s"):format(row.fault, table.concat(values, " "), slower_of(row))
    end
  end
  return lines
end

return rows

-- What a few measurements say: few enough that their own values are kept, and so few that the mean would be moved by a
-- single one of them.

local json = require "pgafrun.json"

local statistics = {}

-- By what the median absolute deviation is multiplied to be the standard deviation where values are spread normally.
statistics.NORMAL = 1.4826

---@class pgaf.Statistics
---@field n integer
---@field median? number absent when there is nothing
---@field p95? number the smallest value that 95 % are not above: with fewer than 20 values the largest
---@field min? number
---@field max? number
---@field values number[] as they came

local function sorted(values)
  local list = table.move(values, 1, #values, 1, {})
  table.sort(list)
  return list
end

local function middle(list)
  local n = #list
  if n % 2 == 1 then return list[(n + 1) // 2] end
  return (list[n // 2] + list[n // 2 + 1]) / 2
end

---@param values number[]
---@return number? nil without values
function statistics.median(values) return #values > 0 and middle(sorted(values)) or nil end

---How far the values lie from their median, as the median of that.
---@param values number[] at least one
---@return number
function statistics.deviation(values)
  local median, distances = statistics.median(values), {}
  for i, value in ipairs(values) do distances[i] = math.abs(value - median) end
  return statistics.median(distances)
end

---@param values number[] in the order they came
---@return pgaf.Statistics
function statistics.of(values)
  local list = sorted(values)
  local n = #list
  return {
    n = n, median = n > 0 and middle(list) or nil, p95 = list[math.ceil(n * 0.95)], min = list[1], max = list[n],
    values = json.as_array(table.move(values, 1, n, 1, {})),
  }
end

return statistics

-- What psql answers, as rows, and rows as an aligned table.

local columns = require "pgaf.columns"
local inspect = require "pgaf.repl.inspect"

local rows = {}

---@class pgaf.repl.Rows: table<integer, table<string, string>>
---@field fields string[]
---@field tag string? "INSERT 0 1": of a statement without rows
local Rows = {}

---Reads CSV as RFC 4180 has it. \N without quotes is nil: psql is told to write NULL so.
---@param text string
---@return string?[][] records each with `n`
function rows.read_csv(text)
  local records, record, at = {}, { n = 0 }, 1
  local function add(value)
    record.n = record.n + 1
    record[record.n] = value
  end
  while at <= #text do
    local stop
    if text:sub(at, at) == '"' then
      local close = at
      repeat
        close = text:find('"', close + 1, true) or #text + 1
        local doubled = text:sub(close + 1, close + 1) == '"'
        if doubled then close = close + 1 end
      until not doubled
      add((text:sub(at + 1, close - 1):gsub('""', '"')))
      stop = close + 1
    else
      stop = text:find("[,\n]", at) or #text + 1
      local value = text:sub(at, stop - 1)
      add(value ~= "\\N" and value or nil)
    end
    if text:sub(stop, stop) ~= "," then
      records[#records + 1] = record
      record = { n = 0 }
    elseif stop == #text then
      add("")
      records[#records + 1] = record
    end
    at = stop + 1
  end
  return records
end

---@param text string CSV, the columns' names first
---@return pgaf.repl.Rows
function rows.of_csv(text)
  local records = rows.read_csv(text)
  local fields = {}
  for i = 1, records[1] and records[1].n or 0 do fields[i] = records[1][i] or "" end
  local found = setmetatable({ fields = fields }, Rows)
  for i = 2, #records do
    local row = {}
    for column, name in ipairs(fields) do row[name] = records[i][column] end
    found[i - 1] = row
  end
  return found
end

---The outcome of a statement without rows.
---@param tag string
---@return pgaf.repl.Rows
function rows.of_tag(tag) return setmetatable({ fields = {}, tag = tag }, Rows) end

---Rows of pgafrun.pg.
---@param result pgafrun.pg.Result
---@return pgaf.repl.Rows
function rows.of_result(result)
  local found = setmetatable({ fields = result.fields, tag = #result.fields == 0 and result.command or nil }, Rows)
  for i, row in ipairs(result.rows) do found[i] = row end
  return found
end

-- A cell on one line.
local function cell(value)
  if value == nil then return "" end
  return (inspect.plain(tostring(value)):gsub("\r?\n", "\\n"):gsub("\t", "\\t"))
end

---Lines of straight columns under their names; numbers to the right.
---@param fields string[]
---@param list table[] rows by field
---@return string[]
function rows.aligned(fields, list)
  local rules, right = {}, {}
  local texts = { fields, rules }
  for i, name in ipairs(fields) do
    local wide = columns.width(name)
    right[i] = #list > 0
    for n, row in ipairs(list) do
      local text = cell(row[name])
      texts[n + 2] = texts[n + 2] or {}
      texts[n + 2][i] = text
      wide = math.max(wide, columns.width(text))
      if text ~= "" and not tonumber(text) then right[i] = false end
    end
    rules[i] = ("-"):rep(wide)
  end
  return columns.lines(texts, { right = right })
end

function Rows.__repl(self)
  if self.tag then return self.tag ~= "" and self.tag or "done" end
  local lines = rows.aligned(self.fields, self)
  lines[#lines + 1] = #self == 1 and "1 row" or ("%d rows"):format(#self)
  return table.concat(lines, "\n")
end

return rows

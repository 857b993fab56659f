-- PostgreSQL's settings as values: "256MB" and 32768 pages of 8 kB are the same, 'on' and true too.

local suggest = require "pgaf.suggest"

local guc = {}

-- In bytes, and in microseconds.
local BYTES = { B = 1, kB = 1024, MB = 1024 ^ 2, GB = 1024 ^ 3, TB = 1024 ^ 4 }
local TIMES = { us = 1, ms = 1000, s = 1e6, min = 60e6, h = 3600e6, d = 86400e6 }

local TRUE = { on = true, ["true"] = true, yes = true, ["1"] = true, t = true, y = true }
local FALSE = { off = true, ["false"] = true, no = true, ["0"] = true, f = true, n = true }

-- Lists whose items are quoted one by one: given as one text, all of it would be one item.
local QUOTED_LISTS = {
  local_preload_libraries = true, search_path = true, session_preload_libraries = true,
  shared_preload_libraries = true, temp_tablespaces = true, unix_socket_directories = true,
}

---A row of pg_settings.
---@class pgaf.PgSetting
---@field name string
---@field vartype "bool"|"integer"|"real"|"string"|"enum"
---@field unit? string "8kB", "ms" ...
---@field min? string
---@field max? string
---@field enumvals? string[]

local function units_of(scale)
  local names = {}
  for name in pairs(scale) do names[#names + 1] = name end
  table.sort(names, function(a, b) return scale[a] < scale[b] end)
  return table.concat(names, ", ")
end

-- The scale that a setting's unit is of, and how large its unit is there: "8kB" is 8192 bytes.
local function scale_of(unit)
  local count, name = unit:match "^(%d*)(%a+)$"
  for _, scale in ipairs { BYTES, TIMES } do
    if scale[name] then return scale, (tonumber(count) or 1) * scale[name] end
  end
  return nil
end

-- A number in the setting's own unit.
local function number(row, value)
  local digits, unit = tostring(value):match "^%s*([+-]?[%d.]+[eE]?[+-]?%d*)%s*(%a*)%s*$"
  local amount = digits and tonumber(digits)
  if not amount then return nil, "it is a number" end
  if unit ~= "" then
    local scale, one = scale_of(row.unit or "")
    if not scale then return nil, "it has no unit" end
    if not scale[unit] then
      return nil, ("the unit %q is none of %s"):format(unit, units_of(scale))
    end
    amount = amount * scale[unit] / one
  end
  if row.vartype == "integer" then amount = math.floor(amount + 0.5) end
  local min, max = tonumber(row.min), tonumber(row.max)
  if (min and amount < min) or (max and amount > max) then
    local unit_words = row.unit and (" (in units of %s)"):format(row.unit) or ""
    return nil, ("it goes from %s to %s%s"):format(row.min, row.max, unit_words)
  end
  return amount
end

-- As quote_identifier() has it, which is how the server shows the items of a list.
local function item(text)
  if text:find "^[%l_][%l%d_]*$" then return text end
  return '"' .. text:gsub('"', '""') .. '"'
end

---The items of a quoted list, given as a table or as a text with commas; nil for any other setting.
---@param name string
---@param value any
---@return string[]?
function guc.items(name, value)
  if not QUOTED_LISTS[name:lower()] then return nil end
  if type(value) == "table" then return value end
  local list = {}
  for one in tostring(value):gmatch "[^,]+" do
    one = one:match "^%s*(.-)%s*$"
    if one ~= "" then list[#list + 1] = one:match '^"(.*)"$' or one end
  end
  return list
end

---A time in seconds; nil for what is none.
---@param value string|number "200ms", "5 s"; a bare number is in `unit`
---@param unit string? "ms", "s"
---@return number? seconds
function guc.seconds(value, unit)
  local digits, own = tostring(value):match "^%s*(-?[%d.]+)%s*(%a*)%s*$"
  local scale = digits and TIMES[own ~= "" and own or unit]
  return scale and tonumber(digits) * scale / 1e6
end

---A value in the one form in which it can be compared with another; or nil and what is wrong with it.
---@param row pgaf.PgSetting
---@param value any
---@return string|number|boolean|nil
---@return string?
function guc.canonical(row, value)
  local items = guc.items(row.name, value)
  if items then
    local words = {}
    for i, one in ipairs(items) do words[i] = item(one) end
    return table.concat(words, ", ")
  end
  if type(value) == "table" then return table.concat(value, ", ") end
  local text = tostring(value)
  if row.vartype == "bool" then
    if TRUE[text:lower()] then return true end
    if FALSE[text:lower()] then return false end
    return nil, "it is on or off"
  elseif row.vartype == "enum" then
    if type(value) == "boolean" then text = value and "on" or "off" end
    for _, one in ipairs(row.enumvals or {}) do
      if one == text:lower() then return one end
    end
    -- the server knows more words for on and off than it tells
    for _, one in ipairs(row.enumvals or {}) do
      if (one == "on" and TRUE[text:lower()]) or (one == "off" and FALSE[text:lower()]) then return one end
    end
    local near = suggest(text, row.enumvals or {})
    return nil, ("it is one of %s%s"):format(table.concat(row.enumvals or {}, ", "),
      near and (", did you mean %q?"):format(near) or "")
  elseif row.vartype == "integer" or row.vartype == "real" then
    return number(row, value)
  end
  if type(value) == "boolean" then return nil, "it is a text" end
  return text
end

---A value as a person writes it.
---@param value any
---@return string
function guc.show(value)
  if type(value) == "boolean" then return value and "on" or "off" end
  if type(value) == "table" then return table.concat(value, ", ") end
  if math.type(value) == "float" and math.tointeger(value) then return tostring(math.tointeger(value)) end
  if value == "" then return "''" end
  return tostring(value)
end

---What follows `=` in ALTER SYSTEM SET.
---@param name string
---@param value any
---@param literal fun(text: string): string
---@return string
function guc.expression(name, value, literal)
  local items = guc.items(name, value)
  if not items then return literal(value == "" and "" or guc.show(value)) end
  if #items == 0 then return "''" end
  local words = {}
  for i, one in ipairs(items) do words[i] = literal(one) end
  return table.concat(words, ", ")
end

return guc

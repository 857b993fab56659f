-- What Tab offers: names, fields, methods after a colon, keys in brackets and quotes, commands, and the options that a
-- call takes, as its annotation says. Nothing is called for it and nothing waits.

local inspect = require "pgaf.repl.inspect"

local complete = {}

local LEVELS = 8 -- of __index tables that are followed

-- ------------------------------------------------------------------------------------------------- values and keys

local function metatable_of(value)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and meta or nil
end

---A field, by raw tables alone. What a function for __index would return is not known, but for the names that the value
---says it has (__names), of which it is expected that looking them up is harmless.
---@param value any
---@param name any
---@return any
local function field(value, name)
  for _ = 1, LEVELS do
    if type(value) == "table" then
      local found = rawget(value, name)
      if found ~= nil then return found end
    end
    local meta = metatable_of(value)
    local index = meta and rawget(meta, "__index")
    if type(index) == "function" then
      return rawget(meta, "__names") and index(value, name) or nil
    end
    if type(index) ~= "table" then return nil end
    value = index
  end
end

local function add_keys(into, value)
  for _ = 1, LEVELS do
    local meta = metatable_of(value)
    local names = meta and rawget(meta, "__names")
    if names then
      for _, name in ipairs(names(value)) do into[name] = field(value, name) end
    end
    if type(value) == "table" then
      for key, one in next, value do
        if type(key) == "string" and into[key] == nil then into[key] = one end
      end
    end
    value = meta and rawget(meta, "__index")
    if type(value) ~= "table" then return end
  end
end

local function is_callable(value)
  if type(value) == "function" then return true end
  local meta = metatable_of(value)
  return meta ~= nil and rawget(meta, "__call") ~= nil
end

-- ------------------------------------------------------------------------------------------------------- expressions

local function global(session, name)
  local value = session.values[name]
  if value == nil then value = field(session.environment, name) end
  if value == nil then value = rawget(_G, name) end
  return value
end

-- What a call returns is known where the function is a value that says so (__result).
local function result_of(value)
  local meta = metatable_of(value)
  return meta and rawget(meta, "__result")
end

---The value of `a.b["c"]:d()`-like text, followed step by step from its front; nil where that is not possible.
---@param session pgaf.repl.Session
---@param text string
---@return any
local function resolve(session, text)
  local name, rest = text:match "^([%a_][%w_]*)(.*)$"
  if not name then return nil end
  local value = global(session, name)
  while value ~= nil and rest ~= "" do
    local key, after = rest:match "^%s*[.:]%s*([%a_][%w_]*)(.*)$"
    if not key then
      local _, quoted, behind = rest:match "^%[%s*([\"'])(.-)%1%s*%](.*)$"
      key, after = quoted, behind
    end
    if not key then
      local number, behind = rest:match "^%[%s*(%d+)%s*%](.*)$"
      key, after = math.tointeger(tonumber(number)), behind
    end
    if key then
      value, rest = field(value, key), after
    elseif rest:find "^%(%s*%)" then
      value, rest = result_of(value), rest:match "^%(%s*%)(.*)$"
    else
      return nil
    end
  end
  return value
end

-- The expression that the text ends with, from its first name on.
local function expression_at_end(text)
  local at = #text
  while at > 0 do
    local part = text:sub(1, at)
    local before = part:match "^(.-)[%a_][%w_]*$" or part:match "^(.-)%[%s*[\"'][^\"'%]]*[\"']%s*%]$"
      or part:match "^(.-)%[%s*%d+%s*%]$" or part:match "^(.-)%(%s*%)$" or part:match "^(.-)[.:]$"
    if not before then break end
    at = #before
  end
  return text:sub(at + 1)
end

-- ---------------------------------------------------------------------------------------------------------- offering

-- Sorted, and only what goes on with the word.
local function fitting(names, word)
  local list = {}
  for name in pairs(names) do
    if name:sub(1, #word) == word then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function members(session, text)
  local object, separator, word = text:match "^(.-)%s*([.:])%s*([%w_]*)$"
  if not object or object:find "%.$" then return nil end
  local expression = expression_at_end(object)
  local value = expression ~= "" and resolve(session, expression)
  if value == nil or value == false then return nil end
  local found, names = {}, {}
  if type(value) == "string" then value = string end
  add_keys(found, value)
  for name, one in pairs(found) do
    local hidden = name:find "^__" and word == ""
    if inspect.is_name(name) and not hidden and (separator == "." or is_callable(one)) then names[name] = true end
  end
  return fitting(names, word), #text - #word + 1
end

local function bracketed(session, text)
  local object, quote, word = text:match "^(.-)%[%s*([\"'])([^\"'%]]*)$"
  if not object then return nil end
  local expression = expression_at_end(object)
  local value = expression ~= "" and resolve(session, expression)
  if value == nil or value == false then return nil end
  local found, names = {}, {}
  add_keys(found, value)
  for name, one in pairs(found) do
    if type(one) ~= "function" then names[name .. quote .. "]"] = true end
  end
  return fitting(names, word), #text - #word + 1
end

-- Within the braces of a call: logs{ follow = true, li
local function options(session, text)
  local call, inside = text:match "([%w_.:]+)%s*%(?%s*{([^{}]*)$"
  if not call or not session.help then return nil end
  local word = inside:match "[%w_]*$"
  local lead = inside:sub(1, #inside - #word)
  if not lead:find "^%s*$" and not lead:find "[,;]%s*$" then return nil end
  local names = {}
  for _, name in ipairs(session.help:options(call:match "[%w_]+$")) do names[name .. " = "] = true end
  local list = fitting(names, word)
  return #list > 0 and list or nil, #text - #word + 1
end

local function globals(session, text)
  local word = text:match "[%a_][%w_]*$" or ""
  if word == "" and text:find "%S" then return {}, #text + 1 end
  local found = {}
  add_keys(found, session.environment)
  for name in next, _G do found[name] = true end
  for name in pairs(inspect.KEYWORDS) do found[name] = true end
  for name in pairs(session.values) do found[name] = true end
  for name in pairs(found) do
    if not inspect.is_name(name) and not inspect.KEYWORDS[name] then found[name] = nil end
  end
  return fitting(found, word), #text - #word + 1
end

local function command(session, text)
  local name = text:match "^%s*:(%a*)$"
  if name then
    local names = {}
    for key in pairs(getmetatable(session.commands).__index) do names[key] = true end
    for key in pairs(session.commands) do names[key] = true end
    return fitting(names, name), #text - #name + 1
  end
  local which, rest = text:match "^%s*:(%a+)%s+(.*)$"
  local one = which and session.commands[which]
  if not one then return nil end
  if not one.complete then return {}, #text + 1 end
  local list, from = one.complete(session, rest)
  return list, #text - #rest + from
end

---@param session pgaf.repl.Session
---@param text string the line up to the cursor
---@return string[] list, integer from
function complete.candidates(session, text)
  if not session.pending and text:find "^%s*:%a" or text == ":" then
    local list, from = command(session, text)
    if list then return list, from end
  end
  for _, offer in ipairs { bracketed, options, members } do
    local list, from = offer(session, text)
    if list then return list, from end
  end
  if text:find "[.:][%w_]*$" then return {}, #text + 1 end
  return globals(session, text)
end

-- ------------------------------------------------------------------------------------------------------ for terminals

local function common_start(list)
  local start = list[1]
  for _, word in ipairs(list) do
    while word:sub(1, #start) ~= start do start = start:sub(1, -2) end
  end
  return start
end

---Words in columns, down first.
---@param words string[]
---@param columns integer of the terminal
---@return string
function complete.in_columns(words, columns)
  local widest = 0
  for _, word in ipairs(words) do widest = math.max(widest, utf8.len(word) or #word) end
  local across = math.max(1, (columns + 2) // (widest + 2))
  local rows = math.ceil(#words / across)
  local lines = {}
  for row = 1, rows do
    local cells = {}
    for i = row, #words, rows do
      cells[#cells + 1] = words[i] .. (" "):rep(widest - (utf8.len(words[i]) or #words[i]))
    end
    lines[row] = table.concat(cells, "  "):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

---The answer to Tab, for pgafrun.line: as far as it is clear, and otherwise what there is to choose from.
---@param session pgaf.repl.Session
---@param before string
---@return string? replaced, string? above
function complete.answer(session, before)
  local list, from = complete.candidates(session, before)
  if #list == 0 then return nil, nil end
  local start = common_start(list)
  local replaced = before:sub(1, from - 1) .. start
  if #list == 1 or replaced ~= before then return replaced, nil end
  return nil, complete.in_columns(list, session:columns())
end

return complete

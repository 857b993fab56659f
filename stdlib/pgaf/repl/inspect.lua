-- A value as a person reads it: tables with sorted keys and a limit of depth, cycles marked, errors with their
-- structure, secrets masked, and nothing that a terminal would take for a command.

local error = require "pgafrun.error"
local json = require "pgafrun.json"
local mask = require "pgafrun.mask"
local secret = require "pgaf.secret"

local inspect = {}

local DEPTH = 4
local COLUMNS = 100
local ITEMS = 200
local TEXT_BYTES = 4000

---@class pgaf.repl.InspectOptions
---@field depth? integer levels of tables that are opened, default 4
---@field columns? integer width of the terminal, default 100
---@field items? integer of one table that are shown, default 200

-- ------------------------------------------------------------------------------------------------------------ texts

local NAMED = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }

local function escape(c) return NAMED[c] or ("\\x%02x"):format(c:byte()) end

-- What is no UTF-8 is shown by its bytes, and so are the C1 controls, which some terminals obey.
local function printable(text, pattern)
  text = text:gsub(pattern, escape)
  if utf8.len(text) then
    return (text:gsub("\xc2[\x80-\x9f]", function(c) return escape(c:sub(1, 1)) .. escape(c:sub(2)) end))
  end
  local parts, at = {}, 1
  while at <= #text do
    local _, bad = utf8.len(text, at)
    parts[#parts + 1] = text:sub(at, (bad or #text + 1) - 1)
    if bad then parts[#parts + 1] = escape(text:sub(bad, bad)) end
    at = bad and bad + 1 or #text + 1
  end
  return table.concat(parts)
end

---A text for the terminal as it is, but without control characters (line ends and tabs stay) and secrets.
---@param text string
---@return string
function inspect.plain(text) return printable(mask.apply(text), "[%z\1-\8\11-\31\127]") end

---A text in quotes, on one line; a long one is cut, and says so.
---@param text string
---@return string
function inspect.quote(text)
  local masked = mask.apply(text)
  if #masked <= TEXT_BYTES then return '"' .. printable(masked, '[%c\\"]') .. '"' end
  local cut = utf8.offset(masked, 0, TEXT_BYTES) or TEXT_BYTES
  return ('"%s"... (%d bytes in all)'):format(printable(masked:sub(1, cut - 1), '[%c\\"]'), #masked)
end

-- ----------------------------------------------------------------------------------------------------------- tables

local RANK = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local rank_a, rank_b = RANK[type(a)] or 4, RANK[type(b)] or 4
  if rank_a ~= rank_b then return rank_a < rank_b end
  if rank_a <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true
  until while]]):gmatch "%a+" do KEYWORDS[word] = true end
inspect.KEYWORDS = KEYWORDS

---Whether a key can be written without brackets.
---@param key any
---@return boolean
function inspect.is_name(key) return type(key) == "string" and key:find "^[%a_][%w_]*$" ~= nil and not KEYWORDS[key] end

local render -- value, state, level -> string

local function key_text(key, state, level)
  if inspect.is_name(key) then return key end
  if type(key) == "string" then return "[" .. inspect.quote(key) .. "]" end
  if type(key) == "table" then return "[" .. tostring(key) .. "]" end
  return "[" .. render(key, state, level) .. "]"
end

local function keys_of(value)
  local keys, length = {}, #value
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then keys[#keys + 1] = key end
  end
  table.sort(keys, before)
  return keys, length
end

-- What is in the table, one text for each, up to the limit.
local function entries_of(value, state, level)
  local keys, length = keys_of(value)
  local entries = {}
  for i = 1, math.min(length, state.items) do entries[i] = render(rawget(value, i), state, level + 1) end
  for i = 1, math.min(#keys, state.items - #entries) do
    local key = keys[i]
    entries[#entries + 1] = key_text(key, state, level + 1) .. " = " .. render(rawget(value, key), state, level + 1)
  end
  local left = length + #keys - #entries
  if left > 0 then entries[#entries + 1] = ("... %d more"):format(left) end
  return entries
end

local function joined(entries, state, level)
  if #entries == 0 then return "{}" end
  local size = 4 + 2 * level
  local one_line = true
  for _, entry in ipairs(entries) do
    size = size + #entry + 2
    one_line = one_line and not entry:find("\n", 1, true)
  end
  if one_line and size <= state.columns then return "{ " .. table.concat(entries, ", ") .. " }" end
  local margin = ("  "):rep(level + 1)
  return "{\n" .. margin .. table.concat(entries, ",\n" .. margin) .. "\n" .. ("  "):rep(level) .. "}"
end

-- What a value's own __tostring says. It may raise, or want to wait, which it cannot here.
local function own_text(value)
  local ok, text = pcall(tostring, value)
  return ok and inspect.plain(text) or ("%s whose __tostring failed"):format(type(value))
end

local function open_table(value, state, level)
  if state.open[value] then return "<cycle: a table above>" end
  if level >= state.depth then return next(value) == nil and "{}" or "{ ... }" end
  state.open[value] = true
  local text = joined(entries_of(value, state, level), state, level)
  state.open[value] = nil
  return text
end

-- --------------------------------------------------------------------------------------------------- errors, others

local ERROR_FIELDS = { "kind", "code", "operation", "message", "where", "retryable", "outcome", "hint", "cause" }
local ERROR_SHOWN = { traceback = true }
for _, name in ipairs(ERROR_FIELDS) do ERROR_SHOWN[name] = true end

local function error_text(value, state, level)
  if state.open[value] then return "<cycle: an error above>" end
  state.open[value] = true
  local margin = ("  "):rep(level + 1)
  local lines = { "error {" }
  local function add(name)
    local field = rawget(value, name)
    if field == nil or (name == "retryable" and not field) then return end
    local text = type(field) == "string" and inspect.plain(field):gsub("\n", "\n" .. margin .. "  ")
      or render(field, state, level + 1)
    lines[#lines + 1] = ("%s%s: %s"):format(margin, name, text)
  end
  for _, name in ipairs(ERROR_FIELDS) do add(name) end
  for _, key in ipairs((keys_of(value))) do
    if type(key) == "string" and not ERROR_SHOWN[key] then add(key) end
  end
  lines[#lines + 1] = ("  "):rep(level) .. "}"
  state.open[value] = nil
  return table.concat(lines, "\n")
end

-- Where a function was written, which is what one wants to know of it.
local function function_text(value)
  local info = debug.getinfo(value, "S")
  if info.what == "C" then return "<function in C>" end
  return ("<function %s:%d>"):format(info.short_src, info.linedefined)
end

local function number_text(value)
  if math.type(value) == "integer" then return tostring(value) end
  return value == math.floor(value) and math.abs(value) < 1e15 and ("%.1f"):format(value) or ("%.14g"):format(value)
end

function render(value, state, level)
  local kind = type(value)
  if kind == "string" then return inspect.quote(value) end
  if kind == "number" then return number_text(value) end
  if kind == "function" then return function_text(value) end
  if value == json.null then return "null" end
  if kind ~= "table" then return kind == "userdata" and "<" .. own_text(value) .. ">" or tostring(value) end
  if secret.is(value) then return "<secret>" end
  if error.is(value) then return error_text(value, state, level) end
  local meta = getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") then return "<" .. own_text(value) .. ">" end
  return open_table(value, state, level)
end

---@param value any
---@param options? pgaf.repl.InspectOptions
---@return string
function inspect.render(value, options)
  options = options or {}
  return render(value, {
    depth = options.depth or DEPTH, columns = options.columns or COLUMNS, items = options.items or ITEMS, open = {},
  }, 0)
end

return inspect

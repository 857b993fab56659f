-- The simple part of Jinja: `{{ name }}`, `{{ groups['monitor'][0] }}`, `{{ name | default(5) | int }}`, alone or in a
-- text. All else is refused, so that it can be listed; nothing is guessed.

local json = require "pgafrun.json"
local raise = require("pgafrun.error").raise
local secret = require "pgaf.secret"

local jinja = {}

local MAX_DEPTH = 20
-- A text that names another four times, which names a third four times: each is short, and together they have no end.
local MAX_BYTES = 1024 * 1024
local VALUE_BYTES = 16 -- what each value in a list or map counts, however short

-- What a text cannot be rendered for: raised inside, never leaves this file.
local Refusal = {}
local function refuse(message) error(setmetatable({ message = message }, Refusal), 0) end

---@param text string
---@return boolean
function jinja.has_expression(text) return text:find("{[{%%#]") ~= nil end

-- --- expressions ---

local function tokens(text)
  local list, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then return list end
    local c = text:sub(at, at)
    local _, last
    if c == "'" or c == '"' then
      last = text:find(c, at + 1, true)
      if not last then refuse("a text in it does not end") end
      list[#list + 1] = { kind = "text", value = text:sub(at + 1, last - 1) }
    elseif c:find("%d") then
      _, last = text:find("^%d+%.?%d*", at)
      list[#list + 1] = { kind = "text", value = tonumber(text:sub(at, last)) }
    elseif c:find("[%a_]") then
      _, last = text:find("^[%w_]+", at)
      list[#list + 1] = { kind = "name", value = text:sub(at, last) }
    else
      last = at
      list[#list + 1] = { kind = c }
    end
    at = last + 1
  end
end

local CONSTANTS = { ["true"] = true, ["True"] = true, ["false"] = false, ["False"] = false }

local function truth(value)
  if type(value) == "string" then
    local word = value:lower()
    return word == "true" or word == "yes" or word == "on" or word == "1"
  end
  return value == true or value == 1
end

local function whole(value)
  return math.tointeger(tonumber(value)) or refuse("a number is wanted there")
end

local FILTERS = {
  int = whole,
  bool = truth,
  string = function(value) return type(value) == "table" and refuse("a list or map is no text") or tostring(value) end,
  lower = function(value) return tostring(value):lower() end,
  upper = function(value) return tostring(value):upper() end,
  trim = function(value) return (tostring(value):match("^%s*(.-)%s*$")) end,
  first = function(value) return type(value) == "table" and value[1] or refuse("it is no list") end,
  last = function(value) return type(value) == "table" and value[#value] or refuse("it is no list") end,
}

---@class pgaf.jinja.Parser
local Parser = {}
Parser.__index = Parser

function Parser:peek(kind) return self.list[self.at] and self.list[self.at].kind == kind end

function Parser:take(kind)
  local token = self.list[self.at]
  if not token or token.kind ~= kind then refuse("it is more than a variable with simple filters") end
  self.at = self.at + 1
  return token.value
end

function Parser:arguments()
  local values = {}
  if not self:peek "(" then return values end
  self:take "("
  while not self:peek ")" do
    local token = self.list[self.at]
    if not token then refuse("a bracket in it is not closed") end
    if token.kind == "text" then
      values[#values + 1] = token.value
      self.at = self.at + 1
    else
      values[#values + 1] = self:value()
    end
    if not self:peek ")" then self:take "," end
  end
  self:take ")"
  return values
end

-- A name or a constant and what is picked out of it; nil when it is not defined.
function Parser:value()
  if self:peek "text" then return self:take "text" end
  local name = self:take "name"
  if CONSTANTS[name] ~= nil then return CONSTANTS[name] end
  if name == "lookup" then
    local arguments = self:arguments()
    if arguments[1] ~= "env" or type(arguments[2]) ~= "string" or arguments[2] == "" then
      refuse("of lookups only lookup('env', NAME) is known")
    end
    return secret.env(arguments[2])
  end
  local value = self.scope[name]
  self.missing = value == nil and name or nil
  while self:peek "." or self:peek "[" do
    local key
    if self:peek "." then
      self:take "."
      key = self:peek "name" and self:take "name" or self:take "text"
    else
      self:take "["
      key = self:value()
      self:take "]"
      if math.type(key) then key = key + 1 end
    end
    name = ("%s.%s"):format(name, tostring(key))
    if secret.is(value) or (value ~= nil and type(value) ~= "table") then refuse(name .. " is not there") end
    if value ~= nil and key ~= nil then value = value[key] end
    if value == nil and not self.missing then self.missing = name end
  end
  return value
end

function Parser:expression()
  local value = self:value()
  while self:peek "|" do
    self:take "|"
    local filter = self:take "name"
    local arguments = self:arguments()
    if filter == "default" or filter == "d" then
      if value == nil or (arguments[2] == true and (value == "" or value == false)) then value = arguments[1] end
      if value ~= nil then self.missing = nil end
    elseif filter == "mandatory" then
      if value == nil then refuse(("%s is not defined"):format(self.missing)) end
    elseif FILTERS[filter] then
      if value == nil then refuse(("%s is not defined"):format(self.missing)) end
      if secret.is(value) then refuse("a filter after a secret") end
      value = FILTERS[filter](value)
    else
      refuse(("the filter %q is not known here"):format(filter))
    end
  end
  if self.list[self.at] then refuse("it is more than a variable with simple filters") end
  if value == nil then refuse(("%s is not defined"):format(self.missing or "it")) end
  return value
end

local function evaluate(text, scope)
  return setmetatable({ list = tokens(text), at = 1, scope = scope }, Parser):expression()
end

-- --- texts and what holds them ---

-- Table -> what it and all that is in it come to, in bytes; what is in it twice counts twice.
local weights = setmetatable({}, { __mode = "k" })

local function weight_of(value)
  if type(value) == "string" then return VALUE_BYTES + #value end
  if type(value) ~= "table" or secret.is(value) then return VALUE_BYTES end
  if weights[value] then return weights[value] end
  local sum = VALUE_BYTES
  weights[value] = sum -- one that is in itself ends here
  for _, one in pairs(value) do sum = sum + weight_of(one) end
  weights[value] = sum
  return sum
end

-- Joined when it is revealed, like the secrets in it.
local function join_secrets(parts)
  local all, size = {}, 0
  for i, part in ipairs(parts) do
    all[i] = secret.is(part) and secret.reveal(part) or tostring(part)
    size = size + #all[i]
  end
  if size > MAX_BYTES then
    raise { kind = "secret", operation = "secret.reveal", code = "size", message = "a secret of more than 1 MiB" }
  end
  return table.concat(all)
end

-- What may still be made for one value.
local function spend(budget, bytes)
  budget.left = budget.left - bytes
  if budget.left < 0 then refuse("it gives more than 1 MiB") end
end

local function render_text(text, scope, budget)
  if text:find("{%%") or text:find("{#") then refuse("it has statements, not just {{ name }}") end
  local only = text:match("^%s*{{(.-)}}%s*$")
  if only and not only:find("{{", 1, true) then
    local value = evaluate(only, scope)
    spend(budget, weight_of(value))
    return value
  end
  spend(budget, weight_of(text))
  local parts, at, hidden = {}, 1, false
  while true do
    local first, last, inner = text:find("{{(.-)}}", at)
    if not first then break end
    parts[#parts + 1] = text:sub(at, first - 1)
    local value = evaluate(inner, scope)
    if type(value) == "table" and not secret.is(value) then refuse("a list or map within a text") end
    hidden = hidden or secret.is(value)
    spend(budget, weight_of(value))
    parts[#parts + 1] = value
    at = last + 1
  end
  parts[#parts + 1] = text:sub(at)
  if parts[#parts]:find("{{", 1, true) then refuse("a bracket in it is not closed") end
  if hidden then return secret.from("a text with secrets in it", function() return join_secrets(parts) end) end
  for i, part in ipairs(parts) do parts[i] = tostring(part) end
  return table.concat(parts)
end

-- Somewhere in it; what aliases repeat is looked at once.
local function has_any(value, seen)
  if type(value) == "string" then return jinja.has_expression(value) end
  if type(value) ~= "table" or secret.is(value) or seen[value] then return false end
  seen[value] = true
  for _, one in pairs(value) do
    if has_any(one, seen) then return true end
  end
  return false
end

local function render(value, scope, depth, budget)
  if depth > MAX_DEPTH then refuse("it is nested too deep") end
  if type(value) == "string" and jinja.has_expression(value) then return render_text(value, scope, budget) end
  if type(value) ~= "table" or secret.is(value) then
    spend(budget, weight_of(value))
    return value
  end
  spend(budget, VALUE_BYTES)
  local copy = setmetatable({}, getmetatable(value) == json.array and json.array or nil)
  for key, one in pairs(value) do copy[key] = render(one, scope, depth + 1, budget) end
  return copy
end

---Replaces the expressions in a value, in lists and maps too.
---@param value any
---@param scope table name -> value; may raise what jinja.refuse makes
---@return any? rendered nil when it cannot be
---@return string? why
function jinja.render(value, scope)
  if not has_any(value, {}) then return value end
  local done, result = pcall(render, value, scope, 0, { left = MAX_BYTES })
  if done then return result end
  if getmetatable(result) ~= Refusal then error(result, 0) end
  return nil, result.message
end

---Raises, for scopes, what render answers with.
---@param message string
function jinja.refuse(message) refuse(message) end

return jinja

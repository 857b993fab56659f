-- Texts with values in them:
--
--     <%= EXPRESSION %>   the value of a Lua expression
--     <% STATEMENT %>     Lua: loops, conditions, local names
--     <%# REMARK %>       nothing
--     <%%                 the two characters <%
--
-- A line with nothing on it but statements and remarks leaves no line behind. Nothing is escaped: what configuration
-- files need, quote.* of a value says (`<%= quote.conf(name) %>`). A name that is not among the values is an error, and
-- so is a value that is nil; errors name the template's line. A secret is written as it is, and makes a secret of the
-- whole text.

local error = require "pgafrun.error"
local quote = require "pgaf.quote"
local secret = require "pgaf.secret"

local template = {}

local CHUNK = "template"

-- What templates may call beside their values.
local LIBRARY = {
  ipairs = ipairs, pairs = pairs, string = string, table = table, math = math, utf8 = utf8, tostring = tostring,
  tonumber = tonumber, type = type, select = select, quote = quote,
}

local function refuse(name, line, message, cause)
  error.raise {
    kind = "template", operation = "template " .. name, code = line and tostring(line) or nil, cause = cause,
    message = line and ("%s:%d: %s"):format(name, line, message) or message,
  }
end

-- ---------------------------------------------------------------------------------------------------- compilation

local function count_lines(text)
  local _, count = text:gsub("\n", "")
  return count
end

-- The text as tokens: { "text"|"value"|"code"|"remark", content, line = where it begins }.
local function tokens_of(text, name)
  local tokens, at, line = {}, 1, 1
  local function add(kind, content) tokens[#tokens + 1] = { kind, content, line = line } end
  while true do
    local from = text:find("<%", at, true)
    if not from then break end
    if from > at then add("text", text:sub(at, from - 1)) end
    line = line + count_lines(text:sub(at, from - 1))
    local sign = text:sub(from + 2, from + 2)
    if sign == "%" then
      add("text", "<%")
      at = from + 3
    else
      local to = text:find("%>", from + 2, true)
      if not to then refuse(name, line, "<% is never closed by %>") end
      local kind = sign == "=" and "value" or sign == "#" and "remark" or "code"
      add(kind, text:sub(from + (kind == "code" and 2 or 3), to - 1))
      line = line + count_lines(text:sub(from, to))
      at = to + 2
    end
  end
  if at <= #text then add("text", text:sub(at)) end
  return tokens
end

local function is_silent(token) return token and (token[1] == "code" or token[1] == "remark") end

-- Statements alone on their lines: their indentation and line break are none of the result's.
local function drop_empty_lines(tokens)
  local first = 1
  if tokens[1] then tokens[1].begins_line = true end
  while first <= #tokens do
    local last = first
    if is_silent(tokens[first]) then
      while true do
        local blank = tokens[last + 1]
        if is_silent(blank) then
          last = last + 1
        elseif blank and blank[1] == "text" and blank[2]:find "^[ \t]+$" and is_silent(tokens[last + 2]) then
          last = last + 2
        else
          break
        end
      end
      local before, after = tokens[first - 1], tokens[last + 1]
      local begins = not before or before[1] == "text" and (before[2]:find "\n[ \t]*$" or
        before.begins_line and before[2]:find "^[ \t]*$")
      local ends = not after or after[1] == "text" and after[2]:find "^[ \t]*\n"
      if begins and ends then
        for i = first, last do
          if tokens[i][1] == "text" then tokens[i][2] = "" end
        end
        if before then before[2] = before[2]:gsub("[ \t]*$", "") end
        if after then
          after[2], after.begins_line = after[2]:gsub("^[ \t]*\n", ""), true
        end
      end
    end
    first = last + 1
  end
end

-- The program, and for each of its lines that of the template. Each token ends its line: a Lua comment in one of them
-- does not run on into the next.
local function program_of(tokens)
  local parts, lines = {}, {}
  for _, token in ipairs(tokens) do
    local kind, content = token[1], token[2]
    local part = ""
    if kind == "text" then
      if content ~= "" then part = ("_text(%s)\n"):format(("%q"):format(content)) end
    elseif kind == "value" then
      part = ("_value((%s\n))\n"):format(content)
    elseif kind == "code" then
      part = content .. "\n"
    end
    parts[#parts + 1] = part
    for i = 0, count_lines(part) - 1 do lines[#lines + 1] = token.line + math.min(i, count_lines(content)) end
  end
  return table.concat(parts), lines
end

local function line_of(message, lines)
  local line, rest = message:match("^" .. CHUNK .. ":(%d+): (.*)$")
  line = tonumber(line)
  -- an end that is missing is missed after the last line
  return line and (lines[line] or lines[#lines]), rest or message
end

---@class pgaf.Template
local Template = {}
Template.__index = Template

---Raises kind "template" (code: the line) when it is no template.
---@param text string
---@param name string for errors: its path
---@return pgaf.Template
function template.compile(text, name)
  local tokens = tokens_of(text, name)
  drop_empty_lines(tokens)
  local program, lines = program_of(tokens)
  local chunk, problem = load(program, "=" .. CHUNK, "t", {})
  if not chunk then
    local line, message = line_of(problem, lines)
    refuse(name, line, message)
  end
  return setmetatable({ program = program, lines = lines, name = name }, Template)
end

-- ------------------------------------------------------------------------------------------------------- rendering

local function environment(values, output, state)
  local function value_of(value)
    if secret.is(value) then
      state.secret = true
      return secret.reveal(value)
    end
    local kind = type(value)
    if kind == "nil" then _G.error("the value is nil", 3) end
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      _G.error(("a %s is no text"):format(kind), 3)
    end
    return tostring(value)
  end
  local names = {
    _text = function(text) output[#output + 1] = text end,
    _value = function(value)
      local text = value_of(value)
      if not secret.is(value) and secret.is_shown_in(text) then
        _G.error("a secret was made a text (tostring, string.format), which is its mask; join it by .. instead", 2)
      end
      output[#output + 1] = text
    end,
  }
  return setmetatable(names, {
    __index = function(_, name)
      local value = values[name]
      if value == nil then value = LIBRARY[name] end
      if value == nil then _G.error(("there is no value %q"):format(tostring(name)), 2) end
      return value
    end,
  })
end

-- Where the template itself is, whoever raised: its function, or one among its values that it called.
local function place(problem)
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return { problem = problem } end
    if info.source == "=" .. CHUNK then return { problem = problem, line = info.currentline } end
    level = level + 1
  end
end

---The text with its values. Raises kind "template".
---@param values table<string, any>
---@return string text
---@return boolean is_secret a secret is part of it
function Template:render(values)
  local output, state = {}, { secret = false }
  local chunk = load(self.program, "=" .. CHUNK, "t", environment(values, output, state))
  local ok, raised = xpcall(chunk, place)
  if not ok then
    local problem, line = raised.problem, raised.line and self.lines[raised.line]
    if type(problem) == "string" then
      local _, message = line_of(problem, self.lines)
      refuse(self.name, line, message)
    end
    refuse(self.name, line, "a value cannot be had: " .. tostring(problem), problem)
  end
  return table.concat(output), state.secret
end

return template

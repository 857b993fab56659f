-- Types of resources' parameters, beside those of pgaf.schema: paths, modes, users, texts that may be secret, and
-- values that are worked out for each target.

local error = require "pgafrun.error"
local schema = require "pgaf.schema"
local secret = require "pgaf.secret"

local parameter = {}

---An absolute path on the node; no trailing slash.
parameter.path = schema.text { pattern = "/[^\n]*", what = "an absolute path", max = 4096 }

local mode = schema.text { pattern = "[0-7]?[0-7][0-7][0-7]", what = 'a mode in octal, in quotes: "0644"' }

---A file's mode: "644" and "0644" are the same.
---@type pgaf.schema.Type
function parameter.mode(value, path, report)
  value = mode(value, path, report)
  return type(value) == "string" and #value == 3 and "0" .. value or value
end

---A user's or group's name.
parameter.name = schema.text { pattern = "[%a_][%w_.-]*%$?", what = "a name of letters, digits, - and _", max = 32 }

---A text, also an empty one.
---@type pgaf.schema.Type
function parameter.text(value, path, report)
  if type(value) ~= "string" then
    report(path, ("wants a text, not %s"):format(secret.is(value) and "a secret" or type(value)))
  end
  return value
end

---A text without line breaks.
parameter.line = schema.text { pattern = "[^\n]*", what = "a text of one line" }

---Whether a value is worked out later, for each target.
---@param value any
---@return boolean
local function is_function(value)
  if type(value) == "function" then return true end
  local meta = type(value) == "table" and not secret.is(value) and getmetatable(value)
  return type(meta) == "table" and meta.__call ~= nil
end

---What the type allows, or a secret that is revealed where it is written.
---@param one pgaf.schema.Type
---@return pgaf.schema.Type
function parameter.secret(one)
  return function(value, path, report)
    if secret.is(value) then return value end
    return one(value, path, report)
  end
end

-- What is wrong with a text, or with one of a list, that would be written as it is.
local function lost_secret(value)
  for _, text in ipairs(type(value) == "table" and not secret.is(value) and value or { value }) do
    if type(text) == "string" and secret.is_shown_in(text) then
      return "has <secret> where a secret was made a text (tostring, string.format): what may be a secret is joined " ..
        "by .., and a command has it by env or stdin; a text that has this word of its own goes as secret.value(TEXT)"
    end
  end
  return nil
end

---What the type allows, or function(target) that returns it: for what is only known when the play runs.
---@param one pgaf.schema.Type
---@return pgaf.schema.Type
function parameter.computed(one)
  return function(value, path, report)
    if is_function(value) then return value end
    local problem = lost_secret(value)
    if problem then report(path, problem) end
    return one(value, path, report)
  end
end

local function refuse(message, hint)
  error.raise { kind = "config", operation = "a value worked out for its target", message = message, hint = hint }
end

local function resolve(value, target)
  if not is_function(value) then return value end
  value = value(target)
  local problem = lost_secret(value)
  if problem then refuse("it " .. problem) end
  return value
end

---The value of a computed parameter on this target; a secret is refused, as is a list with one.
---@param value any
---@param target pgaf.Target
---@return any
function parameter.of(value, target)
  value = resolve(value, target)
  for _, one in ipairs(type(value) == "table" and not secret.is(value) and value or { value }) do
    if secret.is(one) then
      refuse("it is a secret, which cannot be used here",
        "a command takes secrets by env or stdin, a file by its content, a line or a template")
    end
  end
  return value
end

---The text of a computed parameter that may be a secret, and whether it is one.
---@param value any
---@param target pgaf.Target
---@return string text
---@return boolean is_secret
function parameter.reveal(value, target)
  value = resolve(value, target)
  if secret.is(value) then return secret.reveal(value), true end
  return value, false
end

---The texts of a computed list that may have secrets in it, and whether it has one.
---@param value any
---@param target pgaf.Target
---@return string[] texts
---@return boolean is_secret
function parameter.reveal_list(value, target)
  local texts, is_secret = {}, false
  for i, one in ipairs(resolve(value, target)) do
    local text, hidden = parameter.reveal(one, target)
    texts[i], is_secret = text, is_secret or hidden
  end
  return texts, is_secret
end

---"present" or "absent", and whatever else is named.
---@param ... string
---@return pgaf.schema.Type
function parameter.state(...) return schema.one_of("present", "absent", ...) end

return parameter

-- Types that say what a value may be. A type is a function(value, path, report) -> value with its defaults filled in;
-- every mistake goes to report(path, message), so that all of them are known after one pass.

local sorted_keys = require "pgaf.sorted_keys"
local suggest = require "pgaf.suggest"

local schema = {}

---@alias pgaf.schema.Report fun(path: string, message: string)
---@alias pgaf.schema.Type fun(value: any, path: string, report: pgaf.schema.Report): any

local function show(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if getmetatable(value) == "secret" then return "a secret" end
  if type(value) == "table" then return "a table" end
  return tostring(value)
end

local function wrong(report, path, wanted, value)
  report(path, ("wants %s, not %s"):format(wanted, value == nil and "nothing" or show(value)))
end

local function join(path, key)
  if math.type(key) == "integer" then return ("%s[%d]"):format(path, key) end
  return path == "" and tostring(key) or path .. "." .. tostring(key)
end

---@param options? { pattern?: string, what?: string, max?: integer } pattern: of the whole text; what: in words
---@return pgaf.schema.Type
function schema.text(options)
  options = options or {}
  local what = options.what or "a text"
  return function(value, path, report)
    if type(value) ~= "string" or value == "" or (options.pattern and not value:find("^" .. options.pattern .. "$")) or
      #value > (options.max or math.huge) then
      wrong(report, path, what, value)
    end
    return value
  end
end

---@param min integer
---@param max integer
---@param unit? string
---@return pgaf.schema.Type
function schema.integer(min, max, unit)
  return function(value, path, report)
    local number = type(value) == "number" and math.tointeger(value)
    if not number or number < min or number > max then
      wrong(report, path, ("a whole number from %d to %d%s"):format(min, max, unit and " " .. unit or ""), value)
    end
    return number or value
  end
end

---@param min number
---@param unit string
---@return pgaf.schema.Type
function schema.number(min, unit)
  return function(value, path, report)
    if type(value) ~= "number" or not (value >= min and math.abs(value) < math.huge) then
      wrong(report, path, ("a number of %s, at least %g"):format(unit, min), value)
    end
    return value
  end
end

---@return pgaf.schema.Type
function schema.boolean()
  return function(value, path, report)
    if type(value) ~= "boolean" then wrong(report, path, "true or false", value) end
    return value
  end
end

---@param ... any the allowed values
---@return pgaf.schema.Type
function schema.one_of(...)
  local allowed = { ... }
  return function(value, path, report)
    for _, one in ipairs(allowed) do
      if value == one then return value end
    end
    local words = {}
    for i, one in ipairs(allowed) do words[i] = show(one) end
    local near = type(value) == "string" and suggest(value, allowed)
    wrong(report, path, table.concat(words, " or "), value)
    if near then report(path, ("did you mean %q?"):format(near)) end
    return value
  end
end

---The first type that takes the value without complaint; `what` tells them all in words.
---@param what string
---@param ... pgaf.schema.Type
---@return pgaf.schema.Type
function schema.either(what, ...)
  local types = { ... }
  return function(value, path, report)
    for _, one in ipairs(types) do
      local bad = false
      local result = one(value, path, function() bad = true end)
      if not bad then return result end
    end
    wrong(report, path, what, value)
    return value
  end
end

---@param item pgaf.schema.Type
---@param options? { min?: integer, what?: string }
---@return pgaf.schema.Type
function schema.list(item, options)
  options = options or {}
  local what = options.what or "a list: { ..., ... }"
  return function(value, path, report)
    if type(value) ~= "table" then
      wrong(report, path, what, value)
      return {}
    end
    local result, count = {}, #value
    for key in pairs(value) do
      if math.type(key) ~= "integer" or key < 1 or key > count then
        report(join(path, tostring(key)), ("has a name, and %s is a list: values without names"):format(path))
      end
    end
    for i = 1, count do result[i] = item(value[i], join(path, i), report) end
    if count < (options.min or 0) then
      report(path, ("wants at least %d, has %d"):format(options.min, count))
    end
    return result
  end
end

---A table whose names the operator chooses.
---@param name pgaf.schema.Type
---@param item pgaf.schema.Type
---@return pgaf.schema.Type
function schema.map(name, item)
  return function(value, path, report)
    if type(value) ~= "table" then
      wrong(report, path, "a table: { name = value }", value)
      return {}
    end
    local result = {}
    for key, one in pairs(value) do
      name(key, join(path, tostring(key)), report)
      result[key] = item(one, join(path, tostring(key)), report)
    end
    return result
  end
end

local function unknown_key(path, key, fields, report)
  local names = sorted_keys(fields)
  local near = type(key) == "string" and suggest(key, names)
  report(join(path, key), ("there is no such key%s; allowed here: %s"):format(
    near and (", did you mean %q?"):format(near) or "", table.concat(names, ", ")))
end

---@class pgaf.schema.Field
---@field [1] pgaf.schema.Type
---@field default? any a value, or a function(record) called when the fields before it (by name) are filled in
---@field required? boolean

---A table with these keys and no others.
---@param fields table<string, pgaf.schema.Field>
---@return pgaf.schema.Type
function schema.record(fields)
  local names = sorted_keys(fields)
  return function(value, path, report)
    if type(value) ~= "table" then
      wrong(report, path == "" and "the inventory" or path, "a table: { key = value }", value)
      return {}
    end
    for key in pairs(value) do
      if not fields[key] then unknown_key(path, key, fields, report) end
    end
    local result = {}
    for _, name in ipairs(names) do
      local field, given = fields[name], value[name]
      if given == nil then
        given = field.default
        if type(given) == "function" then given = given(value) end
      end
      if given ~= nil then
        result[name] = field[1](given, join(path, name), report)
      elseif field.required then
        report(join(path, name), "is missing")
      end
    end
    return result
  end
end

---A record whose field `key` says which of several records it is.
---@param key string
---@param variants table<string, pgaf.schema.Type> each takes `key` among its fields
---@return pgaf.schema.Type
function schema.variant(key, variants)
  local names = sorted_keys(variants)
  return function(value, path, report)
    if type(value) ~= "table" then
      wrong(report, path, "a table: { " .. key .. " = ... }", value)
      return {}
    end
    local chosen = variants[value[key]]
    if chosen then return chosen(value, path, report) end
    schema.one_of(table.unpack(names))(value[key], join(path, key), report)
    return {}
  end
end

return schema

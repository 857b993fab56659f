-- Resources by name:
--
--     local resource = require "pgaf.resource"
--     p:step { "motd", resource = resource.file { path = "/etc/motd", content = "hello\n" } }
--
-- resource.NAME is loaded from pgaf/resources/NAME.lua when it is first used. A constructor checks what it is given and
-- never raises: a name or a parameter that does not exist, a value of the wrong type are in `problems` of what it
-- returns, so that a plan tells all mistakes at once.
--
-- Such a file says what its parameters are, and makes the resource of those that were given:
--
--     return resource.define {
--       kind = "motd",
--       parameters = { text = { parameter.text, required = true }, mode = { parameter.mode, default = "0644" } },
--       name = function(options) return "/etc/motd" end,
--       make = function(options) return { reads = ..., probe = ..., changes = ..., apply = ... } end,
--     }

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local program = require "pgafrun.program"
local suggest = require "pgaf.suggest"

---@class pgaf.resource.Parameter: pgaf.schema.Field

---@class pgaf.resource.Definition
---@field kind string
---@field parameters table<string, pgaf.resource.Parameter>
---@field words? table<string, string> names that people bring along from elsewhere -> the parameter's name here
---@field name fun(options: table): string what a list, a difference or an error calls it
---@field check? fun(options: table, report: fun(message: string)) what holds between parameters
---@field make fun(options: table): pgaf.Resource of options that are right, with all defaults
---@field also? table other public functions of the module
---@field keys? string[] the parameters' names in order: filled in when they are first needed

local resource = {}

-- What people call them elsewhere.
local OTHER_WORDS = {
  copy = "file", lineinfile = "line", blockinfile = "block", apt = "package", apt_repository = "apt_source",
  apt_key = "apt_source", deb822_repository = "apt_source", systemd = "service", shell = "command",
  pam_limits = "limits", symlink = "link", postgresql_user = "pg_role", postgresql_db = "pg_database",
  postgresql_ext = "pg_extension", postgresql_privs = "pg_grant", postgresql_set = "pg_setting",
  postgresql_pg_hba = "pg_hba",
}

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  return keys
end

local function meant(word, candidates)
  local near = suggest(tostring(word), candidates)
  return near and (", did you mean %q?"):format(near) or ""
end

-- Where the script asks for the resource: "play.lua:12". nil where that is not known, as after a tail call, or when it
-- is one of our own modules that asks: then the step's place is the one to look at.
local function place(level)
  if debug.getinfo(level, "t").istailcall then return nil end
  local caller = debug.getinfo(level + 1, "Sl")
  local file = caller and caller.source:match "^@(.*)$"
  if not file or file:find "/stdlib/pgaf/" then return nil end
  return ("%s:%d"):format(file, caller.currentline)
end

-- What a plan refuses before it runs; should it be run all the same, it says why it cannot be.
local function with_problems(kind, name, problems, where)
  local function refuse()
    error.raise {
      kind = "config", operation = ("%s %s"):format(kind, name), message = table.concat(problems, "; "),
    }
  end
  return {
    kind = kind, name = name, problems = problems, where = where, probe = refuse, apply = refuse, changes = refuse,
  }
end

-- ------------------------------------------------------------------------------------------------------- parameters

local function unknown_parameter(definition, key, report)
  local word = definition.words and definition.words[key]
  local names = sorted_keys(definition.parameters)
  if word then
    report(("there is no parameter %q: it is called %q here"):format(key, word))
  else
    report(("there is no parameter %q%s; it may have: %s"):format(
      tostring(key), meant(key, names), table.concat(names, ", ")))
  end
end

-- The options with defaults filled in; every mistake is told.
local function read_options(definition, given, report)
  for key in pairs(given) do
    if not definition.parameters[key] then unknown_parameter(definition, key, report) end
  end
  local options = {}
  local function wrong(path, message) report(path .. " " .. message) end
  definition.keys = definition.keys or sorted_keys(definition.parameters)
  for _, key in ipairs(definition.keys) do
    local field, value = definition.parameters[key], given[key]
    if value == nil then
      value = field.default
      if type(value) == "function" then value = value(given) end
    end
    if value ~= nil then
      options[key] = field[1](value, key, wrong)
    elseif field.required then
      report(key .. " is missing")
    end
  end
  return options
end

local function name_of(definition, options)
  local ok, name = pcall(definition.name, options)
  return ok and type(name) == "string" and name or "?"
end

local function construct(definition, given)
  local problems, kind = {}, definition.kind
  if type(given) ~= "table" then
    return with_problems(kind, "?", {
      ("resource.%s wants its parameters in a table: resource.%s { ... }"):format(kind, kind),
    })
  end
  local label
  local function report(message) problems[#problems + 1] = ("%s %q: %s"):format(kind, label, message) end
  label = name_of(definition, given)
  local options = read_options(definition, given, report)
  if #problems == 0 and definition.check then definition.check(options, report) end
  if #problems > 0 then return with_problems(kind, label, problems) end
  local made = definition.make(options)
  made.kind, made.name = kind, definition.name(options)
  return made
end

---A resource's constructor: function(options) -> resource. Its `definition` is there for whoever documents it.
---@param definition pgaf.resource.Definition
---@return fun(options: table): pgaf.Resource
function resource.define(definition)
  local module = { definition = definition }
  for name, value in pairs(definition.also or {}) do module[name] = value end
  return setmetatable(module, {
    __call = function(_, options)
      local made = construct(definition, options)
      if made.problems then made.where = place(2) end
      return made
    end,
  })
end

-- ------------------------------------------------------------------------------------------------------ the registry

---The names of all resources there are.
---@return string[]
function resource.names()
  local seen = {}
  for _, root in ipairs(program.roots) do
    local folder = root .. "/stdlib/pgaf/resources"
    for _, file in ipairs(fs.stat(folder) and fs.list(folder) or {}) do
      local name = file:match "^([%w_]+)%.lua$"
      if name then seen[name] = true end
    end
  end
  return sorted_keys(seen)
end

-- Where files cannot be looked at (a module that is being required), those that have other words elsewhere.
local function known_names()
  local ok, names = pcall(resource.names)
  if ok then return names end
  names = {}
  for _, name in pairs(OTHER_WORDS) do names[#names + 1] = name end
  return names
end

local function unknown_resource(name)
  return function(options)
    local given = type(options) == "table" and (options.path or options.name) or "?"
    local word = OTHER_WORDS[name]
    return with_problems(name, tostring(given), {
      word and ("there is no resource %q: it is called %q here"):format(name, word)
        or ("there is no resource %q%s"):format(name, meant(name, known_names())),
    }, place(2))
  end
end

local function is_there(name) return package.searchpath("pgaf.resources." .. name, package.path) ~= nil end

return setmetatable(resource, {
  __index = function(_, name)
    if type(name) ~= "string" or not name:find "^[%l_][%w_]*$" or not is_there(name) then
      return unknown_resource(tostring(name))
    end
    local constructor = require("pgaf.resources." .. name)
    rawset(resource, name, constructor)
    return constructor
  end,
})

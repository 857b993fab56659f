-- An inventory in layers: a file may build on another, which may build on a third.
--
--   return inventory.extend("common.lua", { environment = "staging", timers = { health_check_period = 1000 } })
--
-- Maps are merged key by key, the file that builds on the other wins; lists (nodes, networks) and single values are
-- replaced as a whole. Each layer keeps the file it was written in, so that a mistake is told where it was made.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local secret = require "pgaf.secret"
local source_lines = require "pgaf.source_lines"

local layers = {}

local MAX_DEPTH = 16

---@class pgaf.inventory.Layer one file's part
---@field file string
---@field value table as it was written
---@field place fun(path: string): string?, integer? file and line of a path
---@field sources? pgaf.inventory.Source[] variables that the file brings along (an Ansible inventory)

---@class pgaf.inventory.Layered
---@field file string
---@field value table
---@field layers pgaf.inventory.Layer[] the lowest first
local Layered = {}
Layered.__index = Layered

-- What extend returned -> its layers.
local made = setmetatable({}, { __mode = "k" })
-- Task -> the files that it is loading, innermost last: a tail call leaves no trace of its caller.
local loading = setmetatable({}, { __mode = "k" })

---@param value any
---@return boolean
function layers.is_map(value)
  return type(value) == "table" and not secret.is(value) and getmetatable(value) ~= json.array and #value == 0
end

local function merge(base, over, depth)
  if not (layers.is_map(base) and layers.is_map(over)) or depth > 100 then return over end
  local result = {}
  for key, value in pairs(base) do result[key] = value end
  for key, value in pairs(over) do
    if result[key] ~= nil then
      result[key] = merge(result[key], value, depth + 1)
    else
      result[key] = value
    end
  end
  return result
end

---@param base any
---@param over any wins
---@return any
function layers.merge(base, over) return merge(base, over, 0) end

---The value at a path such as "nodes[2].port"; keys may have dots in them.
---@param node any
---@param path string
---@return any
function layers.at(node, path)
  if path == "" then return node end
  if type(node) ~= "table" or secret.is(node) then return nil end
  local index, rest = path:match("^%[(%d+)%]%.?(.*)$")
  if index then return layers.at(node[tonumber(index)], rest) end
  local last = #path
  while last do
    local inner = node[path:sub(1, last)]
    if inner ~= nil then
      rest = path:sub(last + 1)
      local found = layers.at(inner, rest:sub(1, 1) == "." and rest:sub(2) or rest)
      if found ~= nil then return found end
    end
    last = path:sub(1, last - 1):match("^.*()[.%[]")
    last = last and last - 1
  end
  return nil
end

local function raise(file, line, message, hint)
  error.raise {
    kind = "inventory", where = ("%s:%d"):format(file, line), message = ("%s:%d: %s"):format(file, line, message),
    hint = hint,
  }
end

---A layer of Lua; its text is only looked at when a line is wanted.
---@param file string
---@param value table
---@param text string
---@return pgaf.inventory.Layer
function layers.of_lua(file, value, text)
  local lines
  return {
    file = file, value = value,
    place = function(path)
      lines = lines or source_lines.read(text)
      return file, source_lines.find(lines, path) or 1
    end,
  }
end

---@param list pgaf.inventory.Layer[] the lowest first
---@return pgaf.inventory.Layered
function layers.stack(list)
  local value = list[1].value
  for i = 2, #list do value = layers.merge(value, list[i].value) end
  return setmetatable({ file = list[#list].file, value = value, layers = list }, Layered)
end

---Where a path's value was written; of one that is nowhere, its surroundings.
---@param path string
---@return string file, integer line
function Layered:place(path)
  local wanted = path
  while wanted and wanted ~= "" do
    for i = #self.layers, 1, -1 do
      local layer = self.layers[i]
      if layers.at(layer.value, wanted) ~= nil then
        local file, line = layer.place(wanted == path and path or wanted)
        if file then return file, line end
      end
    end
    wanted = wanted:match("^(.*)[.%[][^.%[]*$")
  end
  local file, line = self.layers[#self.layers].place ""
  return file or self.file, line or 1
end

-- --- reading files ---

local function current()
  local task = coroutine.running()
  loading[task] = loading[task] or {}
  return loading[task]
end

-- Loading a chunk runs the operator's own code: what that raises is told as it is.
local function run(file, text)
  local chunk, message = load(text, "@" .. file, "t")
  if not chunk then error.raise { kind = "inventory", message = message, where = message:match("^(.-:%d+)") } end
  local value = chunk()
  if type(value) ~= "table" then
    raise(file, 1, ("an inventory returns a table, this file returned %s"):format(type(value)))
  end
  return value
end

local function unreadable(file, cause, from)
  if from then
    raise(from.file, from.line, ("it builds on %s, which cannot be read: %s"):format(file, cause.message or cause))
  end
  error.raise {
    kind = "usage", message = ("cannot read the inventory %s"):format(file), cause = cause,
    hint = "there are examples in scripts/inventory/",
  }
end

local FOREIGN = { yml = true, yaml = true, json = true, ini = true, cfg = true }

-- Is it Ansible's? Its name says so, or that nothing in it returns a table.
local function is_foreign(file, text)
  local extension = file:match("%.([%w]+)$")
  if extension == "lua" then return false end
  return FOREIGN[extension] or not ("\n" .. text):find("\n%s*return[%s{]")
end

local function refuse_circle(stack, file, from)
  local names
  for _, open in ipairs(stack) do
    if open.file == file then names = {} end
    if names then names[#names + 1] = open.file end
  end
  if names then
    names[#names + 1] = file
    raise(from.file, from.line, "the files build on each other: " .. table.concat(names, " builds on "))
  end
  if #stack >= MAX_DEPTH then raise(from.file, from.line, "more than 16 files that build on each other") end
end

local told

---Asks to be told of each file of Lua before it is run: also of those that others build on.
---@param f fun(file: string)
function layers.watch(f) told = f end

---Reads an inventory: Lua, or what Ansible has.
---@param file string
---@param context pgaf.inventory.Context
---@param from? { file: string, line: integer } the file that builds on it
---@return pgaf.inventory.Layered
function layers.read(file, context, from)
  local stack = current()
  refuse_circle(stack, file, from)
  local known, real = pcall(fs.realpath, file)
  if not known then unreadable(file, real, from) end
  local is_folder = fs.stat(real).type == "directory"
  local found, text
  if not is_folder then
    found, text = pcall(fs.read, real)
    if not found then unreadable(file, text, from) end
  end
  if is_folder or is_foreign(file, text) then
    return layers.stack(require("pgaf.inventory.ansible").read(file, context))
  end
  if told then told(file) end
  stack[#stack + 1] = { file = file, text = text, context = context }
  local _ <close> = setmetatable({}, { __close = function() stack[#stack] = nil end })
  local value = run(file, text)
  return layers.stack(made[value] or { layers.of_lua(file, value, text) })
end

-- The file whose code is running, for paths relative to it.
local function here(what)
  local stack = current()
  local top = stack[#stack]
  if not top then _G.error(what .. " belongs into an inventory file", 3) end
  local line
  for level = 3, 8 do
    local info = debug.getinfo(level, "Sl")
    if info and info.source == "@" .. top.file and info.currentline > 0 then
      line = info.currentline
      break
    end
  end
  if not line then -- a tail call: `return inventory.extend(...)`
    local before = top.text:match("^(.-)%f[%w]" .. what:match("%w+$") .. "%f[%W]") or ""
    line = 1 + select(2, before:gsub("\n", ""))
  end
  return top, line, top.file:match("^(.*/)") or ""
end

---An Ansible inventory to build on, with more said about how to read it.
---@param options { [1]: string, playbook_dir?: string, map?: table<string, string> } paths relative to the file
---@return table
function layers.ansible(options)
  local top, _, folder = here "inventory.ansible"
  local function relative(path) return path and not path:find("^/") and folder .. path or path end
  local list = require("pgaf.inventory.ansible").read(relative(options[1]), top.context, {
    playbook_dir = relative(options.playbook_dir), map = options.map,
  })
  local value = layers.stack(list).value
  made[value] = list
  return value
end

---@param base string|table a path relative to the file that calls, or what extend or ansible returned
---@param changes table
---@return table
function layers.extend(base, changes)
  local top, line, folder = here "inventory.extend"
  if type(changes) ~= "table" then raise(top.file, line, "inventory.extend wants a file's name and a table") end
  local list
  if type(base) == "string" then
    local file = base:find("^/") and base or folder .. base
    list = layers.read(file, top.context, { file = top.file, line = line }).layers
  else
    list = made[base] or { layers.of_lua(top.file, base, top.text) }
  end
  local all = table.move(list, 1, #list, 1, {})
  all[#all + 1] = layers.of_lua(top.file, changes, top.text)
  local value = layers.stack(all).value
  made[value] = all
  return value
end

return layers

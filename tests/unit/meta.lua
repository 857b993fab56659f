-- What editors are told (docs/meta) is what the program has: each function and method of the C modules, no more.

local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local program = require "pgafrun.program"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

local root = program.roots[1]
local META = root .. "/docs/meta/"

-- Names of the C modules, without "pgafrun.".
local function modules()
  local names = {}
  for name in pairs(package.preload) do
    local short = name:match "^pgafrun%.(.+)$"
    if short then names[#names + 1] = short end
  end
  table.sort(names)
  return names
end

-- The functions that a description has: those of the module's table, methods of its classes, globals.
local function described(name)
  local text, functions, methods, globals = fs.read(META .. name .. ".lua"), {}, {}, {}
  for words in text:gmatch "\nfunction ([%w_.:]+)%(" do
    local owner, key = words:match "^(.-)%.([%w_]+)$"
    if owner then
      functions[key] = true
      if owner ~= name then functions[words] = true end
    elseif words:find(":", 1, true) then
      methods[words:match ":(.+)$"] = true
    else
      globals[words] = true
    end
  end
  return functions, methods, globals
end

-- These have no module in their name.
local OWNERS = { Task = "task", Group = "task", Condition = "task", Error = "error" }

-- An object that has fields too finds its methods by a function, which keeps them beside it or in an upvalue.
local function methods_of(class)
  if type(class.methods) == "table" then return class.methods end
  if type(class.__index) ~= "function" then return class.__index or {} end
  local _, kept = debug.getupvalue(class.__index, 1)
  return type(kept) == "table" and kept or {}
end

-- Methods of the classes whose metatables a module has registered ("pgafrun.NAME.Class" in the registry).
local function registered_methods(name)
  local methods = {}
  for key, class in pairs(debug.getregistry()) do
    local owner = type(key) == "string" and key:match "^pgafrun%.(%a+)"
    if (OWNERS[owner] or owner) == name and type(class) == "table" then
      for method in pairs(methods_of(class)) do methods[method] = true end
    end
  end
  return methods
end

local function functions_of(module)
  local functions = {}
  for key, value in pairs(module) do
    if type(value) == "function" then functions[key] = true end
  end
  return functions
end

local function sorted(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  table.sort(list)
  return list
end

function T.test_each_module_is_described()
  local files = {}
  for _, file in ipairs(fs.list(META)) do files[#files + 1] = file:match "^(.+)%.lua$" end
  local wanted = modules()
  -- made by the program itself, a table of values
  wanted[#wanted + 1] = "program"
  table.sort(wanted)
  lu.assertEquals(files, wanted)
end

function T.test_each_function_is_described_and_each_description_is_of_one()
  for _, name in ipairs(modules()) do
    local functions = described(name)
    lu.assertEquals(sorted(functions), sorted(functions_of(require("pgafrun." .. name))), "functions of " .. name)
  end
end

function T.test_each_method_is_described_and_each_description_is_of_one()
  for _, name in ipairs(modules()) do
    require("pgafrun." .. name)
    local _, methods = described(name)
    lu.assertEquals(sorted(methods), sorted(registered_methods(name)), "methods of " .. name)
  end
end

function T.test_globals_that_are_described_are_there()
  for _, name in ipairs(modules()) do
    local _, _, globals = described(name)
    for global in pairs(globals) do lu.assertIsFunction(rawget(_G, global), global) end
  end
end

-- A parameter that is not described shows up in editors as anything.
function T.test_each_parameter_has_a_type()
  for _, file in ipairs(fs.list(META)) do
    local known = {}
    for line in fs.read(META .. file):gmatch "[^\n]*" do
      local annotated = line:match "^%-%-%-@param ([%w_.]+)%??"
      local call, list = line:match "^function ([%w_.:]+)%((.-)%) end"
      if annotated then
        known[annotated] = true
      elseif call then
        for parameter in list:gmatch "[%w_.]+" do
          lu.assertTrue(known[parameter], ("%s: %s has a parameter %s without a type"):format(file, call, parameter))
        end
        known = {}
      end
    end
  end
end

function T.test_each_description_names_its_module()
  for _, file in ipairs(fs.list(META)) do
    local name = file:match "^(.+)%.lua$"
    lu.assertEquals(fs.read(META .. file):match "^[^\n]*", "---@meta pgafrun." .. name)
  end
end

function T.test_the_editor_s_settings_name_what_is_there()
  local settings = json.decode(fs.read(root .. "/.luarc.json"))
  lu.assertEquals(settings["runtime.version"], "Lua 5.4")
  for _, folder in ipairs(settings["workspace.library"]) do lu.assertNotNil(fs.stat(root .. "/" .. folder), folder) end
end

local function each_lua_file(folder, f)
  for _, name in ipairs(fs.list(folder)) do
    local path = folder .. "/" .. name
    if fs.stat(path).type == "directory" then each_lua_file(path, f)
    elseif name:match "%.lua$" then f(path, fs.read(path)) end
  end
end

local IN_USE = { param = true, ["return"] = true, field = true, type = true, class = true }

-- Names of classes begin with a capital letter after the last dot; modules, which sentences may name, do not.
local function note_types(path, line, defined, used)
  local tag, rest = line:match "^%s*%-%-%-@(%l+)%s+(.*)$"
  if tag == "class" or tag == "alias" then
    local name, parents = rest:match "^([%w_.]+)(.*)$"
    defined[name] = true
    rest = parents
  end
  for name in (IN_USE[tag] and rest or ""):gmatch "pgaf[%w_.]*%.%u[%w_]*" do used[name] = path .. ": " .. line end
end

function T.test_each_class_that_an_annotation_names_is_described()
  local defined, used = {}, {}
  for _, folder in ipairs { "docs/meta", "stdlib", "scripts" } do
    each_lua_file(root .. "/" .. folder, function(path, text)
      for line in text:gmatch "[^\n]+" do note_types(path, line, defined, used) end
    end)
  end
  for name, place in pairs(used) do lu.assertTrue(defined[name], ("%s is no class (%s)"):format(name, place)) end
end

test.run("descriptions for editors", T)

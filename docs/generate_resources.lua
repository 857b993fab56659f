-- Writes docs/resources.md from the annotations of stdlib/pgaf/resources/*.lua:
--
--     pgafrun docs/generate_resources.lua            writes it
--     pgafrun docs/generate_resources.lua --check    exit code 1 when it is not as it would be written
--
-- What a file's head says becomes the text, its class of options the table. The class has to name the parameters that
-- the resource takes, no more and no fewer, and say of the right ones that they may be left out.

local fs = require "pgafrun.fs"
local program = require "pgafrun.program"
local resource = require "pgaf.resource"

local root = program.roots[1]
local OUTPUT = root .. "/docs/resources.md"

local INTRODUCTION = [[
# Resources

<!-- Written by `pgafrun docs/generate_resources.lua` from stdlib/pgaf/resources/: changes by hand are lost. -->

A resource says what shall be so on a node. It is read first (`probe`), changed only where it differs (`apply`), and
read again. With `--check` only the reading happens, and `--diff` shows what would change.

```lua
local resource = require "pgaf.resource"

p:step { "motd", on = "all", resource = resource.file { path = "/etc/motd", content = "hello\n", mode = "0644" } }
p:step { "data folder", on = "data", resource = function(target)
  return resource.directory { path = "/srv/" .. target.name, user = "postgres" }
end }
```

A name or a parameter that does not exist, or a value of the wrong type, is told with file and line by the plan, all of
them at once, before anything is touched. Where a type says `fun(target)`, the value may be a function that is called
for each target when the step runs: for what is not known before. A `pgaf.Secret` (see `pgaf.secret`) is masked wherever
it would be shown, and what is joined to it (`"password=" .. password`) is one as well. Parameters marked with **!**
must be given.
]]

-- --------------------------------------------------------------------------------------------- reading the sources

-- A comment's text, without its dashes, as Markdown: what is indented is code.
local function head_of(text)
  local lines, in_code = {}, false
  for line in text:gmatch "([^\n]*)\n" do
    local comment = line:match "^%-%-%s?(.*)$"
    if not comment then break end
    local code = comment:match "^    (.*)$"
    if code and not in_code then lines[#lines + 1] = "```lua" end
    if not code and in_code and comment ~= "" then table.insert(lines, #lines, "```") end
    if code or comment ~= "" then in_code = code ~= nil end
    lines[#lines + 1] = code or comment
  end
  if in_code then lines[#lines + 1] = "```" end
  return table.concat(lines, "\n")
end

-- "TYPE words" at the blank that is within no bracket and follows neither a colon nor a bar.
local function split_type(text)
  local depth = 0
  for i = 1, #text do
    local c = text:sub(i, i)
    if c:find "[%[({<]" then depth = depth + 1 elseif c:find "[%])}>]" then depth = depth - 1 end
    if c == " " and depth == 0 and not text:sub(i - 1, i - 1):find "[:|,]" then
      return text:sub(1, i - 1), text:sub(i + 1)
    end
  end
  return text, ""
end

-- All classes of a text: { fields = { { name, type, words, optional } ... }, parent }.
local function read_classes(text, classes)
  local class, field
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    local name, parent = line:match "^%-%-%-@class ([%w.]+):?%s*([%w.]*)"
    local key, optional, rest = line:match "^%-%-%-@field ([%w_%[%]\"]+)(%??) (.*)$"
    if name then
      class, field = { fields = {}, parent = parent ~= "" and parent or nil }, nil
      classes[name] = class
    elseif key and class then
      local kind, words = split_type(rest)
      field = { name = key, optional = optional == "?", type = kind, words = words }
      table.insert(class.fields, field)
    elseif field and line:find "^%-%-%-[^@]" then
      field.words = field.words .. " " .. line:match "^%-%-%-%s?(.*)$"
    else
      class, field = line:find "^%-%-%-" and class or nil, nil
    end
  end
end

local function read_tree(folder, classes)
  for _, name in ipairs(fs.list(folder)) do
    local path = folder .. "/" .. name
    if fs.stat(path).type == "directory" then
      read_tree(path, classes)
    elseif name:find "%.lua$" then
      read_classes(fs.read(path), classes)
    end
  end
end

-- The class of a resource's options: the one in its file whose name ends so.
local function options_class(text)
  return text:match "%-%-%-@class (pgaf%.%w+Options)"
end

-- Its own fields and those of the classes that it is built on.
local function all_fields(classes, name)
  local fields = {}
  while name do
    local class = assert(classes[name], name .. " is described nowhere")
    for _, field in ipairs(class.fields) do fields[#fields + 1] = field end
    name = class.parent
  end
  return fields
end

-- -------------------------------------------------------------------------------------------------------- checking

local function compare(name, fields, parameters, report)
  local described = {}
  for _, field in ipairs(fields) do
    described[field.name] = true
    local parameter = parameters[field.name]
    if not parameter then
      report(("%s: the class describes %q, and there is no such parameter"):format(name, field.name))
    elseif (parameter.required or false) == field.optional then
      report(("%s: %q is %s, and its class says otherwise"):format(name, field.name,
        parameter.required and "required" or "optional"))
    end
  end
  for parameter in pairs(parameters) do
    if not described[parameter] then report(("%s: %q is not described"):format(name, parameter)) end
  end
end

-- --------------------------------------------------------------------------------------------------------- writing

local function cell(text) return (text:gsub("|", "\\|"):gsub("\n", " ")) end

local function table_of(fields)
  local lines = { "| parameter | type | |", "|---|---|---|" }
  for _, field in ipairs(fields) do
    local kind = field.type:gsub("fun%(target: pgaf%.Target%)", "fun(target)")
    lines[#lines + 1] = ("| `%s`%s | `%s` | %s |"):format(field.name, field.optional and "" or " **!**", cell(kind),
      cell(field.words))
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Classes that the types of these fields name, in order, each once.
local function named_classes(classes, fields)
  local names, seen = {}, {}
  for _, field in ipairs(fields) do
    for name in field.type:gmatch "pgaf%.[%w.]+" do
      if classes[name] and #classes[name].fields > 0 and not seen[name] and name ~= "pgaf.Target" then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  return names
end

local function section(name, text, classes, parts)
  parts[#parts + 1] = ("### %s\n"):format(name)
  parts[#parts + 1] = head_of(text) .. "\n"
  local class = classes[options_class(text)]
  parts[#parts + 1] = table_of(class.fields)
  if class.parent then
    parts[#parts + 1] = ("And those of [%s](#%s).\n"):format(class.parent, class.parent:lower():gsub("%.", ""))
  end
  for _, other in ipairs(named_classes(classes, class.fields)) do
    parts[#parts + 1] = ("`%s`:\n"):format(other)
    parts[#parts + 1] = table_of(classes[other].fields)
  end
end

local GROUPS = {
  { "The machine", function(name) return not name:find "^pg" end },
  { "PostgreSQL", function(name) return name:find "^pg_" ~= nil end },
  { "pg_auto_failover", function(name) return name:find "^pgaf_" ~= nil end },
}

local function generate(report)
  local classes, texts = {}, {}
  read_tree(root .. "/stdlib/pgaf", classes)
  local names = resource.names()
  for _, name in ipairs(names) do
    texts[name] = fs.read(("%s/stdlib/pgaf/resources/%s.lua"):format(root, name))
    local class = options_class(texts[name])
    if class then
      compare(name, all_fields(classes, class), resource[name].definition.parameters, report)
    else
      report(("%s: no class pgaf.*Options describes its parameters"):format(name))
    end
  end
  local parts = { INTRODUCTION }
  for _, group in ipairs(GROUPS) do
    local title, is_of = table.unpack(group)
    local parents, begun = {}, false
    for _, name in ipairs(names) do
      local class = options_class(texts[name])
      if is_of(name) and class then
        if not begun then parts[#parts + 1] = ("## %s\n"):format(title) end
        begun = true
        section(name, texts[name], classes, parts)
        local parent = classes[class].parent
        if parent and not parents[parent] then
          parents[parent] = true
          parents[#parents + 1] = parent
        end
      end
    end
    for _, parent in ipairs(parents) do
      parts[#parts + 1] = ("### %s\n"):format(parent)
      parts[#parts + 1] = table_of(all_fields(classes, parent))
    end
  end
  return table.concat(parts, "\n")
end

local problems = {}
local text = generate(function(problem) problems[#problems + 1] = problem end)
if #problems > 0 then
  io.stderr:write("the annotations are not right:\n  ", table.concat(problems, "\n  "), "\n")
  return 1
end
if (...) == "--check" then
  if fs.stat(OUTPUT) and fs.read(OUTPUT) == text then return 0 end
  io.stderr:write("docs/resources.md is not as its sources are: pgafrun docs/generate_resources.lua\n")
  return 1
end
fs.write(OUTPUT, text, { mode = tonumber("644", 8) })
return 0

-- What the annotations say of a name: those of docs/meta (the runtime's modules) and of the standard library, which are
-- the same that editors show. Read from the files when it is first wanted.

local fs = require "pgafrun.fs"
local program = require "pgafrun.program"

local help = {}

local NEAR = 12 -- names that are offered in place of one that is not there

---@class pgaf.repl.HelpEntry
---@field name string "task.sleep", "Formation:state", "pgaf.Formation"
---@field text string[] the annotation's lines, without dashes
---@field declaration string? "function task.sleep(seconds)"
---@field file string
---@field line integer

---@class pgaf.repl.Help
---@field entries pgaf.repl.HelpEntry[]
---@field by_word table<string, pgaf.repl.HelpEntry[]> by the last word of the name
---@field classes table<string, string[]> class -> names of its fields
local Help = {}
Help.__index = Help

local function last_word(name) return name:match "([%w_]+)$" or name end

-- ---------------------------------------------------------------------------------------------------------- reading

local function add(self, entry)
  self.entries[#self.entries + 1] = entry
  local word = last_word(entry.name)
  self.by_word[word] = self.by_word[word] or {}
  table.insert(self.by_word[word], entry)
end

local function class_of(self, lines, file, number)
  local name
  for _, line in ipairs(lines) do
    name = line:match "^@class%s+([%w_.]+)" or name
    local field = line:match "^@field%s+([%w_]+)"
    if name and field then
      self.classes[name] = self.classes[name] or {}
      table.insert(self.classes[name], field)
    end
  end
  if name then add(self, { name = name, text = lines, file = file, line = number }) end
end

-- Annotations are runs of lines that begin with three dashes; what follows them is what they are about.
local function read_text(self, text, file, module)
  local lines, begun, number = {}, 0, 0
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    local comment = line:match "^%s*%-%-%-(.*)$"
    if comment then
      if #lines == 0 then begun = number end
      lines[#lines + 1] = comment:gsub("^%s", "")
    else
      local name = line:match "^function ([%w_.:]+)%s*%(" or line:match "^([%w_.]+)%s*=%s*function%s*%("
      if name and #lines > 0 then
        if module and name:match "^[%w_]+" == module.variable then name = module.name .. name:match "^[%w_]+(.*)$" end
        add(self, { name = name, text = lines, declaration = line:match "^%s*(.-)%s*$", file = file, line = number })
      elseif #lines > 0 then
        class_of(self, lines, file, begun)
      end
      if #lines > 0 then lines = {} end
    end
  end
end

local function read_tree(self, folder, lead)
  for _, name in ipairs(fs.list(folder)) do
    local path = folder .. "/" .. name
    if fs.stat(path).type == "directory" then
      read_tree(self, path, lead .. name .. ".")
    elseif name:find "%.lua$" then
      local text = fs.read(path)
      local variable = text:match "\nreturn ([%a_][%w_]*)%s*$"
      local module = (lead .. name:gsub("%.lua$", "")):gsub("%.init$", "")
      read_text(self, text, path, variable and { variable = variable, name = module })
    end
  end
end

-- A checkout has docs beside stdlib; an installation has them among the documents of all packages.
local function meta_folder(root)
  for _, folder in ipairs { root .. "/docs/meta", root .. "/../doc/pgafrun/docs/meta" } do
    if fs.stat(folder) then return folder end
  end
end

---Reads all annotations. Waits.
---@return pgaf.repl.Help
function help.load()
  local self = setmetatable({ entries = {}, by_word = {}, classes = {} }, Help)
  for _, root in ipairs(program.roots) do
    local meta = meta_folder(root)
    if meta then read_tree(self, meta, "") end
    if fs.stat(root .. "/stdlib/pgaf") then
      read_tree(self, root .. "/stdlib/pgaf", "pgaf.")
      break
    end
  end
  return self
end

-- ---------------------------------------------------------------------------------------------------------- finding

local function ends_with(text, ending)
  if text == ending then return true end
  local lead = text:sub(-#ending - 1, -#ending - 1)
  return text:sub(-#ending) == ending and (lead == "." or lead == ":")
end

---Entries of that name, or of one that ends so: "sleep", "task.sleep", "Node:exec". The best of: the same name, one
---that ends so, one that does in other letters (`formation:state` is a method of Formation).
---@param name string
---@return pgaf.repl.HelpEntry[]
function Help:find(name)
  local exact, ending, similar = {}, {}, {}
  local dotted = name:gsub(":", ".")
  for _, entry in ipairs(self.by_word[last_word(name)] or {}) do
    local plain = entry.name:gsub(":", ".")
    if plain == dotted then exact[#exact + 1] = entry end
    if ends_with(plain, dotted) then ending[#ending + 1] = entry end
    if ends_with(plain:lower(), dotted:lower()) then similar[#similar + 1] = entry end
  end
  return #exact > 0 and exact or #ending > 0 and ending or similar
end

---Names that hold the word, a few of them.
---@param word string
---@return string[]
function Help:near(word)
  local names, lower = {}, word:lower()
  for _, entry in ipairs(self.entries) do
    if entry.name:lower():find(lower, 1, true) and #names < NEAR then names[#names + 1] = entry.name end
  end
  return names
end

-- Fields of the table type within "{ name?: type, ... }".
local function literal_fields(text, into)
  local inside = text:match "%b{}"
  for field in (inside or ""):gmatch "([%a_][%w_]*)%??%s*:" do into[#into + 1] = field end
end

---Names of the options that functions of this name take in a table.
---@param name string
---@return string[]
function Help:options(name)
  local names = {}
  for _, entry in ipairs(self.by_word[last_word(name)] or {}) do
    for _, line in ipairs(entry.text) do
      local kind = line:match "^@param%s+[%w_]+%??%s+(.*)$"
      if kind then
        literal_fields(kind, names)
        local class = kind:match "^([%w_.]+)"
        for _, field in ipairs(self.classes[class] or {}) do names[#names + 1] = field end
      end
    end
  end
  return names
end

---An entry for a person.
---@param entry pgaf.repl.HelpEntry
---@return string
function help.text(entry)
  local lines = { entry.declaration and (entry.declaration:gsub("%s+end$", "")) or entry.name }
  if entry.declaration and not entry.declaration:find(entry.name, 1, true) then
    lines[1] = entry.name .. ": " .. lines[1]
  end
  for _, line in ipairs(entry.text) do
    local optional = line:gsub("^@param%s+([%w_.]+)(%??)%s+", function(name, mark)
      return ("  %s%s: "):format(name, mark == "?" and " (optional)" or "")
    end)
    lines[#lines + 1] = optional:gsub("^@field%s+(%S+)%s+", "  %1: "):gsub("^@return%s+", "  returns "):gsub(
      "^@class%s+", "class ")
  end
  lines[#lines + 1] = ("  (%s:%d)"):format(entry.file, entry.line)
  return table.concat(lines, "\n")
end

return help

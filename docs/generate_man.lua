-- Writes the manual pages pgafrun(1) and pgafrun-scripts(7) from what the program and its scripts say of themselves:
--
--     pgafrun docs/generate_man.lua FOLDER DATE
--
-- Each script is asked for its --help in this process, so that options come as they were declared and not as a text
-- that was laid out for a terminal. The build runs it.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local program = require "pgafrun.program"

local throw = error
local error = require "pgafrun.error"

local folder, date = ...
if not folder or not date then error.raise { kind = "usage", message = "generate_man.lua FOLDER DATE" } end
local root = program.roots[1]
local PUBLIC = tonumber("644", 8)

-- ------------------------------------------------------------------------------------------------------- asking

---@class Manual what a script says of itself
---@field name string
---@field parser table argparse's

-- The parsers that are made while a script runs up to the end of its --help.
local made = {}

local function record_parsers()
  local argparse = require "argparse"
  package.loaded.argparse = setmetatable({}, {
    __call = function(_, ...)
      local parser = argparse(...)
      made[#made + 1] = parser
      return parser
    end,
    __index = argparse,
  })
end

local function ask(name)
  made = {}
  local show = print
  _G.print = function() end
  local ok, problem = pcall(assert(loadfile(("%s/scripts/%s.lua"):format(root, name))), "--help")
  _G.print = show
  if ok or not error.is(problem, "exit") then
    throw(("scripts/%s.lua does not end with its --help: %s"):format(name, tostring(problem)), 0)
  end
  assert(made[1], "no arguments are declared by scripts/" .. name .. ".lua")
  return { name = name, parser = made[1] }
end

local function own_help()
  return process.run({ fs.realpath "/proc/self/exe", "--help", extend_env = { PGAFRUN_PATH = root } }).stdout
end

-- --------------------------------------------------------------------------------------------------------- roff

local function escaped(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("'", "\\(aq"):gsub("`", "\\(ga"):gsub("%^", "\\(ha")
    :gsub("~", "\\(ti")
  return text
end

-- A sentence for people: dashes are hyphens, unless they are of an option.
local function prose(text)
  text = escaped(text):gsub("%f[%w]([%w]+)\\%-(%l)", "%1-%2")
  return (text:gsub("^%.", "\\&."):gsub("\n%.", "\n\\&."))
end

local function paragraphs(out, text)
  local first = true
  for paragraph in (text .. "\n\n"):gmatch "(.-)\n%s*\n" do
    if paragraph:match "%S" then
      if not first then out[#out + 1] = ".PP" end
      first = false
      -- what is laid out in columns stays as it is
      local laid_out = paragraph:match "\n%s%s" or paragraph:match "^%s%s"
      if laid_out then out[#out + 1] = ".nf" end
      for line in paragraph:gmatch "[^\n]+" do
        out[#out + 1] = laid_out and escaped(line):gsub("^%.", "\\&.") or prose(line:match "^%s*(.*)$")
      end
      if laid_out then out[#out + 1] = ".fi" end
    end
  end
end

local function title(out, name, section)
  out[#out + 1] = ('.TH %s %d "%s" "pgafrun %s" "pgafrun"'):format(name:upper(), section, date, program.version)
end

local function write(name, out) fs.write(folder .. "/" .. name, table.concat(out, "\n") .. "\n", { mode = PUBLIC }) end

-- ------------------------------------------------------------------------------------------------- the program

-- "  -i, --inventory FILE   which nodes ..." as label and text; what is indented further goes on with the text.
local function options_of(help)
  local list = {}
  for line in help:match "\nOptions:\n(.-)\n\n":gmatch "[^\n]+" do
    local label, text = line:match "^%s+(%-.-)%s%s+(.*)$"
    if not label then label, text = line:match "^%s+(%-.-%u%u+) (%l.*)$" end
    if label then
      list[#list + 1] = { label = label, text = text }
    else
      list[#list].text = list[#list].text .. " " .. line:match "^%s*(.*)$"
    end
  end
  return list
end

-- Option names bold, the names of their values in italics.
local function label_of(text)
  local words = {}
  for word, gap in text:gmatch "([^%s,]+)([%s,]*)" do
    words[#words + 1] = (word:sub(1, 1) == "-" and "\\fB%s\\fR%s" or "\\fI%s\\fR%s"):format(escaped(word), gap)
  end
  return table.concat(words)
end

local function program_page(scripts)
  local help = own_help()
  local out = {}
  title(out, "pgafrun", 1)
  out[#out + 1] = ".SH NAME"
  out[#out + 1] = "pgafrun \\- provision and drill PostgreSQL high availability by Lua scripts"
  out[#out + 1] = ".SH SYNOPSIS"
  for line in (help:match "^Usage:(.-)\n\n" .. "\n"):gmatch "%s*pgafrun ([^\n]*)\n" do
    if #out > 4 then out[#out + 1] = ".br" end
    local usage, remark = line:match "^(.-)%s%s+(.*)$"
    out[#out + 1] = ".B pgafrun"
    out[#out + 1] = escaped(usage or line) .. (remark and "\\ \\ (" .. escaped(remark) .. ")" or "")
  end
  out[#out + 1] = ".SH DESCRIPTION"
  paragraphs(out, "Runs a Lua script as a tree of tasks on one event loop: HTTP and websockets to Incus, libpq to " ..
    "PostgreSQL, processes and files. The scripts that come with it make a pg_auto_failover formation on Incus " ..
    "containers, look after it, break it on purpose, and put it back; they are for operators to read and to change.")
  out[#out + 1] = ".SH OPTIONS"
  for _, option in ipairs(options_of(help)) do
    out[#out + 1] = ".TP"
    out[#out + 1] = label_of(option.label)
    out[#out + 1] = prose(option.text)
  end
  out[#out + 1] = ".SH SCRIPTS"
  for _, script in ipairs(scripts) do
    out[#out + 1] = ".TP"
    out[#out + 1] = "\\fB" .. escaped(script.name) .. "\\fR"
    out[#out + 1] = prose(script.parser._description or "")
  end
  out[#out + 1] = ".PP"
  out[#out + 1] = "What each takes is in"
  out[#out + 1] = ".BR pgafrun\\-scripts (7)."
  local more = help:match "\n(Exit code:.-)\nScripts and their library"
  local places = help:match "\n(Scripts and their library.-)\n\n" or help:match "\n(Scripts and their library.*)"
  out[#out + 1] = ".SH EXIT STATUS"
  paragraphs(out, more:gsub("^Exit code: t", "T"))
  out[#out + 1] = ".SH FILES"
  paragraphs(out, places)
  out[#out + 1] = ".SH ENVIRONMENT"
  for _, variable in ipairs {
    { "PGAFRUN_PATH", "folders with stdlib/ and scripts/, separated by colons; the first that has a file wins" },
    { "XDG_STATE_HOME", "where drills keep their journals, below pgafrun/drills; default ~/.local/state" },
    { "INCUS_CONF", "where the Incus client keeps its remotes and certificates; INCUS_REMOTE and INCUS_PROJECT " ..
      "stand in for what an inventory leaves open" },
  } do
    out[#out + 1] = ".TP"
    out[#out + 1] = "\\fB" .. variable[1] .. "\\fR"
    out[#out + 1] = prose(variable[2])
  end
  out[#out + 1] = ".SH SEE ALSO"
  out[#out + 1] = ".BR pgafrun\\-scripts (7),"
  out[#out + 1] = ".BR incus (1),"
  out[#out + 1] = ".BR pg_autoctl (1)"
  write("pgafrun.1", out)
end

-- ------------------------------------------------------------------------------------------------- the scripts

local function value_of(option)
  if not option._maxargs or option._maxargs == 0 then return "" end
  local name = option._argname
  if type(name) == "table" then name = table.concat(name, " ") end
  name = name or ("<%s>"):format(option._name)
  return option._minargs == 0 and (" [%s]"):format(name) or " " .. name
end

local function describe(out, label, element)
  out[#out + 1] = ".TP"
  out[#out + 1] = label_of(label)
  local text = prose(element._description or "")
  if element._default then text = ("%s (default: %s)"):format(text, escaped(tostring(element._default))) end
  out[#out + 1] = text
end

-- What every script with an inventory takes is told once.
local COMMON = {
  ["-h"] = true, ["-v"] = true, ["-q"] = true, ["-i"] = true, ["-e"] = true, ["--vault-password-file"] = true,
  ["--vault-id"] = true, ["--ask-vault-pass"] = true,
}

local function label_of_option(option) return table.concat(option._aliases, ", ") .. value_of(option) end

local function script_section(out, script)
  local parser = script.parser
  out[#out + 1] = ".SS " .. escaped(script.name)
  paragraphs(out, parser._description or "")
  for _, argument in ipairs(parser._arguments) do describe(out, argument._argname or argument._name, argument) end
  for _, option in ipairs(parser._options) do
    if not COMMON[option._aliases[1]] then describe(out, label_of_option(option), option) end
  end
  if parser._epilog then
    out[#out + 1] = ".PP"
    paragraphs(out, parser._epilog)
  end
end

local function scripts_page(scripts)
  local out = {}
  title(out, "pgafrun-scripts", 7)
  out[#out + 1] = ".SH NAME"
  out[#out + 1] = "pgafrun\\-scripts \\- the scripts that come with pgafrun"
  out[#out + 1] = ".SH SYNOPSIS"
  out[#out + 1] = ".B pgafrun"
  out[#out + 1] = "\\-i INVENTORY SCRIPT [options]"
  out[#out + 1] = ".SH DESCRIPTION"
  paragraphs(out, "Each script works on the formation that an inventory describes. All of them have these options:")
  local seen = {}
  for _, script in ipairs(scripts) do
    for _, option in ipairs(script.parser._options) do
      local first = option._aliases[1]
      if COMMON[first] and not seen[first] then
        seen[first] = true
        describe(out, label_of_option(option), option)
      end
    end
  end
  out[#out + 1] = ".SH SCRIPTS"
  for _, script in ipairs(scripts) do script_section(out, script) end
  out[#out + 1] = ".SH SEE ALSO"
  out[#out + 1] = ".BR pgafrun (1)"
  write("pgafrun-scripts.7", out)
end

record_parsers()
local scripts = {}
for _, file in ipairs(fs.list(root .. "/scripts")) do
  local name = file:match "^(.+)%.lua$"
  if name then scripts[#scripts + 1] = ask(name) end
end
fs.mkdir(folder, tonumber("755", 8))
program_page(scripts)
scripts_page(scripts)

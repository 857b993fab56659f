-- Globals that a file names and nobody has defined, found without running it: in the bytecode, where every access to a
-- global is an access to the upvalue _ENV by a constant name. No guessing about scopes is needed: the compiler has done
-- that.
--
-- The format is that of Lua 5.4 (ldump.c, lopcodes.h). It is no promise of Lua's: the header is checked, and a known
-- chunk is read first; where either is strange, nothing is claimed.

local suggest = require "pgaf.suggest"

local globals = {}

-- The head of a dump: signature, version 5.4, format 0, data that breaks in transfers, sizes, an integer and a number.
local HEADER = "\27Lua\x54\x00\x19\x93\r\n\x1a\n" .. string.char(4, 8, 8) .. ("<i8d"):pack(0x5678, 370.5)

local OP = { LOADK = 3, GETUPVAL = 9, GETTABUP = 11, GETTABLE = 12, SETTABUP = 15, SETTABLE = 16 }
local NEW_LINE = -128 -- in lineinfo: the line is in abslineinfo

local CONSTANT = { INTEGER = 0x03, FLOAT = 0x13, SHORT = 0x04, LONG = 0x14 }

-- ----------------------------------------------------------------------------------------------------------- reading

local Reader = {}
Reader.__index = Reader

function Reader:byte()
  local value = self.dump:byte(self.at)
  self.at = self.at + 1
  return value
end

-- Seven bits a byte, the highest first; the last byte has its eighth bit set.
function Reader:size()
  local value = 0
  while true do
    local byte = self:byte()
    value = value << 7 | (byte & 0x7f)
    if byte & 0x80 ~= 0 then return value end
  end
end

function Reader:text()
  local size = self:size()
  if size == 0 then return nil end
  local text = self.dump:sub(self.at, self.at + size - 2)
  self.at = self.at + size - 1
  return text
end

function Reader:list(read)
  local list = {}
  for i = 1, self:size() do list[i] = read(self) end
  return list
end

function Reader:constant()
  local kind = self:byte()
  if kind == CONSTANT.SHORT or kind == CONSTANT.LONG then return self:text() end
  if kind == CONSTANT.INTEGER or kind == CONSTANT.FLOAT then self.at = self.at + 8 end
  return false -- not nil: the list keeps its places
end

function Reader:code()
  local count = self:size()
  local code = {}
  for i = 1, count do code[i] = ("<I4"):unpack(self.dump, self.at + (i - 1) * 4) end
  self.at = self.at + count * 4
  return code
end

function Reader:lines(first)
  local count = self:size()
  local start = self.at
  self.at = start + count
  local absolute = {}
  for _ = 1, self:size() do
    local pc = self:size()
    absolute[pc] = self:size()
  end
  local lines, line = {}, first
  for pc = 0, count - 1 do
    local delta = ("b"):unpack(self.dump, start + pc)
    if delta == NEW_LINE then line = absolute[pc] else line = line + delta end
    lines[pc + 1] = line
  end
  return lines
end

local function local_variable(self)
  local name = self:text()
  self:size()
  self:size()
  return name
end

function Reader:func()
  self:text() -- source
  local first = self:size()
  self:size() -- last line
  self.at = self.at + 3 -- parameters, vararg, stack
  local f = { code = self:code(), constants = self:list(Reader.constant) }
  local upvalues = self:size()
  self.at = self.at + upvalues * 3 -- where they come from
  f.functions = self:list(Reader.func)
  f.lines = self:lines(first)
  f.locals = self:list(local_variable)
  f.upvalues = self:list(function(reader) return reader:text() or false end)
  return f
end

local function read(chunk)
  local dump = string.dump(chunk)
  if dump:sub(1, #HEADER) ~= HEADER then return nil end
  local reader = setmetatable({ dump = dump, at = #HEADER + 2 }, Reader) -- and the number of upvalues
  local ok, f = pcall(reader.func, reader)
  if ok and reader.at == #dump + 1 then return f end
  return nil
end

-- ----------------------------------------------------------------------------------------------------------- looking

local function fields(instruction)
  return instruction & 0x7f, instruction >> 7 & 0xff, instruction >> 16 & 0xff, instruction >> 24 & 0xff
end

-- Calls found(name, line, assigned) for each access.
local function visit(f, found)
  local function constant(index) return f.constants[index + 1] end
  local environments, names = {}, {} -- registers that hold _ENV, or a constant: functions with many constants do that
  for pc, instruction in ipairs(f.code) do
    local op, a, b, c = fields(instruction)
    local line = f.lines[pc]
    if op == OP.GETTABUP and f.upvalues[b + 1] == "_ENV" then
      found(constant(c), line, false)
    elseif op == OP.SETTABUP and f.upvalues[a + 1] == "_ENV" then
      found(constant(b), line, true)
    elseif op == OP.GETTABLE and environments[b] and names[c] then
      found(names[c], line, false)
    elseif op == OP.SETTABLE and environments[a] and names[b] then
      found(names[b], line, true)
    end
    environments[a] = op == OP.GETUPVAL and f.upvalues[b + 1] == "_ENV" or nil
    names[a] = op == OP.LOADK and constant(instruction >> 15) or nil
  end
  for _, inner in ipairs(f.functions) do visit(inner, found) end
end

local function local_names(f, set)
  for _, name in ipairs(f.locals) do
    if name and name:find "^[%a_]" then set[name] = true end
  end
  for _, inner in ipairs(f.functions) do local_names(inner, set) end
end

-- With constants of all kinds.
local PROBE = [[
local t = { 1e300, 1 << 40, true, nil, "a text that is longer than forty characters are" }
t.x = known_a
function t.f() known_b = t.x end
local function f(...) return known_c end
]]

-- Is this the bytecode that is described above? A chunk whose accesses are known says so.
local function is_understood()
  local lines = {}
  local f = read(assert(load(PROBE, "=probe", "t")))
  if not f then return false end
  visit(f, function(name, line, assigned) lines[#lines + 1] = ("%s %d %s"):format(name, line, assigned) end)
  return table.concat(lines, ", ") == "known_a 2 false, known_b 3 true, known_c 4 false"
end

---@class pgaf.play.Global
---@field name string
---@field line integer
---@field assigned boolean set, and not read
---@field near string? the word that was probably meant

---The undefined globals of a compiled file, in the order of its functions; nil where the bytecode is of a kind that is
---not known.
---@param chunk function from load or loadfile, not stripped
---@return pgaf.play.Global[]?
function globals.undefined(chunk)
  if not is_understood() then return nil end
  local f = read(chunk)
  if not f then return nil end
  local candidates, words = {}, {}
  local_names(f, candidates)
  for name in pairs(_G) do candidates[name] = true end
  for name in pairs(candidates) do words[#words + 1] = name end
  table.sort(words)
  local list, seen = {}, {}
  visit(f, function(name, line, assigned)
    local key = ("%s %d"):format(tostring(name), line)
    if name and rawget(_G, name) == nil and not seen[key] then
      seen[key] = true
      list[#list + 1] = { name = name, line = line, assigned = assigned, near = suggest(name, words) }
    end
  end)
  table.sort(list, function(x, y) return x.line < y.line end)
  return list
end

return globals

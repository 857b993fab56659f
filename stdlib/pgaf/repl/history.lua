-- What was typed at the prompt, kept for the next session in a file that only its owner can read. A line that holds a
-- secret, or looks as if it gave somebody a password, is not kept.

local fs = require "pgafrun.fs"
local log = require "pgafrun.log"
local mask = require "pgafrun.mask"
local process = require "pgafrun.process"

local history = {}

local ENTRIES = 2000
local ENTRY_BYTES = 64 * 1024
local MODE = tonumber("600", 8)

---@class pgaf.repl.History
---@field path string?
---@field entries string[] oldest first
local History = {}
History.__index = History

---@return string? path nil where there is no home
function history.path()
  local state = process.getenv "XDG_STATE_HOME"
  if state and state:sub(1, 1) == "/" then return state .. "/pgafrun/history" end
  local home = process.getenv "HOME"
  return home and home ~= "" and home .. "/.local/state/pgafrun/history" or nil
end

-- One entry a line: an entry of several lines has \n for their ends.
local function encode(entry) return (entry:gsub("\\", "\\\\"):gsub("\n", "\\n")) .. "\n" end

local function decode(line) return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end)) end

local function read(path)
  local entries = {}
  if not fs.stat(path) then return entries end
  for line in fs.read(path):gmatch "[^\n]+" do entries[#entries + 1] = decode(line) end
  return entries
end

-- The newest, when there are many more than are wanted.
local function shorten(path, entries)
  if #entries <= 2 * ENTRIES then return entries end
  local kept = table.move(entries, #entries - ENTRIES + 1, #entries, 1, {})
  local lines = {}
  for i, entry in ipairs(kept) do lines[i] = encode(entry) end
  fs.write(path, table.concat(lines), { mode = MODE })
  return kept
end

---Reads what earlier sessions left. A file that cannot be used is told, and does without.
---@param path? string default history.path()
---@return pgaf.repl.History
function history.open(path)
  path = path or history.path()
  local self = setmetatable({ path = path, entries = {} }, History)
  if not path then return self end
  local ok, raised = pcall(function()
    fs.mkdir((path:match "^(.*)/"))
    local stat = fs.stat(path)
    if stat and stat.mode ~= MODE then fs.chmod(path, MODE) end
    self.entries = shorten(path, read(path))
  end)
  if not ok then
    log.warn("the history is not kept: " .. tostring(raised))
    self.path = nil
  end
  return self
end

---Whether an input may be kept.
---@param entry string
---@return boolean
function history.is_harmless(entry)
  if mask.apply(entry) ~= entry then return false end
  return not entry:lower():find "passw[%w_]*%s*=?%s*[\"'%[]"
end

---Adds an input. Other sessions add to the same file.
---@param entry string
function History:add(entry)
  if self.entries[#self.entries] == entry then return end
  self.entries[#self.entries + 1] = entry
  if not self.path or #entry > ENTRY_BYTES or not history.is_harmless(entry) then return end
  local ok, raised = pcall(fs.append, self.path, encode(entry), { sync = false })
  if not ok then
    log.warn("the history is not kept any longer: " .. tostring(raised))
    self.path = nil
  end
end

return history

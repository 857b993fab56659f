-- What a drill is about to break, on disk before it is broken: one folder for each run, one JSON line for each fact,
-- each synced before the next step. A drill that was killed leaves a journal without its last line, from which
-- scripts/restore.lua puts everything back; the next drill of that formation refuses to begin before that.
--
--   $XDG_STATE_HOME/pgafrun/drills/FORMATION-KEY/RUN/journal     (XDG_STATE_HOME: default ~/.local/state)

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local WRITE_SECONDS = 30

local journal = {}

---@class pgaf.Journal
---@field run string
---@field folder string
---@field opened table the first line: formation, table, user, host, pid, at
---@field broken pgaf.Breakage[] what was or is about to be broken and was not put back, in order
---@field closed boolean
---@field torn boolean the last line was cut off
local Journal = {}
Journal.__index = Journal

---@class pgaf.Breakage
---@field id integer in this run
---@field node string
---@field undo string its name in pgaf.drill.undo
---@field with table<string, any>? what that needs to know

local function state_folder()
  local state, home = process.getenv("XDG_STATE_HOME"), process.getenv("HOME")
  if state and state:sub(1, 1) == "/" then return state end
  if home and home ~= "" then return home .. "/.local/state" end
  error.raise {
    kind = "missing", operation = "keep the drill's journal",
    message = "neither HOME nor XDG_STATE_HOME is set: there is no place for the journal",
  }
end

--- Where the runs of a formation are kept. Formations of the same name on other hosts are others.
---@param inventory table
---@return string
function journal.folder(inventory)
  local p = inventory.provider
  local place = table.concat({ p.kind, p.remote or "", p.project or "", p.root or "" }, "\n")
  return ("%s/pgafrun/drills/%s-%s"):format(state_folder(), inventory.formation, crypto.sha256(place):sub(1, 8))
end

-- Out of reach of cancellation: a line is on disk or it is not, whenever Ctrl-C comes.
local function write(self, line)
  line.at = time.iso()
  -- After a line that was cut off, the next one begins on its own.
  local text = (self.torn and "\n" or "") .. json.encode(line) .. "\n"
  task.shield(WRITE_SECONDS, fs.append, self.folder .. "/journal", text)
  self.torn = false
end

--- Opens a run's journal; from here on the run has to be closed or restored.
---@param inventory table
---@param fields { primary: string, fault: string }
---@return pgaf.Journal
function journal.begin(inventory, fields)
  local run = ("%s-%s"):format(time.iso():gsub("[-:]", ""):gsub("%.%d+Z$", "Z"), crypto.random_hex(2))
  local self = setmetatable({ run = run, folder = journal.folder(inventory) .. "/" .. run, broken = {}, count = 0 },
    Journal)
  local me = process.self()
  fs.mkdir(self.folder)
  self.opened = {
    what = "opened", run = run, formation = inventory.formation, table_name = "drill_" .. run:lower():gsub("-", "_"),
    primary = fields.primary, fault = fields.fault, user = me.user, host = me.host, pid = me.pid,
  }
  self.closed = false
  write(self, self.opened)
  return self
end

--- To be called before something is broken.
---@param node string
---@param undo string how it is put back: a name of pgaf.drill.undo
---@param with? table<string, any> plain values
---@return pgaf.Breakage
function Journal:about_to_break(node, undo, with)
  self.count = self.count + 1
  local breakage = { id = self.count, node = node, undo = undo, with = with }
  table.insert(self.broken, breakage)
  write(self, { what = "breaking", id = breakage.id, node = node, undo = undo, with = with })
  return breakage
end

local function forget(self, id)
  for i, breakage in ipairs(self.broken) do
    if breakage.id == id then return table.remove(self.broken, i) end
  end
end

---@param breakage pgaf.Breakage
function Journal:undone(breakage)
  write(self, { what = "undone", id = breakage.id })
  forget(self, breakage.id)
end

--- Nothing is left to put back.
---@param outcome string
function Journal:close(outcome)
  if self.closed then return end
  write(self, { what = "closed", outcome = outcome })
  self.closed = true
end

-- A line that cannot be read is the one that a crash cut off: what it announces had not begun.
local function read_line(self, text)
  local ok, line = pcall(json.decode, text)
  if not ok or type(line) ~= "table" then return end
  if line.what == "opened" then
    self.opened = line
  elseif line.what == "breaking" then
    -- a line that somebody wrote by hand, or another version, has no number; it is still to be undone
    local id = math.tointeger(line.id) or self.count + 1
    table.insert(self.broken, { id = id, node = line.node, undo = line.undo or "start", with = line.with })
    self.count = math.max(self.count, id)
  elseif line.what == "undone" then
    forget(self, line.id)
  elseif line.what == "closed" then
    self.closed = true
  end
end

--- Reads a run's journal; nil when there is none, or not even its first line.
---@param folder string
---@return pgaf.Journal?
function journal.load(folder)
  local path = folder .. "/journal"
  if not fs.stat(path) then return nil end
  local self = setmetatable({
    run = folder:match("[^/]+$"), folder = folder, broken = {}, count = 0, closed = false,
  }, Journal)
  local text = fs.read(path)
  for line in text:gmatch("[^\n]+") do read_line(self, line) end
  self.torn = text:sub(-1) ~= "\n"
  return self.opened and self
end

--- The formation's runs that were neither closed nor restored, oldest first.
---@param inventory table
---@return pgaf.Journal[]
function journal.open_runs(inventory)
  local base, open = journal.folder(inventory), {}
  for _, run in ipairs(fs.stat(base) and fs.list(base) or {}) do
    local found = journal.load(base .. "/" .. run)
    if found and not found.closed then open[#open + 1] = found end
  end
  return open
end

--- Who began it, when, and what it broke.
---@return string
function Journal:describe()
  local broken = {}
  for i, breakage in ipairs(self.broken) do broken[i] = ("%s (to %s)"):format(breakage.node, breakage.undo) end
  return ("run %s of %s@%s, begun %s; %s"):format(self.run, self.opened.user, self.opened.host, self.opened.at,
    #broken > 0 and "not put back: " .. table.concat(broken, ", ") or "nothing of it is broken, its table is left")
end

return journal

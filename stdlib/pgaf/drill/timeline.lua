-- What happened, when, and who said so, on one clock. Three kinds of entries:
--
--   states   a node's reported and goal state changed: told by a notification of the monitor, else by its event table,
--            else by a look at the node table
--   marks    the named moments that phases are made of, each kept once, the first time
--   notes    everything else: provider events, the monitor lost and found
--
-- The timeline also reads the marks of the monitor's side out of the states: who is the victim, and what the fault
-- made the monitor decide.

local time = require "pgafrun.time"

-- A notification and the event row of the same change lie this close together (seconds).
local SAME_CHANGE = 1.5

-- Goals of a survivor that say it is, or will be, the new primary; in those of WRITABLE it takes writes.
local CHOSEN = { prepare_promotion = true, stop_replication = true, wait_primary = true, primary = true, single = true }
local WRITABLE = { wait_primary = true, primary = true, single = true }

---@class pgaf.Timeline
---@field entries { at: number, source: string, node: string?, text: string }[]
---@field marks table<string, { at: number, node: string? }>
---@field known table<string, { reported: string, goal: string }> last known state of each node
local Timeline = {}
Timeline.__index = Timeline

local timeline = {}

---@param on_entry? fun(entry: table) called with each entry as it comes; must not wait
---@return pgaf.Timeline
function timeline.new(on_entry)
  return setmetatable(
    { entries = {}, marks = {}, known = {}, initial = {}, changes = {}, health = {}, on_entry = on_entry },
    Timeline)
end

---@param source string "drill", "monitor", "provider", "node"
---@param text string
---@param node? string
---@param at? number default now
---@param mark? string
function Timeline:note(source, text, node, at, mark)
  local entry = { at = at or time.now(), source = source, node = node, text = text, mark = mark }
  local i = #self.entries + 1
  -- Nearly always the last place: event rows alone arrive late.
  while i > 1 and self.entries[i - 1].at > entry.at do i = i - 1 end
  table.insert(self.entries, i, entry)
  if self.on_entry then self.on_entry(entry) end
end

local MARK_TEXTS = {
  fault_sent = "fault sent", fault_done = "the fault is done", dead = "its processes are dead",
  noticed = "the monitor acts on it", assigned = "promotion assigned", promoted = "promoted, still read-only",
  presumed_gone = "the old primary is presumed gone", writable = "takes writes",
  first_ack = "first write acknowledged to every client", start_sent = "being put back",
  started = "started", heard_of = "reports to the monitor", rejoined = "secondary again",
  synchronous = "replication is synchronous again", whole = "the formation is whole",
}

--- Keeps the first time of a named moment.
---@param name string
---@param node? string
---@param at? number default now
function Timeline:mark(name, node, at)
  if self.marks[name] then return end
  at = at or time.now()
  self.marks[name] = { at = at, node = node }
  self:note("drill", MARK_TEXTS[name] or name, node, at, name)
end

---@param name string
---@return number? at
function Timeline:at(name)
  local mark = self.marks[name]
  return mark and mark.at
end

--- From here on states are read as consequences of a fault on this node.
---@param victim string
---@param primary string of before the fault
---@param baseline pgaf.FormationState
function Timeline:expect(victim, primary, baseline)
  self.victim, self.primary = victim, primary
  for _, node in ipairs(baseline.nodes) do
    local now = { reported = node.reported, goal = node.goal }
    self.known[node.name], self.initial[node.name] = now, now
    self.health[node.name] = node.health == 1 and "good" or "bad"
  end
end

-- A mark at the first sign of what the monitor decided. An event row that comes late may know an earlier one.
local function sign(self, name, node, at)
  local mark = self.marks[name]
  if not mark or at >= mark.at then return self:mark(name, node, at) end
  for i, entry in ipairs(self.entries) do
    if entry.mark == name then
      table.remove(self.entries, i)
      break
    end
  end
  self.marks[name] = nil
  self:mark(name, node, at)
end

-- What the fault made the monitor decide: each is marked at its first sign, so that a state which was missed is
-- covered by the next one.
local function read_consequences(self, at, node, now, before)
  local sent, start = self.marks.fault_sent, self.marks.start_sent
  if not sent or at < sent.at then return end
  local moved = not before or before.goal ~= now.goal
  if moved then sign(self, "noticed", nil, at) end
  if node ~= self.victim then
    -- a primary whose standby is lost is in wait_primary too
    if node ~= self.primary and moved and CHOSEN[now.goal] then sign(self, "assigned", node, at) end
    if node ~= self.primary and WRITABLE[now.goal] then sign(self, "presumed_gone", node, at) end
    -- With another standby left, that does not wait for the victim.
    if now.reported == "primary" and now.goal == "primary" then sign(self, "synchronous", node, at) end
  elseif start and at > start.at and now.reported == "secondary" and now.goal == "secondary" then
    sign(self, "rejoined", node, at)
  end
end

local function seen_before(self, at, node, reported, goal)
  for i = #self.changes, 1, -1 do
    local change = self.changes[i]
    if change.node == node and change.reported == reported and change.goal == goal
      and math.abs(change.at - at) < SAME_CHANGE then
      return true
    end
  end
  return false
end

-- What was known of the node just before a time: an event row may come late.
local function known_at(self, at, node)
  local before
  for _, change in ipairs(self.changes) do
    if change.node == node and change.at <= at and (not before or change.at >= before.at) then before = change end
  end
  return before or self.initial[node]
end

local function changed_after(self, at, node)
  for _, change in ipairs(self.changes) do
    if change.node == node and change.at > at then return true end
  end
  return false
end

local function same(a, reported, goal) return a and a.reported == reported and a.goal == goal end

local function note_health(self, at, node, health)
  local before = self.health[node]
  if not health or before == health then return end
  self.health[node] = health
  if before and (health == "bad" or before == "bad") then self:note("monitor", "health " .. health, node, at) end
end

--- A node's state as somebody told it; told twice it counts once. Health alone is a note.
---@param source "notify"|"event"|"poll"
---@param at number
---@param node string
---@param reported string
---@param goal string
---@param health? string
function Timeline:state(source, at, node, reported, goal, health)
  note_health(self, at, node, health)
  if same(self.known[node], reported, goal) then return end
  if source == "event" and seen_before(self, at, node, reported, goal) then return end
  local before = known_at(self, at, node)
  if same(before, reported, goal) then return end
  -- A late event row is history: it must not become what is known now.
  local late = changed_after(self, at, node)
  table.insert(self.changes, { at = at, node = node, reported = reported, goal = goal, source = source })
  self:note("monitor", ("%s -> %s"):format(reported, goal), node, at)
  local now = { reported = reported, goal = goal }
  read_consequences(self, at, node, now, before)
  if not late then self.known[node] = now end
end

--- The node table as it was read: what neither notification nor event told.
---@param formation pgaf.FormationState
function Timeline:look(formation)
  for _, node in ipairs(formation.nodes) do
    self:state("poll", formation.at, node.name, node.reported, node.goal)
    local heard = formation.at - (node.report_age or math.huge)
    local start = self.marks.start_sent
    if node.name == self.victim and start and heard > start.at then self:mark("heard_of", node.name, heard) end
  end
end

--- When a node was given the primary's role again, after a time; nil if never.
---@param node string
---@param after number
---@return number? at
function Timeline:chosen_again(node, after)
  local first
  for _, change in ipairs(self.changes) do
    if change.node == node and change.at > after and CHOSEN[change.goal] and (not first or change.at < first) then
      first = change.at
    end
  end
  return first
end

--- As a sink for pgaf.autofailover.watch.
---@return pgaf.WatchSink
function Timeline:sink()
  return {
    notified = function(at, n) self:state("notify", at, n.name, n.reported, n.goal, n.health) end,
    event = function(at, row) self:state("event", at, row.name, row.reported, row.goal) end,
    polled = function(formation) self:look(formation) end,
    lost = function(at, reason) self:note("monitor", "cannot be reached: " .. reason, nil, at) end,
    found = function(at) self:note("monitor", "reached again", nil, at) end,
  }
end

--- All entries with their times from the mark "fault_sent" on (or from the first entry), for files.
---@return { seconds: number, source: string, node: string?, text: string }[]
function Timeline:export()
  local zero = self:at("fault_sent") or (self.entries[1] and self.entries[1].at) or 0
  local out = {}
  for i, entry in ipairs(self.entries) do
    out[i] = { seconds = entry.at - zero, source = entry.source, node = entry.node, text = entry.text }
  end
  return out
end

return timeline

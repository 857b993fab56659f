-- What is known of a formation, from whom, and since when: what the monitor says, what each server says of itself when
-- it is asked directly, and what the provider says of the machines. Nothing here waits, asks or draws.
--
-- A value that is not known is nil. What was known and cannot be asked any more is kept, beside the time of its loss.

local state = require "pgaf.autofailover.state"

local EVENTS_KEPT = 200
local SAME_EVENT_SECONDS = 0.5
-- A server's own word counts for this long (seconds) after it was given.
local OWN_FRESH_SECONDS = 8

local HEALTH = { [0] = "bad", [1] = "good" }
-- Goals of a node that takes writes, or is about to.
local LEADS = { primary = true, wait_primary = true, single = true, apply_settings = true, join_primary = true }

---@class pgaf.watch.Change
---@field at number time.now()
---@field what string "state", "health", "timeline", "role", "sync", "container", "reachable", "registered",
---"monitor", "whole"
---@field node? string
---@field before? any
---@field after? any

---@class pgaf.watch.Standby as its primary sees it
---@field state? string "streaming", "catchup" ...; nil: the role may not see it
---@field sync? string "sync", "quorum", "potential", "async"
---@field lag_bytes? integer what it has not replayed
---@field lag_seconds? number

---@class pgaf.watch.Own what a server says of itself
---@field at number
---@field recovering boolean
---@field read_only boolean
---@field timeline? integer
---@field lsn? string of a standby: what it has received
---@field position? integer the same as a number of bytes
---@field replayed? string
---@field replay_age? number seconds since the last transaction that it replayed was committed
---@field standbys? table<string, pgaf.watch.Standby> by application_name, of one that is not in recovery

---@class pgaf.watch.Node
---@field name string
---@field monitored? pgaf.NodeState as the monitor's row has it
---@field reported? string
---@field goal? string
---@field health? "good"|"bad"
---@field heard? number time.now() of its last report to the monitor
---@field own? pgaf.watch.Own
---@field silent? { since: number, reason: string } it cannot be asked
---@field container? string
---@field container_event? { at: number, action: string, by?: string }
---@field lit table<string, number> when what changed
---@field place integer in the inventory

---@class pgaf.watch.Event
---@field at number
---@field nodes string[] whom it is about
---@field text string
---@field source "monitor"|"provider"|"watch"

---@class pgaf.watch.Model
---@field formation string
---@field nodes pgaf.watch.Node[] data nodes, in the inventory's order; then those that only the monitor knows
---@field monitor { name: string, reached?: boolean, since?: number, reason?: string, container?: string, lit: table }
---@field events pgaf.watch.Event[] oldest first
---@field problems? string[] of the last look at the monitor
---@field provider { reached?: boolean, since?: number, reason?: string }
---@field number_sync_standbys? integer
---@field version integer grows with each change
---@field on_change? fun(change: pgaf.watch.Change)
---@field on_event? fun(event: pgaf.watch.Event)
local Model = {}
Model.__index = Model

local model = { OWN_FRESH_SECONDS = OWN_FRESH_SECONDS }

local function new_node(name, place) return { name = name, lit = {}, place = place } end

---@param inventory table
---@return pgaf.watch.Model
function model.new(inventory)
  local self = setmetatable({
    formation = inventory.formation, id = inventory.formation_id, nodes = {}, by_name = {}, events = {}, version = 0,
    monitor = { name = inventory.monitor.name, lit = {} }, provider = {}, expected = {}, lit = {},
  }, Model)
  for i, entry in ipairs(inventory.nodes) do
    local node = new_node(entry.name, i)
    self.nodes[i], self.by_name[entry.name], self.expected[i] = node, node, entry.name
  end
  return self
end

---@param name string
---@return pgaf.watch.Node?
function Model:node(name) return self.by_name[name] end

local function touch(self) self.version = self.version + 1 end

-- One change: it lights up, and is told. What becomes known for the first time is none.
local function changed(self, at, what, of, before, after)
  if before == after then return end
  touch(self)
  if before == nil then return end
  of.lit[what] = at
  if self.on_change then
    self.on_change {
      at = at, what = what, node = of ~= self and of ~= self.monitor and of.name or nil, before = before, after = after,
    }
  end
end

-- One decision of the monitor about two nodes is a row for each, with one text.
local function add_to_event_before(event, at, node, text)
  if not event or not node or event.text ~= text or at - event.at > SAME_EVENT_SECONDS then return false end
  event.nodes[#event.nodes + 1] = node
  return true
end

local function add_event(self, at, source, node, text)
  touch(self)
  local i = #self.events + 1
  -- rows of the event table come after the notifications of the same moment
  while i > 1 and self.events[i - 1].at > at do i = i - 1 end
  if self.on_event then self.on_event { at = at, nodes = { node }, text = text, source = source } end
  if add_to_event_before(self.events[i - 1], at, node, text) then return end
  table.insert(self.events, i, { at = at, nodes = { node }, text = text, source = source })
  if #self.events > EVENTS_KEPT then table.remove(self.events, 1) end
end

-- ------------------------------------------------------------------------------------------------------ the monitor

local function pair(reported, goal) return reported and goal and reported .. " -> " .. goal end

local function set_states(self, at, node, reported, goal)
  local before = pair(node.reported, node.goal)
  if node.reported and node.reported ~= reported then node.lit.reported = at end
  if node.goal and node.goal ~= goal then node.lit.goal = at end
  node.reported, node.goal = reported, goal
  changed(self, at, "state", node, before, pair(reported, goal))
end

local function set_health(self, at, node, health)
  local before = node.health
  node.health = health
  -- "not known" is a change too
  changed(self, at, "health", node, before, health or before and "unknown" or nil)
end

-- A node that the inventory does not have is shown as well: it takes part in every decision of the monitor.
local function node_named(self, name)
  local node = self.by_name[name]
  if not node then
    node = new_node(name, #self.nodes + 1)
    self.nodes[#self.nodes + 1], self.by_name[name] = node, node
    touch(self)
  end
  return node
end

---A notification of the monitor.
---@param at number
---@param n { name: string, reported: string, goal: string, health: string }
function Model:notified(at, n)
  local node = node_named(self, n.name)
  set_states(self, at, node, n.reported, n.goal)
  set_health(self, at, node, n.health ~= "unknown" and n.health or nil)
end

---A row of the monitor's event table.
---@param at number
---@param row { name: string, description: string, reported: string, goal: string }
function Model:event(at, row)
  local text = row.description
  if not text or text == "" then text = pair(row.reported, row.goal) or "" end
  add_event(self, at, "monitor", row.name, text)
end

local function look_at_node(self, formation, row)
  local node = node_named(self, row.name)
  node.monitored = row
  node.heard = row.report_age and formation.at - row.report_age
  set_states(self, formation.at, node, row.reported, row.goal)
  set_health(self, formation.at, node, HEALTH[row.health])
  local registered = node.registered
  node.registered = true
  changed(self, formation.at, "registered", node, registered, true)
end

---The node table as it was read.
---@param formation pgaf.FormationState
function Model:polled(formation)
  local seen = {}
  for _, row in ipairs(formation.nodes) do
    look_at_node(self, formation, row)
    seen[row.name] = true
  end
  for i = #self.nodes, 1, -1 do
    local node = self.nodes[i]
    if not seen[node.name] then
      local registered = node.registered
      node.registered, node.monitored, node.heard = false, nil, nil
      node.reported, node.goal, node.health = nil, nil, nil
      changed(self, formation.at, "registered", node, registered, false)
      if i > #self.expected then
        table.remove(self.nodes, i)
        self.by_name[node.name] = nil
      end
    end
  end
  self.number_sync_standbys = formation.number_sync_standbys
  self.problems = state.problems(formation, self.expected)
  local was = self.is_whole
  self.is_whole = #self.problems == 0
  changed(self, formation.at, "whole", self, was, self.is_whole)
end

---@param at number
function Model:monitor_found(at)
  local before = self.monitor.reached
  self.monitor.reached, self.monitor.since, self.monitor.reason = true, at, nil
  if before == false then add_event(self, at, "watch", nil, "the monitor is reached again") end
  changed(self, at, "monitor", self.monitor, before, true)
end

---@param at number
---@param reason string
function Model:monitor_lost(at, reason)
  local before = self.monitor.reached
  self.monitor.reached, self.monitor.since, self.monitor.reason = false, at, reason
  add_event(self, at, "watch", nil, "the monitor cannot be reached: " .. reason)
  changed(self, at, "monitor", self.monitor, before, false)
end

---As a sink of pgaf.autofailover.watch.
---@return pgaf.WatchSink
function Model:sink()
  return {
    notified = function(at, n) self:notified(at, n) end,
    event = function(at, row) self:event(at, row) end,
    polled = function(formation)
      if not self.monitor.reached then self:monitor_found(formation.at) end
      self:polled(formation)
    end,
    lost = function(at, reason) self:monitor_lost(at, reason) end,
    found = function() end,
  }
end

-- ------------------------------------------------------------------------------------------------ servers themselves

---A number of bytes for an LSN as PostgreSQL writes it.
---@param lsn string?
---@return integer?
function model.position(lsn)
  local high, low = (lsn or ""):match "^(%x+)/(%x+)$"
  return high and tonumber(high, 16) << 32 | tonumber(low, 16) or nil
end

---What a server is by its own word.
---@param own pgaf.watch.Own
---@return "standby"|"read-only"|"writable"
function model.role(own) return own.recovering and "standby" or own.read_only and "read-only" or "writable" end

---@param name string
---@param own pgaf.watch.Own without its position
function Model:answered(name, own)
  local node = self.by_name[name]
  if not node then return end
  local before = node.own
  own.position = model.position(own.lsn)
  node.own = own
  touch(self)
  if node.silent then
    node.silent = nil
    changed(self, own.at, "reachable", node, false, true)
  end
  if before then
    changed(self, own.at, "role", node, model.role(before), model.role(own))
    changed(self, own.at, "timeline", node, before.timeline, own.timeline or before.timeline)
  end
  self:compare_standing(own.at)
end

---@param name string
---@param at number
---@param reason string
function Model:silent(name, at, reason)
  local node = self.by_name[name]
  if not node then return end
  if node.silent then
    node.silent.reason = reason
    return
  end
  node.silent = { since = at, reason = reason }
  touch(self)
  if node.own then changed(self, at, "reachable", node, true, false) end
end

---What a server says of itself, while that is fresh.
---@param node pgaf.watch.Node
---@param now number
---@return pgaf.watch.Own?
function model.own(node, now)
  local own = node.own
  return own and not node.silent and now - own.at < OWN_FRESH_SECONDS and own or nil
end

---The node that takes writes, by its own word; of several the one with the highest timeline.
---@param now number
---@return pgaf.watch.Node? node, pgaf.watch.Own? own
function Model:leader(now)
  local best, word
  for _, node in ipairs(self.nodes) do
    local own = model.own(node, now)
    if own and not own.recovering then
      local better = not word or (own.timeline or 0) > (word.timeline or 0)
        or (own.timeline or 0) == (word.timeline or 0) and LEADS[node.goal] and not LEADS[best.goal]
      if better then best, word = node, own end
    end
  end
  return best, word
end

-- The node among the standbys of the primary, and whether it would be there.
local function seen_by(leader_own, node)
  local row = node.monitored
  if not leader_own or not leader_own.standbys or not row then return nil end
  return leader_own.standbys["pgautofailover_standby_" .. row.nodeid], true
end

---How a node stands to the primary.
---@param node pgaf.watch.Node
---@param now number
---@return { leads?: boolean, sync?: string, state?: string, lag_bytes?: integer, lag_seconds?: number }
function Model:standing(node, now)
  local leader, word = self:leader(now)
  if not leader then return {} end
  if leader == node then return { leads = true } end
  local own = model.own(node, now)
  local row, told = seen_by(word, node)
  if not row and told then return { sync = "none", state = "not connected" } end
  row = row or {}
  local standing = { sync = row.sync, state = row.state, lag_bytes = row.lag_bytes, lag_seconds = row.lag_seconds }
  if not standing.lag_bytes and own and own.recovering and own.timeline == word.timeline and word.position then
    local at = model.position(own.replayed) or own.position
    -- asked one after the other: the standby may know more than the primary did
    standing.lag_bytes = at and math.max(0, word.position - at)
  end
  if not standing.lag_seconds and own and own.recovering then
    standing.lag_seconds = standing.lag_bytes == 0 and 0 or own.replay_age
  end
  return standing
end

---Tells what changed in how the nodes stand to the primary.
---@param at number
function Model:compare_standing(at)
  for _, node in ipairs(self.nodes) do
    local standing = self:standing(node, at)
    local sync = standing.leads and "primary" or standing.sync
    if sync then
      changed(self, at, "sync", node, node.sync, sync)
      node.sync = sync
    end
  end
end

-- --------------------------------------------------------------------------------------------------------- machines

---@param name string of a data node or of the monitor
---@param at number
---@param status string "running", "stopped", "frozen", "absent", "foreign"
function Model:machine(name, at, status)
  local of = self.by_name[name] or name == self.monitor.name and self.monitor
  if not of then return end
  local before = of.container
  of.container = status
  if before and before ~= status then
    of.lit.container = at
    touch(self)
    if self.on_change then
      self.on_change { at = at, what = "container", node = name, before = before, after = status }
    end
  elseif not before then
    touch(self)
  end
end

---@param name string
---@param at number
---@param action string as the provider calls it: "instance-stopped"
---@param by? string
function Model:machine_event(name, at, action, by)
  local of = self.by_name[name] or name == self.monitor.name and self.monitor
  if not of then return end
  of.container_event = { at = at, action = action, by = by }
  add_event(self, at, "provider", name, action:gsub("^instance%-", "container ") .. (by and " by " .. by or ""))
end

---@param at number
---@param reason string? nil: it answers
function Model:provider_told(at, reason)
  local reached = reason == nil
  if self.provider.reached == reached then return end
  if self.provider.reached ~= nil or not reached then
    local text = reached and "the provider answers again" or "the provider does not answer: " .. reason
    add_event(self, at, "watch", nil, text)
  end
  self.provider = { reached = reached, since = at, reason = reason }
  if not reached then
    for _, node in ipairs(self.nodes) do node.container = nil end
    self.monitor.container = nil
  end
end

return model

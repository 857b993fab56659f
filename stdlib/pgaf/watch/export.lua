-- A model, and its changes, as values for JSON. What is not known is null; times are ISO 8601.

local Model = require "pgaf.watch.model"
local json = require "pgafrun.json"
local time = require "pgafrun.time"

local export = {}

local function or_null(value) if value == nil then return json.null end return value end

local function iso(at, look) return at and time.iso(look.wall - (look.now - at)) or json.null end

local function own_of(node, now)
  local own = Model.own(node, now)
  if not own then return json.null end
  return {
    role = Model.role(own), timeline = or_null(own.timeline), lsn = or_null(own.lsn), replayed = or_null(own.replayed),
  }
end

local function node_of(model, node, look)
  local standing, row = model:standing(node, look.now), node.monitored or {}
  return {
    name = node.name, id = or_null(row.nodeid), registered = or_null(node.registered), host = or_null(row.host),
    port = or_null(row.port), reported = or_null(node.reported), goal = or_null(node.goal),
    health = or_null(node.health), heard_of = iso(node.heard, look), server = own_of(node, look.now),
    silent = node.silent and { since = iso(node.silent.since, look), reason = node.silent.reason } or json.null,
    sync = or_null(standing.leads and "primary" or standing.sync), replication = or_null(standing.state),
    lag_bytes = or_null(standing.lag_bytes), lag_seconds = or_null(standing.lag_seconds),
    node_is = or_null(node.container), candidate_priority = or_null(row.candidate_priority),
    replication_quorum = or_null(row.replication_quorum),
  }
end

local function whole_of(model)
  if not model.monitor.reached then return json.null end
  return or_null(model.is_whole)
end

---All of it.
---@param model pgaf.watch.Model
---@param look { now: number, wall: number }
---@return table
function export.formation(model, look)
  local nodes = json.as_array()
  for i, node in ipairs(model.nodes) do nodes[i] = node_of(model, node, look) end
  local leader, word = model:leader(look.now)
  local monitor = model.monitor
  return {
    what = "formation", at = iso(look.now, look), formation = model.formation, id = model.id,
    number_sync_standbys = or_null(model.number_sync_standbys),
    writes_go_to = or_null(leader and not word.read_only and leader.name or nil),
    whole = whole_of(model),
    problems = json.as_array(monitor.reached and model.problems or {}), nodes = nodes,
    monitor = {
      name = monitor.name, reached = or_null(monitor.reached), since = iso(monitor.since, look),
      reason = or_null(monitor.reason), node_is = or_null(monitor.container),
    },
  }
end

---One change.
---@param change pgaf.watch.Change
---@param look { now: number, wall: number }
---@return table
function export.change(change, look)
  return {
    what = change.what, at = iso(change.at, look), node = or_null(change.node), before = or_null(change.before),
    after = or_null(change.after),
  }
end

---@param event pgaf.watch.Event
---@param look { now: number, wall: number }
---@return table
function export.event(event, look)
  return {
    what = "event", at = iso(event.at, look), nodes = json.as_array(event.nodes), source = event.source,
    text = event.text,
  }
end

return export

-- What a model says of a node, cell by cell, as words: shared by the screen and by the plain table. What is not known
-- is "unknown"; what does not apply is "-".

local Model = require "pgaf.watch.model"
local text = require "pgaf.play.report.text"

local UNKNOWN = "unknown"
-- How long (seconds) a change lights up.
local LIT_SECONDS = 4
-- A keeper reports each second; the table is read less often than that.
local HEARD_SECONDS = 6
-- From here on (bytes) a standby is not taken for a candidate.
local FAR_BEHIND = 16 * 1024 * 1024
local STABLE = { primary = true, secondary = true, single = true }
local UNITS = { "B", "kB", "MB", "GB", "TB" }

local cells = { UNKNOWN = UNKNOWN, LIT_SECONDS = LIT_SECONDS }

---@param bytes integer
---@return string "512 B", "1.5 MB"
function cells.bytes(bytes)
  local value, unit = bytes, 1
  while value >= 1024 and unit < #UNITS do value, unit = value / 1024, unit + 1 end
  if unit == 1 or value >= 100 then return ("%.0f %s"):format(value, UNITS[unit]) end
  return ("%.1f %s"):format(value, UNITS[unit])
end

---@param seconds number
---@return string
function cells.seconds(seconds)
  if seconds < 0.05 then return "0 s" end
  return text.duration(seconds)
end

---@param node { lit: table<string, number> }
---@param what string
---@param now number
---@return boolean
function cells.is_lit(node, what, now)
  local at = node.lit[what]
  return at ~= nil and now - at < LIT_SECONDS
end

local function state_style(state, model)
  if model.monitor.reached == false then return "faint" end
  return STABLE[state] and "good" or "warn"
end

local function state_cell(model, node, state)
  if state then return state, state_style(state, model) end
  if node.registered == false then return "-", "bad" end
  return UNKNOWN, "faint"
end

local function lag_cell(standing)
  if standing.leads then return "-", "faint" end
  local bytes, seconds = standing.lag_bytes, standing.lag_seconds
  if not bytes then return UNKNOWN, "faint" end
  local how = bytes > FAR_BEHIND and "bad" or bytes > 0 and "warn" or nil
  if bytes == 0 then return "0 B", nil end
  return seconds and ("%s %s"):format(cells.bytes(bytes), cells.seconds(seconds)) or cells.bytes(bytes), how
end

local SYNC_STYLES = { none = "bad", async = "warn" }

local function sync_cell(standing)
  if standing.leads then return "primary", "bold" end
  if not standing.sync then return UNKNOWN, "faint" end
  return standing.sync, SYNC_STYLES[standing.sync]
end

-- What the monitor has of the node is older than what the node says itself.
local function own_or_monitors(model, node, now)
  local own = Model.own(node, now)
  if own then return own.timeline, own.lsn, nil end
  local row = node.monitored or {}
  return row.timeline, row.lsn, (node.silent or model.monitor.reached == false) and "faint" or nil
end

local HEALTH_STYLES = { good = "good", bad = "bad" }
local MACHINE_STYLES = { running = "good", frozen = "warn", stopped = "bad", absent = "bad", foreign = "bad" }

-- A keeper that is not heard of is more than a bad health check, which its row may not tell.
local function health_cell(model, node, now)
  if model.monitor.reached == false then return node.health or UNKNOWN, "faint" end
  if node.registered == false then return "-", "bad" end
  if node.heard and now - node.heard > HEARD_SECONDS then return "silent", "bad" end
  return node.health or UNKNOWN, HEALTH_STYLES[node.health] or "faint"
end

---@class pgaf.watch.Cells each { text, style }
---@field name pgaf.watch.Piece
---@field reported pgaf.watch.Piece
---@field goal pgaf.watch.Piece
---@field health pgaf.watch.Piece
---@field timeline pgaf.watch.Piece
---@field lsn pgaf.watch.Piece
---@field lag pgaf.watch.Piece
---@field sync pgaf.watch.Piece
---@field container pgaf.watch.Piece

---@param model pgaf.watch.Model
---@param node pgaf.watch.Node
---@param now number
---@return pgaf.watch.Cells
function cells.of(model, node, now)
  local standing = model:standing(node, now)
  local timeline, lsn, old = own_or_monitors(model, node, now)
  local row = { standing = standing }
  local function cell(name, value, how)
    if cells.is_lit(node, name, now) then how = "lit" end
    row[name] = { text.clean(value), how }
  end
  local moved = cells.is_lit(node, "role", now) or cells.is_lit(node, "reachable", now)
  cell("name", node.name, moved and "lit" or node.silent and "warn" or "bold")
  cell("reported", state_cell(model, node, node.reported))
  cell("goal", state_cell(model, node, node.goal))
  cell("health", health_cell(model, node, now))
  cell("timeline", timeline and tostring(timeline) or UNKNOWN, timeline and old or not timeline and "faint" or nil)
  cell("lsn", lsn or UNKNOWN, lsn and old or not lsn and "faint" or nil)
  cell("lag", lag_cell(standing))
  cell("sync", sync_cell(standing))
  cell("container", node.container or UNKNOWN, MACHINE_STYLES[node.container] or "faint")
  return row
end

return cells

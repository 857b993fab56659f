-- One node in detail: who says what of it.

local cells = require "pgaf.watch.cells"
local Model = require "pgaf.watch.model"
local text = require "pgaf.play.report.text"

local detail = {}

local function known(value, form) return value and (form or "%s"):format(value) or cells.UNKNOWN end

local function ago(seconds) return seconds and text.duration(math.max(0, seconds)) .. " ago" or cells.UNKNOWN end

local function by_the_monitor(node, now)
  local row = node.monitored
  if not row then return { node.registered == false and "has no row of it" or cells.UNKNOWN } end
  return {
    ("%s -> %s for %s, health %s (checked %s)"):format(
      node.reported, node.goal, row.state_age and text.duration(row.state_age) or cells.UNKNOWN,
      node.health or cells.UNKNOWN, ago(row.check_age)),
    ("heard of %s; said timeline %s, LSN %s, PostgreSQL %s, replication %s"):format(
      ago(node.heard and now - node.heard), known(row.timeline), known(row.lsn),
      row.running and "runs" or "does not run", row.replication ~= "" and known(row.replication) or "none"),
    ("candidate priority %s, in the replication quorum: %s"):format(known(row.candidate_priority),
      row.replication_quorum and "yes" or "no"),
  }
end

local function by_itself(node, now, clock)
  if node.silent then
    return { ("no answer since %s: %s"):format(clock(node.silent.since), node.silent.reason) }
  end
  local own = Model.own(node, now)
  if not own then return { cells.UNKNOWN } end
  if own.recovering then
    return { ("standby, timeline %s, received %s, replayed %s, last commit %s"):format(known(own.timeline),
      known(own.lsn), known(own.replayed), ago(own.replay_age)) }
  end
  return { ("%s, timeline %s, at %s"):format(Model.role(own), known(own.timeline), known(own.lsn)) }
end

local function by_the_primary(model, node, now)
  local standing = model:standing(node, now)
  if standing.leads then return { "it is the primary" } end
  local lag = standing.lag_bytes and cells.bytes(standing.lag_bytes) or cells.UNKNOWN
  if standing.lag_bytes and standing.lag_seconds then lag = lag .. ", " .. cells.seconds(standing.lag_seconds) end
  return { ("%s, sync %s, behind: %s"):format(standing.state or cells.UNKNOWN, standing.sync or cells.UNKNOWN, lag) }
end

local function by_the_provider(node, clock)
  local event = node.container_event
  local last = event and (", last %s at %s"):format(event.action, clock(event.at)) or ""
  return { (node.container or cells.UNKNOWN) .. last .. (event and event.by and " by " .. event.by or "") }
end

---@param model pgaf.watch.Model
---@param node pgaf.watch.Node
---@param now number
---@param clock fun(at: number): string
---@return pgaf.watch.Piece[][]
function detail.lines(model, node, now, clock)
  local row = node.monitored
  local lines = { {
    { text.clean(node.name), "bold" },
    { row and ("  %s:%d, node %d, group %d"):format(text.clean(row.host), row.port, row.nodeid, row.groupid) or "" },
  } }
  local function add(who, says)
    for i, one in ipairs(says) do
      lines[#lines + 1] = { { i == 1 and ("  %-10s"):format(who) or (" "):rep(12), "faint" }, { text.clean(one) } }
    end
  end
  add("monitor", by_the_monitor(node, now))
  add("server", by_itself(node, now, clock))
  add("primary", by_the_primary(model, node, now))
  add("machine", by_the_provider(node, clock))
  return lines
end

return detail

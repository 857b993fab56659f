-- Looks at one data node closely while it is promoted: a session of its own on that node asks, every few milliseconds,
-- whether the server is still in recovery and whether a transaction may write. After its promotion a node is
-- read-only until the old primary is presumed gone: the two moments can be half a minute apart.
--
-- When writing is allowed it writes, once: that is the moment the formation was writable again, whatever any client's
-- way of connecting adds.

local error = require "pgafrun.error"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local LOOK_SECONDS = 0.005
local RETRY_SECONDS = 0.2
-- Not an INSERT that fails: thousands of refused ones would fill the node's log.
local LOOK_SQL = [[
select pg_is_in_recovery() as recovering, current_setting('transaction_read_only') = 'on' as read_only]]

local sentinel = {}

local function look(connection, node, workload, timeline)
  while true do
    local row = connection:query(LOOK_SQL, nil, { timeout = 2 }).rows[1]
    if not row.recovering then timeline:mark("promoted", node) end
    if not row.recovering and not row.read_only and workload:write(connection, "sentinel " .. node) then
      timeline:mark("writable", node)
      return
    end
    task.sleep(LOOK_SECONDS)
  end
end

local function run(reach, node, workload, timeline)
  while true do
    local began = time.now()
    local ok, problem = pcall(function()
      local connection <close> = reach:node(node, "drill sentinel")
      look(connection, node, workload, timeline)
    end)
    if ok then return end
    task.check()
    if not error.is(problem) then error.raise { kind = "internal", message = tostring(problem) } end
    -- A standby that takes part in the choice of the new primary restarts: its sessions end, others follow.
    task.sleep(math.max(0, began + RETRY_SECONDS - time.now()))
  end
end

--- Starts looking at the node until it has taken a write, or the group ends.
---@param group pgafrun.Group
---@param reach pgaf.Reach
---@param node string
---@param workload pgaf.Workload
---@param timeline pgaf.Timeline
function sentinel.start(group, reach, node, workload, timeline)
  group:spawn_named("look at " .. node, run, reach, node, workload, timeline)
end

return sentinel

-- Snapshots of a formation's nodes before a drill, and the way back to them after it. Both are in the journal: a drill
-- that was killed half-way is finished by scripts/restore.lua, and leaves no snapshot.

local error = require "pgafrun.error"
local usage = "nothing was touched"

local snapshots = {}

-- Standbys first and the monitor last, so that nobody is ahead of the one that it follows when they go on from there:
-- the snapshots are not of one moment.
local function in_order(drill)
  local nodes = table.move(drill.standbys, 1, #drill.standbys, 1, {})
  nodes[#nodes + 1] = drill.primary
  nodes[#nodes + 1] = drill.monitor
  return nodes
end

local function name_of(drill) return "pgafrun-" .. drill.journal.run end

---Raises kind "unsupported" when a node cannot have one without being frozen. Only looks.
---@param drill pgaf.Drill
function snapshots.check(drill)
  local can, reason = drill.provider:can "snapshot"
  local reasons = can and {} or { reason }
  for _, node in ipairs(can and in_order(drill) or {}) do reasons[#reasons + 1] = node:cannot_snapshot() end
  if #reasons == 0 then return end
  error.raise {
    kind = "unsupported", operation = "snapshot", message = "no snapshots here: " .. table.concat(reasons, "; "),
    hint = usage,
  }
end

---Raises kind "usage" where going back to them would take back what applications wrote for good.
---@param inventory table
function snapshots.check_reset(inventory)
  if inventory.environment ~= "production" then return end
  error.raise {
    kind = "usage", operation = "reset", hint = usage,
    message = ("--reset takes back all that was written since the drill began, by everybody: not on formation %s, " ..
      "which is marked production"):format(inventory.formation),
  }
end

---Takes them, each journalled before.
---@param drill pgaf.Drill
function snapshots.take(drill)
  local name = name_of(drill)
  for _, node in ipairs(in_order(drill)) do
    drill.journal:about_to_break(node.name, "remove_snapshot", { name = name })
    node:snapshot(name)
  end
  drill.options.say(("took a snapshot %s of each node"):format(name))
end

---Journals the way back to them: putting back does it. What comes last here is done first: all nodes stop before one of
---them is put back, and start when all are, the monitor before the others.
---@param drill pgaf.Drill
function snapshots.reset(drill)
  local nodes, name = in_order(drill), name_of(drill)
  for _, node in ipairs(nodes) do drill.journal:about_to_break(node.name, "start") end
  for _, node in ipairs(nodes) do drill.journal:about_to_break(node.name, "restore_snapshot", { name = name }) end
  for _, node in ipairs(nodes) do drill.journal:about_to_break(node.name, "power_off") end
  drill.options.say "going back to the snapshots"
end

return snapshots

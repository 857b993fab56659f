-- Snapshots of nodes that run. On btrfs and zfs one is made within a moment; on dir, lvm and ceph the server copies the
-- container file by file and freezes it meanwhile, for seconds: a fault of its own, which nobody asked for.

local client = require "pgaf.incus.client"
local error = require "pgafrun.error"
local log = require "pgafrun.log"

local WITHOUT_FREEZING = { btrfs = true, zfs = true }

local snapshot = {}

local function devices_of(node)
  local object = node:instance():get()
  local root, others = nil, {}
  for name, device in pairs(object and object.expanded_devices or {}) do
    if device.type == "disk" and device.path == "/" then
      root = device
    elseif device.type == "disk" then
      others[#others + 1] = ("%s (at %s)"):format(name, device.path or "no path")
    end
  end
  table.sort(others)
  return root, others
end

---Why a node cannot have a snapshot without harm; nil when it can. Touches nothing.
---@param node pgaf.incus.Node
---@return string? reason
function snapshot.refusal(node)
  local root, others = devices_of(node)
  if not root then return node.name .. " has no root disk that can be looked at" end
  if #others > 0 then
    return ("%s has further disks, which a snapshot does not hold: %s"):format(node.name, table.concat(others, ", "))
  end
  local the_client = node.provider:client()
  local ok, pool = pcall(the_client.find, the_client, "/1.0/storage-pools/" .. client.escape(root.pool or ""))
  if not ok and not error.is(pool, "incus") then error.raise(pool) end
  if not ok or not pool then
    return ("storage pool %s of %s cannot be looked at, so nobody knows whether a snapshot freezes it"):format(
      root.pool or "", node.name)
  end
  if WITHOUT_FREEZING[pool.driver] then return nil end
  return ("%s is on storage pool %s of driver %s, where a snapshot of a running container copies it file by file " ..
    "and freezes it meanwhile, for seconds: that is a fault of its own (btrfs and zfs do without)"):format(
    node.name, root.pool, pool.driver)
end

---Disk, config and devices of a stopped node as they were. One whose snapshot is gone is left as it is.
---@param node pgaf.incus.Node stopped
---@param name string
function snapshot.restore(node, name)
  local instance = node:instance()
  for _, there in ipairs(instance:snapshots()) do
    if there == name then
      instance:restore(name)
      node:forget_address()
      -- the lease that was in the config then has come back with it
      for lock in pairs(node.provider.locks) do lock.changed:notify() end
      return
    end
  end
  log.warn(("%s has no snapshot %s any more: left as it is"):format(node.name, name))
end

return snapshot

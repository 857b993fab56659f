-- Every node's service is restarted, one after the other: the standbys, then the primary after its role was moved, and
-- the monitor at last. What an update of PostgreSQL needs.

return {
  title = "rolling restart of all nodes",
  hypothesis = "Writes stand still only for the switchover and for commits that wait for a standby that restarts.",
  promotion = "may",
  writes = "continue",
  planned = true,

  run = function(drill)
    local function restart(node)
      local breakage = drill:breaks(node, "service", nil, function() node:service():restart() end)
      drill:mends(breakage)
      drill:wait_whole()
    end
    for _, standby in ipairs(drill.standbys) do restart(standby) end
    drill:promote(drill.standbys[1].name)
    drill:wait_whole()
    restart(drill.primary)
    restart(drill.monitor)
  end,
}

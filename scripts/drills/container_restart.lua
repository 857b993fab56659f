-- The primary's container is restarted in order, as after an update of its system.

return {
  title = "the primary's container is restarted",
  hypothesis = "Writes go on when it is up again, or a standby is promoted when that takes longer than the monitor " ..
    "waits.",
  promotion = "may",
  writes = "continue",
  observe = 15,

  run = function(drill)
    drill:breaks(drill.primary, "start", nil, function(node)
      node:stop { force = false, timeout = 30 }
      node:start()
    end)
  end,
}

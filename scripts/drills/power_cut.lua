-- The primary's container loses its network and is killed right after, as by a loss of power: its peers see silence,
-- not closed connections.

return {
  title = "the primary loses its power",
  hypothesis = "The monitor gives the silent primary up, a standby is promoted, and clients, whose connections hang " ..
    "until their own time-outs, write again within the budget.",
  promotion = "must",
  writes = "resume",
  needs = { "cut" },

  run = function(drill)
    drill:breaks(drill.primary, "start", nil, function(node)
      node:cut { gateway = true }
      node:stop { force = true }
    end)
  end,
}

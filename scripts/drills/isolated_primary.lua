-- The primary reaches neither monitor nor standbys, but clients reach it: what split brain is made of.

return {
  title = "the primary is cut off from monitor and standbys",
  hypothesis = "The primary stops by itself after network_partition_timeout, before the monitor lets a standby take " ..
    "writes. No write is acknowledged by both.",
  promotion = "must",
  writes = "resume",
  needs = { "cut" },

  run = function(drill)
    drill:breaks(drill.primary, "heal", nil, function(node) node:cut() end)
  end,
}

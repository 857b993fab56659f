-- The primary and its standbys do not reach each other; the monitor and the clients reach all.

return {
  title = "the primary is cut off from its standbys",
  hypothesis = "Nobody is promoted, as the monitor sees all nodes. Commits wait for a standby until the monitor " ..
    "takes them out of synchronous replication, which it does only for nodes that it finds unhealthy.",
  promotion = "may",
  writes = "stop",
  needs = { "cut" },
  observe = function(drill) return drill.prediction.worst + 5 end,

  run = function(drill)
    local names = drill:names(drill.standbys)
    drill:breaks(drill.primary, "heal", nil, function(node) node:cut { from = names } end)
  end,
}

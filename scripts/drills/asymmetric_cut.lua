-- The monitor cannot reach the primary's server, and everything else works: the primary reports, its standbys follow.

return {
  title = "the monitor cannot reach the primary, which reaches it",
  hypothesis = "Health checks fail and reports go on: the monitor believes the reports. The primary stays primary, " ..
    "and writes go on.",
  promotion = "never",
  writes = "continue",
  needs = { "cut" },
  observe = function(drill) return drill.prediction.worst end,

  run = function(drill)
    drill:breaks(drill.primary, "heal", nil, function(node) node:mute { towards = { drill.monitor.name } } end)
  end,
}

-- The primary and the monitor do not reach each other; the standby and the clients reach both.

return {
  title = "the primary is cut off from the monitor",
  hypothesis = "The primary goes on taking writes, because its standby still follows it; if the monitor promotes " ..
    "the standby all the same, no write that was acknowledged is lost.",
  promotion = "may",
  writes = "continue",
  needs = { "cut" },
  observe = function(drill) return drill.prediction.worst + 5 end,

  run = function(drill)
    drill:breaks(drill.primary, "heal", nil, function(node) node:cut { from = { drill.monitor.name } } end)
  end,
}

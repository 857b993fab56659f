-- Of three data nodes the primary and a standby are killed together.

return {
  title = "two of three data nodes are killed",
  hypothesis = "The third takes over when it has all that was acknowledged; else clients wait until one of the " ..
    "others is back. Nothing that was acknowledged is lost either way.",
  promotion = "may",
  writes = "stop",
  nodes = 3,
  observe = function(drill) return drill.prediction.worst + 5 end,

  run = function(drill)
    drill:kills(drill.standbys[1])
    drill:kills(drill.primary)
  end,
}

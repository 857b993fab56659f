-- The monitor's container is killed, and started again. The monitor is no part of reading and writing.

return {
  title = "the monitor's container is killed",
  hypothesis = "Writes go on as if nothing was; no role changes, also when the monitor is back.",
  promotion = "never",
  writes = "continue",
  longest_gap = 2,
  victim = function(drill) return drill.monitor.name end,
  observe = 20,

  run = function(drill)
    drill:kills(drill.monitor)
  end,
}

-- A standby's container is killed, and started again. Commits wait for a standby until the monitor has noticed: with
-- the only one lost, clients stand still for as long.

return {
  title = "a standby's container is killed",
  hypothesis = "The primary stays primary. Writes go on, at the latest when the monitor has taken the lost standby " ..
    "out of synchronous replication.",
  promotion = "never",
  writes = "continue",
  victim = function(drill) return drill.standbys[1].name end,
  observe = function(drill) return drill.prediction.terms[1].worst + 5 end,

  run = function(drill)
    drill:kills(drill.standbys[1])
  end,
}

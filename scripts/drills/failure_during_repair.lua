-- The primary is killed, a standby takes over; and while the first victim is on its way back, the new primary is killed
-- as well.

return {
  title = "the new primary is killed during the repair",
  hypothesis = "The third node, or the first victim once it has caught up, takes over. Nothing that was " ..
    "acknowledged is lost.",
  promotion = "must",
  writes = "stop",
  nodes = 3,

  run = function(drill)
    local first = drill:kills(drill.primary)
    drill:wait_for_clients()
    drill:mends(first)
    drill:kills(drill:current_primary())
    drill:observe(drill.prediction.worst)
  end,
}

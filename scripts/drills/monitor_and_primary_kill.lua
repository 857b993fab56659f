-- The monitor is lost, and then the primary. Nobody is there to decide: a standby that promoted itself could not know
-- whether the primary still takes writes.

return {
  title = "the monitor and then the primary are killed",
  hypothesis = "No standby is promoted while the monitor is away. When it is back it gives the primary up, a " ..
    "standby is promoted, and clients write again.",
  promotion = "must",
  writes = "stop",
  planned = true,

  run = function(drill)
    local monitor = drill:kills(drill.monitor)
    drill:kills(drill.primary)
    drill:observe(15)
    for _, standby in ipairs(drill.standbys) do
      if not drill:is_in_recovery(standby) then drill:broken(standby.name .. " was promoted without a monitor") end
    end
    drill:mends(monitor)
    drill:wait_for_clients(drill.baseline.timers.startup_grace_period)
  end,
}

-- The disk that a standby's PostgreSQL writes to is full: it can take no more of the primary's log. With one standby
-- writes wait for it until the monitor takes it out of synchronous replication, which it does only if the server ends.

local disk = require "pgaf.drill.disk"

return {
  title = "a standby's disk is full",
  hypothesis = "The primary stays primary and nothing that was acknowledged is lost. Writes may stand still until " ..
    "there is room again.",
  promotion = "never",
  writes = "stop",
  victim = function(drill) return drill.standbys[1].name end,
  observe = 30,
  possible = function(drill)
    local others = { drill.monitor, drill.primary }
    return disk.refusal(drill.standbys[1], table.move(drill.standbys, 2, #drill.standbys, 3, others))
  end,

  run = function(drill)
    local standby = drill.standbys[1]
    drill:breaks(standby, "remove_file", { path = disk.ballast(standby) }, disk.fill)
  end,
}

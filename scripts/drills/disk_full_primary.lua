-- The disk that the primary's PostgreSQL writes to is full. Nobody acts on it while the server lives: it refuses
-- writes, and only if it ends a standby is promoted.

local disk = require "pgaf.drill.disk"

return {
  title = "the primary's disk is full",
  hypothesis = "The primary refuses writes, or ends and a standby is promoted. Nothing that was acknowledged is " ..
    "lost, and writes go on when there is room again.",
  promotion = "may",
  writes = "stop",
  observe = 30,
  possible = function(drill) return disk.refusal(drill.primary, { drill.monitor, table.unpack(drill.standbys) }) end,

  run = function(drill)
    drill:breaks(drill.primary, "remove_file", { path = disk.ballast(drill.primary) }, disk.fill)
  end,
}

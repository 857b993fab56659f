-- Kills the primary's node on purpose, measures what clients feel, judges it, and puts everything back.
-- Run it again and it kills the new primary: a passed drill swaps the roles. The fault itself is
-- scripts/drills/container_kill.lua; drill.lua runs the others.

local conduct = require "pgaf.drill.conduct"
local faults = require "pgaf.drill.fault"
local finish = require "pgaf.drill.finish"

return finish.run({
  name = "failover_drill",
  description = "Kill the primary's node, prove that the formation fails over in time and loses nothing, " ..
    "and put everything back.",
  epilog = conduct.EXIT_CODES,
}, conduct.declare, function(...) return conduct.drill(faults.load "container-kill", ...) end, ...)

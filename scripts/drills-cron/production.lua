-- Every month, in production, at the quietest hour: a planned change of the primary and back, which clients feel for
-- seconds. It is the one drill that says whether yesterday's production still fails over. The formation's name stands
-- here because nobody can be asked for it. What is given beside it goes on to drill.lua (pgafrun drill --help).
--
--     pgafrun -i /etc/pgafrun/production.lua scripts/drills-cron/production.lua --notify @/etc/pgafrun/notify-url

local program = require "pgafrun.program"

local drill = assert(loadfile((program.script:match "^(.*/)" or "./") .. "../drill.lua"))

return drill("switchover", "--i-know-this-is", "pgaf-prod", "--rto", "15", "--switch-back", "--fail-on-regression", ...)

-- Every week, in staging: the losses that happen in real life, twice each. Applications write there, so that nothing
-- goes back to a snapshot. What is given beside it goes on to campaign.lua (pgafrun campaign --help).
--
--     pgafrun -i /etc/pgafrun/staging.lua scripts/drills-cron/staging.lua --notify @/etc/pgafrun/notify-url

local program = require "pgafrun.program"

local campaign = assert(loadfile((program.script:match "^(.*/)" or "./") .. "../campaign.lua"))

return campaign("switchover", "container-kill", "replica-kill", "monitor-kill", "--repeat", "2", "--rto", "60",
  "--fail-on-regression", "--folder", "/var/lib/pgafrun/campaigns/staging", ...)

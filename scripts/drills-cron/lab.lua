-- Every night, in the lab: each fault that can be done there, in an order of chance. What is given beside it goes on to
-- campaign.lua (pgafrun campaign --help).
--
--     pgafrun -i /etc/pgafrun/lab.lua scripts/drills-cron/lab.lua --notify @/etc/pgafrun/notify-url

local program = require "pgafrun.program"

local campaign = assert(loadfile((program.script:match "^(.*/)" or "./") .. "../campaign.lua"))

return campaign("--shuffle", "--fail-on-regression", "--folder", "/var/lib/pgafrun/campaigns/lab", ...)

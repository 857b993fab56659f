-- All processes of PostgreSQL on the primary stand still (SIGSTOP), as on a machine whose disk hangs: connections are
-- accepted by the kernel and never answered, and pg_autoctl goes on to report.

local postmaster = require "pgaf.postgres.postmaster"

return {
  title = "PostgreSQL on the primary is stopped by SIGSTOP",
  hypothesis = "Clients are without answer until it goes on, or until a standby is promoted; then they write again, " ..
    "and nothing that was acknowledged is lost.",
  promotion = "may",
  writes = "stop",
  observe = function(drill) return drill.prediction.worst end,

  run = function(drill)
    drill:breaks(drill.primary, "continue", nil, function(node) postmaster.signal(node, "STOP") end)
  end,
}

-- pg_autoctl and the postmaster on the primary are killed in the same moment.

return {
  title = "pg_autoctl and PostgreSQL on the primary are killed",
  hypothesis = "The service manager starts both again and PostgreSQL recovers from its log; or, where that takes " ..
    "long, a standby is promoted. Nothing that was acknowledged is lost.",
  promotion = "may",
  writes = "continue",
  needs = { "systemd" },
  observe = 15,

  run = function(drill)
    drill:breaks(drill.primary, "service", nil, function(node)
      local paths = node:paths()
      node:run(('kill -KILL "$(head -n 1 %s)" "$(head -n 1 %s/postmaster.pid)"'):format(paths.pidfile, paths.pgdata),
        { user = "root" })
    end)
  end,
}

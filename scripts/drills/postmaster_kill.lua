-- The postmaster of the primary dies at once, and its backends with it; pg_autoctl is left alive.

return {
  title = "the primary's postmaster is killed",
  hypothesis = "pg_autoctl starts PostgreSQL again, which recovers from its log, within seconds; or, where that " ..
    "takes long, a standby is promoted. Nothing that was acknowledged is lost.",
  promotion = "may",
  writes = "continue",
  observe = 10,

  run = function(drill)
    drill:breaks(drill.primary, "service", nil, function(node)
      node:run(('kill -KILL "$(head -n 1 %s/postmaster.pid)"'):format(node:paths().pgdata), { user = "root" })
    end)
  end,
}

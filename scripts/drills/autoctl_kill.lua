-- pg_autoctl on the primary is killed. Its service manager starts it again; what becomes of PostgreSQL meanwhile
-- depends on that manager (systemd ends what is left of the service first).

return {
  title = "pg_autoctl on the primary is killed",
  hypothesis = "The service manager starts pg_autoctl again within seconds, and writes go on on the same primary.",
  promotion = "may",
  writes = "continue",
  needs = { "systemd" },
  observe = 15,

  run = function(drill)
    drill:breaks(drill.primary, "service", nil, function(node)
      node:run(('kill -KILL "$(head -n 1 %s)"'):format(node:paths().pidfile), { user = "root" })
    end)
  end,
}

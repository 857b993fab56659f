-- A formation in the private Incus lab that `./bootstrap lab` brings up. Timers are pg_auto_failover's own: a fail-over
-- takes about a minute, as it would in production without further thought.

return {
  environment = "lab",
  formation = "pgaf-lab",
  provider = { kind = "incus", remote = "lab", image = "debian/12" },

  monitor = { name = "pgaf-lab-monitor" },
  nodes = {
    { name = "pgaf-lab-1" },
    { name = "pgaf-lab-2" },
  },

  postgres = { version = 15, source = "distribution" },

  application = {
    user = "app",
    database = "appdb",
    password = "changeme-DEV-ONLY",
    networks = { "10.177.64.0/24" },
  },
  operator_networks = { "10.177.64.0/24" },
}

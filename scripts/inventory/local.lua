-- A formation of this machine's own processes, for a laptop or CI: no containers, no root. Its timers are short, so
-- that a fail-over takes seconds; one that is for more than trying has longer ones (see example.lua).

return {
  environment = "lab",
  formation = "pgaf-local",
  provider = { kind = "local" },

  monitor = { name = "monitor", port = 6500 },
  nodes = {
    { name = "node-1", port = 6501 },
    { name = "node-2", port = 6502 },
  },

  postgres = { source = "distribution", wal_keep_size = "64MB" },

  timers = {
    health_check_period = 1000,
    health_check_timeout = 1000,
    health_check_retry_delay = 500,
    node_considered_unhealthy_timeout = 5000,
    primary_demote_timeout = 10000,
    network_partition_timeout = 5,
  },

  application = {
    user = "app",
    database = "appdb",
    password = "changeme-DEV-ONLY",
    networks = { "127.0.0.1/32" },
  },
  operator_networks = { "127.0.0.1/32" },
}

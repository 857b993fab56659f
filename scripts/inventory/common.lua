-- What staging.lua and production.lua have in common: they build on this file, which is no inventory by itself.

return {
  provider = { kind = "incus", image = "images:ubuntu/22.04" },

  postgres = {
    version = 16,
    max_slot_wal_keep_size = "4GB",
    settings = { log_min_duration_statement = "1s" },
  },

  application = { user = "app", database = "app" },

  -- Variables of all nodes: plays find them in target.vars.
  vars = { backup_hour = 3 },

  -- Groups beside those that are always there: all, monitor, data, and quorum (who counts when a commit waits).
  groups = {
    data = { node = { limits = { cpu = 4, memory = "8GiB" } } }, -- where a node has no limits of its own
    monitor = { node = { limits = { cpu = 1, memory = "1GiB" } } },
  },
}

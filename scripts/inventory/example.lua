-- Every key that an inventory may have, with its default, what it is for, and when to change it. Copy what you need: a
-- key that is left out has the default. A key that does not exist is refused, with its line.
--
-- This one describes a production formation of one monitor and two data nodes on an Incus server:
--
--     export APP_PASSWORD=...
--     pgafrun -i my-inventory.lua scripts/postgres_ha.lua
--
-- It is Lua: a value may be computed, and the file ends with the table.

local secret = require "pgaf.secret"

return {
  -- "lab", "staging" or "production". Only a lab may have passwords in its inventory; in production destroy.lua asks
  -- for the formation's name.
  environment = "production",

  -- The formation's name: instances carry it as a tag, its certificate authority is called after it. (The formation id
  -- inside pg_auto_failover is "default": one monitor serves one formation.)
  formation = "pgaf",

  -- Where nodes live.
  provider = {
    kind = "incus",
    -- remote = "production",     -- a remote of your Incus client (incus remote list); default: its default one
    -- project = "databases",     -- Incus project; default: the remote's
    -- target = "host-3",         -- member of an Incus cluster for all nodes; a node may have its own
    image = "images:ubuntu/22.04", -- REMOTE:ALIAS of an image server, or an alias on the server itself. With systemd
    profiles = { "default" }, --    in this order; together they give a root disk and the interface below
    nic = "eth0", --                the interface whose IPv4 address the nodes use among each other
    ready_timeout = 60, --          seconds from start until an address is there and systemd is up
    bake = true, --                 install the packages once, in an image that the nodes are launched from
    bake_max_age = 7, --            days after which that image is made anew
  },
  -- The other kind: process trees of this machine, on loopback addresses, for a laptop or CI.
  -- provider = { kind = "local", root = "~/.local/state/pgafrun/pgaf", bindir = "/usr/lib/postgresql/16/bin" },

  -- NAME.DOMAIN is a node's host name: what it registers with, and what is in its certificate and in URIs.
  domain = "lxd",

  -- The monitor, and the data nodes in the order in which they register: the first becomes the first primary.
  monitor = {
    name = "pgaf-monitor",
    port = 5432,
    limits = { cpu = 1, memory = "1GiB" }, -- of the instance, in Incus' words
  },
  nodes = {
    {
      name = "pgaf-1",
      port = 5432,
      limits = { cpu = 4, memory = "8GiB" },
      -- image = "images:debian/12", target = "host-1",   -- where it differs from the provider's
      -- address = "127.0.0.12",    -- local provider only; by default each node gets one of its own
      candidate_priority = 50, --   0 to 100: the higher is promoted first; 0: never by itself
      replication_quorum = true, -- does it count when a commit waits for standbys?
      -- vars = { rack = 4 },       -- variables for plays of your own: target.vars.rack
    },
    { name = "pgaf-2", limits = { cpu = 4, memory = "8GiB" } },
  },

  postgres = {
    version = 16, --     major version: 13 or later, with a package postgresql-N-auto-failover in the source
    source = "pgdg", --  "pgdg" (apt.postgresql.org), or "distribution": the image's own
    pgdg = {
      url = "https://apt.postgresql.org/pub/repos/apt",
      -- Fetched by each node, or read from a path on this machine; trusted only when its fingerprint is this one.
      key = "https://www.postgresql.org/media/keys/ACCC4CF8.asc",
      fingerprint = "B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8",
      -- suite = "jammy-pgdg",    -- default: the release's codename and "-pgdg"
    },
    -- Packages in just this version: { ["postgresql-16"] = "16.4-1.pgdg22.04+1" }. A new version under running servers
    -- wants a rolling restart, which a run does not do by itself.
    packages = {},
    -- PGDATA (Incus). Its parent belongs to PostgreSQL as well, and is on the same file system: a copy of the primary
    -- is made beside it and renamed.
    -- data_dir = "/srv/postgresql/data",
    shared_buffers = "auto", --           a quarter of the container's memory limit (128MB without one), or a size
    wal_keep_size = "256MB", --           pg_auto_failover would say 8 GB
    max_slot_wal_keep_size = "1GB", --    how much a lost standby may make the primary keep; beyond it is copied anew
    wal_retrieve_retry_interval = "200ms", -- PostgreSQL's 5 s would be added to restarts and to some switchovers
    settings = { --                       any other setting of data nodes; they are reloaded, a restart is told
      -- max_connections = 200,
      -- log_min_duration_statement = "1s",
    },
  },

  formation_settings = {
    -- How many standbys a commit waits for, even when they are lost. 0: it waits for one as long as a healthy one is
    -- there. N needs N + 1 standbys in the quorum, so with two nodes there is only 0. Default: 0 with two nodes in the
    -- quorum, 1 with more, as pg_auto_failover does it itself.
    number_sync_standbys = 0,
  },

  -- When a primary is taken for lost. These are pg_auto_failover's own values, and a hard kill then costs about 51 s:
  -- 20 s until it is unhealthy, 30 s of waiting for it to have demoted itself. See docs/operations.md for quicker ones.
  timers = {
    -- the monitor's, in milliseconds
    health_check_period = 5000, --         between two rounds
    health_check_timeout = 5000, --        of one try
    health_check_max_retries = 2,
    health_check_retry_delay = 2000,
    node_considered_unhealthy_timeout = 20000, -- without a report, and with failed checks
    primary_demote_timeout = 30000, --     must be more than network_partition_timeout + 2 s
    startup_grace_period = 10000, --       after the monitor's own start
    -- how far a standby may be behind, in bytes of WAL
    enable_sync_wal_log_threshold = 16777216,
    promote_wal_log_threshold = 16777216,
    -- the nodes', in seconds: a primary that reaches neither monitor nor standby for so long stops by itself
    network_partition_timeout = 20,
  },

  -- The application's role, which owns its database and is no superuser, and where it may connect from (by TLS alone).
  application = {
    user = "app",
    database = "app",
    password = secret.env "APP_PASSWORD", -- or secret.file "/path" (0600), secret.command { "pass", "show", "app" }
    networks = { "10.20.0.0/16" },
  },

  -- Where pgafrun and its drills connect from: to the monitor, and to the nodes as the role pgaf_probe.
  operator_networks = { "10.20.1.0/24" },

  -- What nodes log in with at the monitor and at each other. Left out, they are random and known to the nodes alone.
  -- monitor_password = secret.file "/etc/pgafrun/monitor-password",
  -- replication_password = secret.file "/etc/pgafrun/replication-password",

  -- Groups beside all, monitor, data and quorum, for `on` and --limit; what they say for nodes that do not
  -- say it themselves; and variables of all nodes. docs/inventories.md tells who wins.
  groups = {
    -- near = { hosts = { "pgaf-1" }, vars = { rack = 4 }, node = { candidate_priority = 80 } },
    -- everywhere = { children = { "near" }, priority = 10 },
  },
  vars = {
    -- backup_hour = 3,
  },
}

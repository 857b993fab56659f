-- Where things are in a container, and the environment that pg_autoctl, psql and postgres get there.

local layout = {}

local BASE = "/var/lib/postgresql/pgaf"

---@param inventory table
---@return table<string, string>
function layout.paths(inventory)
  local postgres = inventory.postgres
  local base = BASE
  local data = postgres.data_dir or (base .. "/pg/data")
  local pg = data:match "^(.+)/[^/]+/*$"
  return {
    base = base, pg = pg, pgdata = data,
    node_conf = pg .. "/node.conf", hba = pg .. "/pg_hba.conf", ident = pg .. "/pg_ident.conf",
    tls = base .. "/tls", ca_crt = base .. "/tls/ca.crt", server_crt = base .. "/tls/server.crt",
    server_key = base .. "/tls/server.key", ca = "/etc/pgafrun/ca", home = base .. "/home",
    pgpass = base .. "/home/.pgpass", run = base .. "/run", config = base .. "/config", share = base .. "/share",
    cfg = base .. "/config/pg_autoctl" .. data .. "/pg_autoctl.cfg",
    state = base .. "/share/pg_autoctl" .. data .. "/pg_autoctl.state",
    init = base .. "/share/pg_autoctl" .. data .. "/pg_autoctl.init",
    pidfile = base .. "/run/pg_autoctl" .. data .. "/pg_autoctl.pid",
    bindir = ("/usr/lib/postgresql/%d/bin"):format(postgres.version),
    environment = "/etc/pgafrun/environment",
  }
end

-- PGSSLMODE and PGSSLROOTCERT: pg_auto_failover makes some connections without any TLS setting of its own.
---@param paths table<string, string>
---@return table<string, string>
function layout.environment(paths)
  return {
    HOME = paths.home, PGPASSFILE = paths.pgpass, PGDATA = paths.pgdata, PGHOST = paths.run,
    PGSSLMODE = "verify-full", PGSSLROOTCERT = paths.ca_crt,
    XDG_CONFIG_HOME = paths.config, XDG_DATA_HOME = paths.share, XDG_RUNTIME_DIR = paths.run,
    LANG = "C.UTF-8", LC_ALL = "C.UTF-8", PATH = paths.bindir .. ":/usr/local/bin:/usr/bin:/bin",
  }
end

return layout

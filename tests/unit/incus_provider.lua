-- What the incus provider decides without asking a server.

local process = require "pgafrun.process"
local test = require "pgaf.test"
local time = require "pgafrun.time"

local layout = require "pgaf.provider.incus_layout"
local lease = require "pgaf.provider.lease"
local provider = require "pgaf.provider"
local systemd = require "pgaf.provider.systemd"
local lu = test.lu

local T = {}

local INVENTORY = {
  formation = "f", provider = { kind = "incus" }, domain = "lxd", postgres = { version = 15 },
  monitor = { name = "mon" }, nodes = { { name = "n1" }, { name = "n2" } },
}

function T.test_what_is_ours()
  local p = provider.open(INVENTORY)
  local function status(object) return p:status_of(object, "n1") end
  local ours = { ["user.pgaf.formation"] = "f", ["user.pgaf.node"] = "n1" }
  lu.assertEquals(status(nil), "absent")
  lu.assertEquals(status { status = "Running", config = ours }, "running")
  lu.assertEquals(status { status = "Ready", config = ours }, "running")
  lu.assertEquals(status { status = "Frozen", config = ours }, "frozen")
  lu.assertEquals(status { status = "Stopped", config = ours }, "stopped")
  lu.assertEquals(status { status = "Error", config = ours }, "stopped")
  lu.assertEquals(status { status = "Running", config = {} }, "foreign")
  lu.assertEquals(status { status = "Running" }, "foreign")
  lu.assertEquals(status { status = "Running", config = { ["user.pgaf.formation"] = "f" } }, "foreign")
  local other = { ["user.pgaf.formation"] = "f", ["user.pgaf.node"] = "n2" }
  lu.assertEquals(status { status = "Running", config = other }, "foreign")
end

function T.test_handles()
  local p = provider.open(INVENTORY)
  lu.assertIs(p:node("n1"), p:node("n1"))
  lu.assertEquals(p:node("n1").hostname, "n1.lxd")
  lu.assertEquals({ p.kind, p.formation, p.system_user }, { "incus", "f", "postgres" })
  lu.assertTrue(p:can "freeze")
  local can, why = p:can "fly"
  lu.assertFalse(can)
  lu.assertStrContains(why, "fly")
  p:close()
  p:close()
end

function T.test_paths()
  local paths = layout.paths(INVENTORY)
  lu.assertEquals(paths.pgdata, "/var/lib/postgresql/pgaf/pg/data")
  lu.assertEquals(paths.node_conf, "/var/lib/postgresql/pgaf/pg/node.conf")
  lu.assertEquals(paths.bindir, "/usr/lib/postgresql/15/bin")
  -- The path of a unix socket has 107 characters at most.
  lu.assertTrue(#(paths.run .. "/.s.PGSQL.65535") < 107)
  local elsewhere = layout.paths { postgres = { version = 16, data_dir = "/srv/pg/16/data" } }
  lu.assertEquals({ elsewhere.pg, elsewhere.hba }, { "/srv/pg/16", "/srv/pg/16/pg_hba.conf" })
  lu.assertStrContains(elsewhere.cfg, "/pg_autoctl/srv/pg/16/data/pg_autoctl.cfg")
end

function T.test_the_environment_is_private_and_verified()
  local env = layout.environment(layout.paths(INVENTORY))
  lu.assertEquals(env.PGSSLMODE, "verify-full")
  for name in pairs(env) do lu.assertNil(name:match "PASSWORD") end
end

function T.test_when_a_lease_is_over()
  local me = process.self()
  local function held(more)
    local record = {
      expires = time.wall() + 60, pid = me.pid, start_time = me.start_time, boot_id = me.boot_id, holder = "x@y",
    }
    for key, value in pairs(more) do record[key] = value end
    return record
  end
  lu.assertFalse(lease.is_over(held {}))
  lu.assertTrue(lease.is_over(held { expires = time.wall() - 1 }))
  lu.assertTrue(lease.is_over(held { expires = "soon" }))
  lu.assertTrue(lease.is_over(held { start_time = "1" })) -- the pid is another process now
  lu.assertTrue(lease.is_over(held { pid = 2 ^ 22 | 0 })) -- no such process
  lu.assertFalse(lease.is_over(held { boot_id = "another machine", pid = 1, start_time = "1" }))
end

function T.test_the_unit()
  local pushed = {}
  local node = { name = "n1" }
  function node.paths() return layout.paths(INVENTORY) end
  function node.environment() return layout.environment(node.paths()) end
  function node.run(_, script) return { code = script:match "is%-enabled" and 1 or 0, stdout = "" } end
  function node.push(_, path, content) pushed[path] = content return true end
  lu.assertTrue(systemd.new(node):install {})
  local unit = pushed["/etc/systemd/system/pgautofailover.service"]
  lu.assertStrContains(unit, "ExecStart=/usr/bin/pg_autoctl $PGAF_COMMAND\n")
  lu.assertStrContains(unit, 'Environment="PGAF_COMMAND=run --pgdata /var/lib/postgresql/pgaf/pg/data"\n')
  lu.assertStrContains(unit, "EnvironmentFile=/etc/pgafrun/environment\n")
  lu.assertStrContains(unit, 'readlink "/proc/$$(head -n 1 "$$f")/cwd"')
  lu.assertNil(unit:match "%$%l%l", "a word was not filled in")
  lu.assertStrContains(pushed["/etc/pgafrun/environment"], "PGDATA=/var/lib/postgresql/pgaf/pg/data\n")
end

test.run("incus_provider", T)

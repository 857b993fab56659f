-- time-limit: 600
-- The incus provider on a real server, over its socket and over TLS: nodes, commands, files, the service, faults,
-- locks. Everything is made under a formation name of its own and deleted at the end, however it ends.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local json = require "pgafrun.json"
local process = require "pgafrun.process"
local provider = require "pgaf.provider"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local time = require "pgafrun.time"

local instance = require "pgaf.incus.instance"
local lease = require "pgaf.provider.lease"
local lu = test.lu

local FORMATION = "pgaf-live-incus"
local MONITOR, ONE, TWO = FORMATION .. "-monitor", FORMATION .. "-1", FORMATION .. "-2"

local function inventory(more)
  local settings = { kind = "incus", image = "debian/12", profiles = { "default" }, nic = "eth0", ready_timeout = 120 }
  for key, value in pairs(more or {}) do settings[key] = value end
  return {
    formation = FORMATION, domain = "lxd", provider = settings, postgres = { version = 15 },
    monitor = { name = MONITOR, limits = { memory = "256MiB" } }, nodes = { { name = ONE }, { name = TWO } },
  }
end

local group <close> = task.group()
local over_socket <close> = provider.open(inventory(), group)
local over_tls <close> = provider.open(inventory { remote = "lab-tls" }, group)
local one = over_socket:node(ONE)

local function delete_everything()
  task.shield(120, function()
    local deleting <close> = task.group()
    for _, node in ipairs(over_socket:nodes()) do deleting:spawn(node.delete, node) end
  end)
end
delete_everything()
local _ <close> = setmetatable({}, { __close = delete_everything })

local function expect(kind, code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok, "no error was raised")
  lu.assertTrue(error.is(e, kind, code), tostring(e))
  return e
end

local T = {}

function T.test_01_check()
  over_socket:check()
  over_tls:check()
  local p <close> = provider.open(inventory { image = "no/such/image" })
  lu.assertStrContains(expect("config", nil, p.check, p).message, "no/such/image")
end

function T.test_02_nodes_are_made_side_by_side()
  local _ <close> = over_socket:lock "the live test"
  do
    local launching <close> = task.group()
    for _, name in ipairs { MONITOR, ONE, TWO } do
      launching:spawn(function() lu.assertTrue(over_socket:node(name):launch()) end)
    end
  end
  lu.assertEquals(#over_socket:nodes(), 3)
  lu.assertFalse(one:launch())
  -- The monitor's instance carries the lease: another machine would see it. This one is stopped by the file already.
  lu.assertNotNil(over_socket:node(MONITOR):instance():get().config["user.pgaf.lock"])
  expect("locked", nil, over_socket.lock, over_socket, "a second run")
end

function T.test_03_the_lease_is_given_back()
  local left = over_socket:node(MONITOR):instance():get().config["user.pgaf.lock"]
  lu.assertEquals(json.decode(left).what, "the live test")
  lu.assertTrue(lease.is_over(json.decode(left)))
end

function T.test_04_nodes_find_each_other_by_name()
  local address = one:run("getent ahostsv4 " .. TWO .. ".lxd").stdout:match "^%S+"
  lu.assertEquals(address, over_socket:node(TWO):address())
end

function T.test_05_commands()
  for _, p in ipairs { over_socket, over_tls } do
    local node = p:node(ONE)
    local r = node:run("cat; hostname >&2; exit 9", { stdin = "a\0b", check = false })
    lu.assertEquals(r, { code = 9, stdout = "a\0b", stderr = ONE .. "\n" })
    r = node:exec { "sh", "-c", "cat; hostname >&2; pwd; exit 9", stdin = "a\0b", cwd = "/etc", check = false }
    lu.assertEquals(r, { code = 9, stdout = "a\0b/etc\n", stderr = ONE .. "\n" })
    lu.assertEquals(node:run("id -un; pwd", { user = "nobody" }).stdout, "nobody\n/\n")
    lu.assertEquals(node:exec({ "id", "-un", user = "nobody" }).stdout, "nobody\n")
    expect("command", "127", node.exec, node, { "no-such-program" })
    expect("command", "cwd", node.exec, node, { "true", cwd = "/no/such/folder" })
    local data = ("0123456789abcdef"):rep(128 * 1024)
    local echoed = node:exec { "sh", "-c", "tee /tmp/data; cat /tmp/data >&2", stdin = data }
    lu.assertEquals(crypto.sha256(echoed.stdout), crypto.sha256(data))
    lu.assertEquals(crypto.sha256(echoed.stderr), crypto.sha256(data))
    lu.assertEquals(crypto.sha256(node:run("cat", { stdin = data }).stdout), crypto.sha256(data))
    lu.assertEquals(#node:run("head -c 20000000 /dev/zero").stdout, 20000000)
  end
end

function T.test_06_what_is_late_is_killed()
  expect("timeout", "script", one.run, one, "sleep 4711 & sleep 4711", { timeout = 0.3 })
  expect("timeout", "command", one.exec, one, { "sh", "-c", "sleep 4711 & sleep 4711", timeout = 0.3 })
  lu.assertEquals(one:run("ps ax | grep -c '[s]leep 4711'", { check = false }).stdout, "0\n")
end

function T.test_07_a_secret_is_seen_by_nobody()
  local secret = crypto.random_hex(16)
  local seen = one:run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; cat >/dev/null",
    { stdin = secret }).stdout
  lu.assertTrue(#seen > 100)
  lu.assertNil(seen:find(secret, 1, true))
end

function T.test_08_files()
  local path = "/etc/it's a secret"
  local options = { mode = "0640", user = "root", group = "nogroup" }
  lu.assertTrue(one:push(path, "a\0b", options))
  lu.assertFalse(one:push(path, "a\0b", options))
  lu.assertEquals(one:files({ path })[path],
    { sha256 = crypto.sha256 "a\0b", mode = "0640", user = "root", group = "nogroup" })
  lu.assertEquals(one:pull(path), "a\0b")
  lu.assertNil(one:pull "/no/such/file")
  lu.assertStrContains(one:pull "/etc/os-release", "ID=debian") -- a link
  one:run "mkfifo /run/pipe"
  expect("file", nil, one.pull, one, "/run/pipe")
end

local FAKE = [[
#!/bin/sh
[ "$1" = run ] || exit 0
echo "supervising as $(id -un) in $PWD, umask $(umask)"
[ ! -e "$HOME/../broken" ] || { echo "it is broken"; exit 12; }
exec sleep infinity
]]

function T.test_09_the_service()
  local paths, service = one:paths(), one:service()
  one:run(([[
    useradd --system --home-dir /var/lib/postgresql --create-home postgres
    install -d -o postgres -g postgres -m 0700 %s %s]]):format(paths.base, paths.home))
  one:push("/usr/bin/pg_autoctl", FAKE, { mode = "0755" })
  lu.assertEquals((service:status()), "stopped")
  lu.assertTrue(service:install {})
  lu.assertFalse(service:install {})
  service:start()
  lu.assertEquals((service:status()), "running")
  lu.assertStrContains(service:logs(5), ("supervising as postgres in %s, umask 0077"):format(paths.base))
  lu.assertEquals(one:run("echo $PGDATA; pwd; umask", { user = "postgres" }).stdout,
    ("%s\n%s\n0077\n"):format(paths.pgdata, paths.base))
  one:run "systemctl kill --signal=KILL pgautofailover"
  local status
  task.timeout(60, function()
    repeat task.sleep(0.1) status = service:status() until status == "running"
  end)
  service:stop()
  lu.assertEquals((service:status()), "stopped")
  one:run("touch " .. paths.base .. "/broken")
  local e = expect("command", nil, function()
    service:start()
    task.timeout(30, function() repeat task.sleep(0.1) until service:status() == "failed" end)
    service:restart()
    repeat task.sleep(0.1) until service:status() ~= "running"
    error.raise { kind = "command", message = service:logs(3), operation = "restart" }
  end)
  lu.assertStrContains(e.message, "it is broken")
  one:run("rm " .. paths.base .. "/broken")
  service:restart()
end

function T.test_10_a_power_cut_and_a_boot()
  local address, before = one:address(), one:instance():get().config["volatile.eth0.hwaddr"]
  local events <close> = over_tls:events()
  local wait = one:watch_death()
  local sent, died
  do
    local watching <close> = task.group()
    watching:spawn(function() died = wait() end)
    task.sleep(0.1)
    sent = time.now()
    lu.assertTrue(one:stop { force = true })
  end
  lu.assertTrue(died > sent)
  lu.assertEquals(one:status(), "stopped")
  local event = events:next(30)
  lu.assertEquals({ event.node, event.action }, { ONE, "instance-stopped" })
  print(("  dead %.0f ms after the request, told by the server after %.0f ms"):format(
    (died - sent) * 1e3, (event.at - sent) * 1e3))
  expect("state", nil, one.run, one, ":")
  lu.assertEquals(one:pull "/etc/it's a secret", "a\0b")
  lu.assertTrue(one:start())
  lu.assertFalse(one:start())
  lu.assertEquals({ one:address(), one:instance():get().config["volatile.eth0.hwaddr"] }, { address, before })
  lu.assertEquals((one:service():status()), "running")
end

function T.test_11_freeze_and_thaw()
  lu.assertTrue(one:freeze())
  lu.assertEquals(one:status(), "frozen")
  lu.assertTrue(one:thaw())
  lu.assertEquals(one:run("echo back").stdout, "back\n")
  one:freeze()
  lu.assertTrue(one:start())
  lu.assertEquals(one:status(), "running")
  lu.assertTrue(one:stop { timeout = 30 })
  lu.assertTrue(one:start())
end

local function connection_from_one()
  local to = over_socket:node(TWO):address()
  local script = ("timeout 2 bash -c 'exec 3<>/dev/tcp/%s/9'"):format(to)
  return one:run(script, { check = false }).code == 124 and "silence" or "refused"
end

function T.test_12_a_partition()
  local two = over_socket:node(TWO)
  lu.assertEquals(connection_from_one(), "refused")
  two:cut { from = { ONE } }
  lu.assertEquals(connection_from_one(), "silence")
  lu.assertStrContains(two:run("getent hosts " .. MONITOR .. ".lxd").stdout, over_socket:node(MONITOR):address())
  lu.assertTrue(two:heal())
  lu.assertFalse(two:heal())
  lu.assertEquals(connection_from_one(), "refused")
  one:cut()
  lu.assertEquals(connection_from_one(), "silence")
  one:stop { force = true }
  one:start()
  lu.assertEquals(connection_from_one(), "refused")
end

function T.test_13_snapshots()
  local two = over_socket:node(TWO)
  two:stop { force = true }
  two:instance():snapshot "baseline"
  two:start()
  two:run "touch /root/after"
  two:instance():restore "baseline"
  lu.assertEquals(two:run("ls /root/after", { check = false }).code, 2)
  lu.assertTrue(two:instance():delete_snapshot "baseline")
end

function T.test_14_what_is_not_ours_is_left_alone()
  local other = over_tls:node(TWO)
  other:instance():update(function() return { config = { ["user.pgaf.formation"] = "another" } } end)
  lu.assertEquals(over_socket:node(TWO):status(), "foreign")
  expect("foreign", nil, other.delete, other)
  expect("foreign", nil, other.launch, other)
  lu.assertEquals(other:instance():status(), "Running")
  other:instance():update(function() return { config = { ["user.pgaf.formation"] = FORMATION } } end)
end

function T.test_15_a_lock_of_another_process_ends_with_it()
  local script = ([[
    local inventory = require("pgafrun.json").decode(require("pgafrun.process").getenv "I")
    require("pgaf.provider").open(inventory):lock "the other"
    print "locked"
    require("pgafrun.task").sleep(100)]])
  local inventory_text = json.encode(inventory())
  do
    local group_of_other <close> = task.group()
    local other = group_of_other:spawn(process.run,
      { process.getenv "PGAFRUN", "-e", script, extend_env = { I = inventory_text }, timeout = 120 })
    local holder
    task.timeout(30, function()
      repeat
        task.sleep(0.05)
        local config = instance.of(over_socket:client(), MONITOR):get().config
        holder = json.decode(config["user.pgaf.lock"] or "{}")
      until holder.what == "the other"
    end)
    local e = expect("locked", nil, over_socket.lock, over_socket, "mine")
    lu.assertStrContains(e.message, "the other")
    process.kill(holder.pid, "KILL")
    other:wait()
  end
  over_socket:lock("mine"):close()
end

function T.test_16_many_short_commands()
  local from = time.now()
  do
    local running <close> = task.group()
    for _, name in ipairs { MONITOR, ONE, TWO } do
      running:spawn(function()
        local node = over_socket:node(name)
        node:run ":"
        for _ = 1, 100 do node:run ":" end
      end)
    end
  end
  print(("  %.2f ms for a command over an open shell, three nodes at a time"):format((time.now() - from) * 1e3 / 300))
end

function T.test_17_nodes_are_deleted()
  delete_everything()
  lu.assertEquals(over_tls:nodes(), {})
  lu.assertEquals(one:status(), "absent")
  expect("absent", nil, one.run, one, ":")
end

test.run("incus", T)

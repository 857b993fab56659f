-- Nodes, locks and events of the incus provider, on a server that misbehaves. Commands are processes of this machine,
-- so files are pushed into a folder of this test's.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local time = require "pgafrun.time"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local lease = require "pgaf.provider.lease"
local provider = require "pgaf.provider"
local lu = test.lu

local server <close> = dofile(here .. "/support/incus_server.lua").start()
local folder = fs.mkdtemp "pgafrun-incus-provider"
local _ <close> = setmetatable({}, { __close = function() task.shield(5, fs.remove_tree, folder) end })

local environment = {
  INCUS_CONF = server:configuration(), HOME = folder, XDG_RUNTIME_DIR = folder, INCUS_GLOBAL_CONF = "/nonexistent",
}
process.getenv = function(name) return environment[name] end

local me = process.self()
local my_group = process.run({ "id", "-gn" }).stdout:match "%S+"
local count = 0

-- Each test has a formation of its own.
local function inventory(more)
  local settings = {
    kind = "incus", image = "debian/12", profiles = { "default" }, nic = "eth0", ready_timeout = 20,
  }
  for key, value in pairs(more or {}) do settings[key] = value end
  local name = "f" .. count
  return {
    formation = name, domain = "lxd", provider = settings, postgres = { version = 15 },
    monitor = { name = name .. "-mon", limits = { cpu = 2, memory = "512MiB" } },
    nodes = { { name = name .. "-1" }, { name = name .. "-2" } },
  }
end

local T = {}

local opened

function T.setUp()
  server:misbehave()
  count = count + 1
  opened = provider.open(inventory())
end

function T.tearDown() opened:close() end

local function expect(kind, code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok, "no error was raised")
  lu.assertTrue(error.is(e, kind, code), tostring(e))
  return e
end

local function monitor() return opened:node("f" .. count .. "-mon") end

local function tags(name)
  return { ["user.pgaf.formation"] = "f" .. count, ["user.pgaf.node"] = name }
end

-- -------------------------------------------------------------------------------------------------------- checking

function T.test_what_is_missing_is_told_before_anything_is_made()
  opened:check()
  for key, value in pairs { profiles = { "default", "none" }, nic = "eth9", image = "debian/13", remote = "nowhere" } do
    local p <close> = provider.open(inventory { [key] = value })
    local e = expect("config", nil, p.check, p)
    lu.assertStrContains(tostring(e), key == "remote" and "fake" or type(value) == "table" and value[2] or value)
    lu.assertNotNil(e.hint)
  end
  lu.assertEquals(opened:nodes(), {})
end

-- -------------------------------------------------------------------------------------------------------- launching

function T.test_a_node_is_made_started_and_pinned()
  local node = monitor()
  lu.assertEquals(node:status(), "absent")
  server:misbehave { address_after = 3, suffix = true, wait = "error" }
  lu.assertTrue(node:launch())
  lu.assertEquals({ node:status(), node:address() }, { "running", "10.9.8.7" })
  local object = node:instance():get()
  lu.assertEquals(object.devices.eth0, { type = "nic", name = "eth0", network = "br0", ["ipv4.address"] = "10.9.8.7" })
  lu.assertEquals({ object.config["limits.cpu"], object.config["limits.memory"] }, { "2", "512MiB" })
  lu.assertFalse(node:launch())
  lu.assertEquals({ opened:nodes()[1], opened:nodes()[2] }, { node })
  lu.assertTrue(node:delete())
  lu.assertFalse(node:delete())
  lu.assertEquals(node:status(), "absent")
end

function T.test_an_address_that_is_not_pinned_yet_is_told_and_pinned()
  local node = monitor()
  node:launch()
  lu.assertNil(node:difference())
  node:instance():update(function()
    return { devices = { eth0 = { type = "nic", name = "eth0", network = "br0" } } }
  end)
  lu.assertStrContains(node:difference(), "its address may be another after a restart")
  lu.assertEquals({ node:launch() }, { true, "pinned its address" })
  lu.assertNil(node:difference())
  lu.assertEquals({ node:launch() }, { false })
end

function T.test_limits_that_changed_are_set()
  server:add(monitor().name, { config = tags(monitor().name) })
  lu.assertTrue(monitor():launch())
  lu.assertEquals(monitor():instance():get().config["limits.cpu"], "2")
  lu.assertFalse(monitor():launch())
end

function T.test_what_is_not_ours_is_left_alone()
  local node = monitor()
  server:add(node.name)
  lu.assertEquals(node:status(), "foreign")
  for _, verb in ipairs { "launch", "delete", "start", "stop", "freeze", "thaw" } do
    local e = expect("foreign", nil, node[verb], node)
    lu.assertStrContains(e.message, node.name)
  end
  lu.assertEquals(node:instance():status(), "Running")
  lu.assertEquals(opened:nodes(), {})
end

function T.test_a_name_taken_while_we_made_it()
  server:misbehave { taken = "by somebody" }
  expect("foreign", nil, monitor().launch, monitor())
  server:misbehave { taken = "by_us" }
  lu.assertTrue(opened:node("f" .. count .. "-1"):launch())
end

function T.test_what_is_half_made_is_named()
  local node = monitor()
  server:misbehave { refuse = "start" }
  local e = expect("state", nil, node.launch, node)
  lu.assertStrContains(e.message, ("the instance %s exists now and is stopped"):format(node.name))
  server:misbehave()
  local late <close> = provider.open(inventory { ready_timeout = 0.3 })
  node = late:node(node.name)
  server:misbehave { address_after = 1000 }
  e = expect("timeout", "address", node.launch, node)
  lu.assertStrContains(e.message, ("the instance %s exists now and is running"):format(node.name))
  server:misbehave()
  lu.assertEquals({ node:launch() }, { true, "pinned its address" })
end

function T.test_a_death_while_booting_is_told_at_once_with_the_consoles_last_lines()
  server:misbehave { dies_at_boot = true }
  local e = expect("state", nil, monitor().launch, monitor())
  lu.assertStrContains(e.message, "exists now and is stopped")
  lu.assertTrue(error.is(e.cause, "state", "died"), tostring(e))
  lu.assertStrContains(e.cause.message, "Welcome\n    Exiting PID 1...")
  server:misbehave()
  lu.assertTrue(monitor():launch())
end

-- ------------------------------------------------------------------------------------------------- running, pushing

local function running(name)
  name = name or monitor().name
  server:add(name, { config = tags(name) })
  return opened:node(name)
end

function T.test_commands_say_where_and_how_they_failed()
  local node = running()
  lu.assertEquals(node:run("echo out; exit 3", { check = false }).code, 3)
  local e = expect("command", "3", node.run, node, "\n  first line\necho one >&2; echo two >&2; exit 3")
  lu.assertStrContains(e.operation, node.name)
  lu.assertStrContains(e.message, "`first line` ended with status 3")
  lu.assertStrContains(e.message, "one\n    two")
  lu.assertEquals(e.result.code, 3)
  e = expect("command", "4", node.exec, node, { "sh", "-c", "exit 4" })
  lu.assertStrContains(e.message, "sh -c exit 4")
  lu.assertEquals(node:exec({ "cat", stdin = "x", cwd = "/usr" }).stdout, "x")
  expect("missing", "user", node.run, node, ":", { user = "no-such-user" })
  node:stop { force = true }
  e = expect("state", nil, node.run, node, ":")
  lu.assertStrContains(e.message, "stopped")
  expect("state", nil, node.exec, node, { "true" })
  node:delete()
  expect("absent", nil, node.run, node, ":")
end

function T.test_files_are_pushed_where_they_differ()
  local node = running()
  local path = folder .. "/it's a file"
  local options = { mode = "0640", user = me.user, group = my_group }
  lu.assertTrue(node:push(path, "a\0b", options))
  lu.assertFalse(node:push(path, "a\0b", options))
  lu.assertEquals(fs.read(path), "a\0b")
  lu.assertEquals(fs.stat(path).mode & tonumber("777", 8), tonumber("640", 8))
  lu.assertTrue(node:push(path, "a\0b", { mode = "0600", user = me.user, group = my_group }))
  lu.assertTrue(node:push(path, "", { mode = "0600", user = me.user, group = my_group }))
  local found = node:files { path, folder, "/no/such" }
  lu.assertEquals(found[path].mode, "0600")
  lu.assertEquals(found[path].user, me.user)
  lu.assertEquals({ found[folder], found["/no/such"] }, { false, false })
  expect("command", nil, node.push, node, "/no/such/folder/file", "x", options)
  for _, name in ipairs(fs.list(folder)) do lu.assertNil(name:match "^%.pgafrun%.", "a temporary file was left") end
end

function T.test_a_death_is_told_and_a_lost_connection_is_none()
  local node = running()
  local wait = node:watch_death()
  local died
  do
    local group <close> = task.group()
    group:spawn(function() died = wait() end)
    task.sleep(0.05)
    node:stop { force = true }
  end
  lu.assertTrue(died <= time.now())
  node:start()
  wait = node:watch_death()
  server:misbehave { cut_commands = true }
  local e = expect("network", nil, wait)
  lu.assertStrContains(e.message, "unknown")
end

function T.test_events_of_our_nodes()
  local node = running()
  local stream = opened:events()
  server:add "somebody-elses"
  opened:node("somebody-elses"):instance():freeze()
  node:freeze()
  local event = stream:next(10)
  lu.assertEquals({ event.node, event.action, event.by }, { node.name, "instance-paused", "root" })
  lu.assertNil(stream:next(0))
  -- What happens while the stream is cut is told afterwards.
  server:misbehave { cut_listeners = true, drop_events = 1 }
  node:thaw()
  repeat event = stream:next(10) until not event or event.action == "instance-started" or not event.resync
  lu.assertTrue(event.action == "instance-started" or event.action == "instance-resumed", event.action)
  stream:close()
  stream:close()
end

-- ----------------------------------------------------------------------------------------------------------- locking

-- The lease that binds others; nil: none.
local function lease_of(node)
  local text = node:instance():get().config["user.pgaf.lock"]
  local held = text and json.decode(text)
  return held and not lease.is_over(held) and held or nil
end

function T.test_one_run_at_a_time_on_this_machine()
  local lock = opened:lock "first"
  local second <close> = provider.open(inventory())
  local e = expect("locked", nil, second.lock, second, "second")
  lu.assertStrContains(e.message, ("process %d"):format(me.pid))
  lu.assertStrContains(e.message, "first")
  lock:close()
  lock:close()
  second:lock("second"):close()
end

function T.test_the_lease_is_made_with_the_monitor_and_given_back()
  local group <close> = task.group()
  local p <close> = provider.open(inventory(), group)
  local lock = p:lock "provision"
  p:node("f" .. count .. "-1"):launch()
  lu.assertNil(lease_of(p:node("f" .. count .. "-1")))
  p:node(monitor().name):launch()
  local held = lease_of(monitor())
  lu.assertEquals({ held.what, held.pid }, { "provision", me.pid })
  lu.assertTrue(held.expires > time.wall() and held.expires < time.wall() + 120)
  p:node(monitor().name):delete()
  p:node(monitor().name):launch()
  lu.assertNotNil(lease_of(monitor()))
  lock:close()
  lu.assertNil(lease_of(monitor()))
end

local function held_by_other(more)
  local record = {
    holder = "eve@far", pid = 1, start_time = "1", boot_id = "another", what = "a drill", token = "t",
    since = "2025-01-01T00:00:00Z", expires = math.floor(time.wall()) + 60,
  }
  for key, value in pairs(more or {}) do record[key] = value end
  local config = tags(monitor().name)
  config["user.pgaf.lock"] = json.encode(record)
  server:add(monitor().name, { config = config })
end

function T.test_a_lease_of_another_machine_is_respected_until_it_runs_out()
  held_by_other()
  local e = expect("locked", nil, opened.lock, opened, "mine")
  lu.assertStrContains(e.message, "eve@far")
  lu.assertStrContains(e.message, "a drill")
  held_by_other { expires = math.floor(time.wall()) - 1 }
  opened:lock("mine"):close()
  held_by_other { boot_id = me.boot_id, pid = 1, start_time = "no such time" }
  local lock = opened:lock "mine"
  lu.assertEquals(lease_of(monitor()).pid, me.pid)
  held_by_other() -- somebody took it over: giving ours back leaves theirs
  lock:close()
  lu.assertEquals(lease_of(monitor()).holder, "eve@far")
end

function T.test_a_lease_is_renewed_and_its_loss_ends_the_work()
  local config = tags(monitor().name)
  server:add(monitor().name, { config = config })
  local e = expect("locked", nil, function()
    local group <close> = task.group { deadline = 30 }
    local p <close> = provider.open(inventory(), group)
    p.lock_renewal = 0.02
    p:lock "mine"
    local first = lease_of(monitor()).expires
    repeat task.sleep(0.05) until lease_of(monitor()).expires > first
    server:misbehave { meddle = 1, envelope = "garbage" } -- a renewal may fail once
    task.sleep(0.1)
    held_by_other()
    task.sleep(30)
  end)
  lu.assertStrContains(e.message, "eve@far")
  lu.assertEquals(lease_of(monitor()).holder, "eve@far")
end

local function config_of_monitor() return monitor():instance():get().config["user.pgaf.lock"] end

function T.test_who_only_looks_writes_no_lease_and_who_changes_something_writes_one()
  server:add(monitor().name, { config = tags(monitor().name) })
  local looking = opened:lock("looking", true)
  lu.assertNil(config_of_monitor())
  looking:close()
  lu.assertNil(config_of_monitor())
  local changing = opened:lock("changing", true)
  server:misbehave { meddle = 1 }
  do
    local group <close> = task.group()
    for _ = 1, 3 do group:spawn(changing.hold, changing) end
  end
  lu.assertEquals(lease_of(monitor()).what, "changing")
  changing:hold()
  changing:close()
  lu.assertNil(lease_of(monitor()))
end

function T.test_who_looks_is_refused_by_a_lease_and_by_one_that_came_and_went_meanwhile()
  held_by_other()
  lu.assertStrContains(expect("locked", nil, opened.lock, opened, "mine", true).message, "eve@far")
  opened:node(monitor().name):instance():update(function() return { config = { ["user.pgaf.lock"] = "" } } end)
  local mine <close> = opened:lock("mine", true)
  held_by_other { expires = 0 }
  local e = expect("locked", nil, mine.hold, mine)
  lu.assertStrContains(e.message, "was changed while this run was looking at it, by eve@far: a drill")
  held_by_other()
  lu.assertStrContains(expect("locked", nil, mine.hold, mine).message, "is being changed by eve@far")
end

function T.test_a_lease_that_was_given_back_tells_who_had_it()
  server:add(monitor().name, { config = tags(monitor().name) })
  local looking <close> = opened:lock("looking", true)
  local other <close> = provider.open(inventory())
  environment.XDG_RUNTIME_DIR = folder .. "/another-user"
  fs.mkdir(environment.XDG_RUNTIME_DIR)
  other:lock("changing"):close()
  environment.XDG_RUNTIME_DIR = folder
  lu.assertStrContains(expect("locked", nil, looking.hold, looking).message, me.host .. ": changing")
end

function T.test_two_who_want_the_lease_at_once()
  server:add(monitor().name, { config = tags(monitor().name) })
  server:misbehave { meddle = 3 }
  local lock = opened:lock "mine"
  lu.assertEquals(lease_of(monitor()).what, "mine")
  lock:close()
end

function T.test_a_monitor_that_is_not_ours_is_not_written_to()
  server:add(monitor().name)
  opened:lock("mine"):close()
  lu.assertNil(lease_of(monitor()))
end

test.run("incus_provider", T)

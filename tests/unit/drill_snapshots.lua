-- Snapshots before a drill: where there can be none, and in which order the way back is gone.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local journal = require "pgaf.drill.journal"
local process = require "pgafrun.process"
local snapshot = require "pgaf.provider.incus_snapshot"
local snapshots = require "pgaf.drill.snapshots"
local test = require "pgaf.test"
local undo = require "pgaf.drill.undo"

local lu = test.lu
local T = {}

local state = fs.mkdtemp "pgafrun-snapshots-"
local real_getenv = process.getenv
function process.getenv(name) -- luacheck: ignore 122
  return name == "XDG_STATE_HOME" and state or real_getenv(name)
end

local PLAIN = { root = { type = "disk", path = "/", pool = "p" }, eth0 = { type = "nic" } }

-- A node on a storage pool of that driver, or one that raises it.
local function on_pool(driver, devices)
  local the_client = {
    find = function()
      if type(driver) == "table" then error.raise(driver) end
      return driver and { driver = driver }
    end,
  }
  return {
    name = "n1", provider = { client = function() return the_client end, locks = {} },
    instance = function()
      return { get = function() return { expanded_devices = devices or PLAIN } end }
    end,
  }
end

function T.test_pools_that_do_not_freeze_a_node_are_those_of_btrfs_and_zfs()
  for _, driver in ipairs { "btrfs", "zfs" } do lu.assertNil(snapshot.refusal(on_pool(driver))) end
  for _, driver in ipairs { "dir", "lvm", "ceph", "one of tomorrow" } do
    lu.assertStrContains(snapshot.refusal(on_pool(driver)), "freezes it meanwhile")
  end
end

function T.test_a_pool_that_cannot_be_looked_at_is_not_taken_for_a_good_one()
  lu.assertStrContains(snapshot.refusal(on_pool(nil)), "cannot be looked at")
  local forbidden = { kind = "incus", code = "403", message = "no" }
  lu.assertStrContains(snapshot.refusal(on_pool(forbidden)), "cannot be looked at")
  local ok, problem = pcall(snapshot.refusal, on_pool { kind = "network", message = "gone" })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "network"))
end

function T.test_what_a_snapshot_does_not_hold_is_refused()
  local reason = snapshot.refusal(on_pool("btrfs", {
    root = { type = "disk", path = "/", pool = "p" }, data = { type = "disk", path = "/srv", pool = "p" },
  }))
  lu.assertStrContains(reason, "data (at /srv)")
  lu.assertStrContains(snapshot.refusal(on_pool("btrfs", {})), "no root disk")
end

function T.test_going_back_is_refused_in_production()
  snapshots.check_reset { environment = "staging", formation = "f" }
  local ok, problem = pcall(snapshots.check_reset, { environment = "production", formation = "f" })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "usage"))
end

function T.test_a_provider_without_snapshots_says_so()
  local ok, problem = pcall(snapshots.check, { provider = { can = function() return false, "not here" end } })
  lu.assertFalse(ok)
  lu.assertTrue(error.is(problem, "unsupported"))
  lu.assertStrContains(problem.message, "not here")
end

-- A drill whose nodes note what is done to them.
local function noting(done)
  local function node(name)
    local function notes(what) return function() done[#done + 1] = what .. " " .. name end end
    return {
      name = name, status = function() return "stopped" end, start = notes "start", stop = notes "stop",
      snapshot = notes "take", restore_snapshot = notes "restore", remove_snapshot = notes "remove",
      service = function() return { status = function() return "running" end } end,
    }
  end
  local nodes = { a = node "a", b = node "b", c = node "c", m = node "m" }
  return {
    nodes = nodes, primary = nodes.a, standbys = { nodes.b, nodes.c }, monitor = nodes.m,
    options = { say = function() end },
    journal = journal.begin({ formation = "f", provider = { kind = "incus" } }, { primary = "a", fault = "kill" }),
  }
end

function T.test_no_node_is_ahead_of_the_one_that_it_follows()
  local done = {}
  snapshots.take(noting(done))
  lu.assertEquals(done, { "take b", "take c", "take a", "take m" })
end

function T.test_all_stop_before_one_goes_back_and_the_monitor_starts_first()
  local done = {}
  local drill = noting(done)
  snapshots.take(drill)
  snapshots.reset(drill)
  -- as another process finds it, after this one was killed
  local broken = journal.load(drill.journal.folder).broken
  done[1], done[2], done[3], done[4] = nil, nil, nil, nil
  for i = #broken, 1, -1 do
    if not undo.is_last(broken[i].undo) then undo.perform(broken[i], drill.nodes[broken[i].node]) end
  end
  lu.assertEquals(done, {
    "stop m", "stop a", "stop c", "stop b", "restore m", "restore a", "restore c", "restore b", "start m", "start a",
    "start c", "start b",
  })
  for i = 1, 4 do lu.assertTrue(undo.is_last(broken[i].undo)) end
end

local ok, problem = pcall(test.run, "drill snapshots", T)
fs.remove_tree(state)
if not ok then _G.error(problem, 0) end

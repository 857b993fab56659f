-- Commands over open shell sessions on real containers: the latency of one, and 20 on each of 10 nodes at once,
-- beside the limits of 1.5 ms and 0.25 s and an exec of its own. Makes ten containers and deletes them.
--
--     INCUS_CONF=... pgafrun tests/bench/session.lua [REMOTE [IMAGE]]

local providers = require "pgaf.provider"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local NODES, COMMANDS, SAMPLES, EXECS = 10, 20, 500, 20
local SHIELD_SECONDS = 120
local remote, image = ...

local inventory = {
  formation = "pgaf-bench-session", environment = "lab", domain = "lxd",
  provider = {
    kind = "incus", remote = remote or "lab", image = image or "debian/12", profiles = { "default" }, nic = "eth0",
    ready_timeout = 120,
  },
  monitor = { name = "pgaf-bench-s1", limits = {} }, nodes = {}, postgres = { version = 15 },
}
for i = 2, NODES do inventory.nodes[i - 1] = { name = "pgaf-bench-s" .. i, limits = {} } end

local function each(nodes, f)
  local g <close> = task.group()
  for _, node in ipairs(nodes) do g:spawn(f, node) end
end

local function median(values)
  table.sort(values)
  return values[#values // 2 + 1]
end

local function timed(n, f)
  local values = {}
  for i = 1, n do
    local start = time.now()
    f()
    values[i] = time.now() - start
  end
  return median(values)
end

local background <close> = task.group()
local provider <close> = providers.open(inventory, background)
provider:check()
local nodes = {}
for i = 1, NODES do nodes[i] = provider:node("pgaf-bench-s" .. i) end
local _ <close> = setmetatable({}, {
  __close = function() task.shield(SHIELD_SECONDS, each, nodes, function(node) node:delete() end) end,
})
each(nodes, function(node)
  node:launch()
  node:run ":"
end)

local one = timed(SAMPLES, function() nodes[1]:run ":" end)
print(("one trivial command      %12.3f ms      x %.2f of the 1.5 ms allowed (median of %d)"):format(
  one * 1e3, one / 0.0015, SAMPLES))
local forked = timed(SAMPLES, function() nodes[1]:run "/bin/true" end)
print(("one that forks           %12.3f ms"):format(forked * 1e3))
local exec = timed(EXECS, function() nodes[1]:exec { "/bin/true" } end)
print(("an exec of its own       %12.3f ms      x %.0f of the session's"):format(exec * 1e3, exec / one))
local all = timed(5, function()
  each(nodes, function(node)
    for _ = 1, COMMANDS do node:run ":" end
  end)
end)
print(("%d on each of %d nodes   %12.3f s       x %.2f of the 0.25 s allowed"):format(
  COMMANDS, NODES, all, all / 0.25))

-- What plays cost beside the commands that they run: figures beside their limits, as ratios.
--
--     pgafrun tests/bench/steps.lua              planning and running against targets that answer at once (in processor
--                                                time: there is nothing else to it), and looking at a play
--     INCUS_CONF=... pgafrun tests/bench/steps.lua lab [REMOTE [IMAGE]]
--                                                20 unchanged steps on 1, 3 and 10 containers of its own

local error = require "pgafrun.error"
local facts = require "pgaf.facts"
local play = require "pgaf.play"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local provider = require "pgaf.provider"
local report = require "pgaf.play.report"
local resource = require "pgaf.resource"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local STEPS, ROUNDS = 20, 5
local STEP_MS, PLAN_SECONDS, PLAN_MB = 0.2, 1, 100
local UNCHANGED_SECONDS = { [1] = 0.1, [3] = 0.12, [10] = 0.25 }
local LOOK_MS = 50
local where, remote, image = ...

local function line(what, value, unit, limit)
  local ratio = limit and ("  limit %g %s  ratio %.2f"):format(limit, unit, value / limit) or ""
  print(("  %-44s %9.3f %s%s"):format(what, value, unit, ratio))
end

local function silent() return report.new { write = function() end, live = false, verbosity = -1 } end

local function median(values)
  table.sort(values)
  return values[(#values + 1) // 2]
end

local function timed(f)
  local before = time.now()
  local result = f()
  return time.now() - before, result
end

-- ----------------------------------------------------------------------------------------- targets that answer at once

local function as_wanted() end

local function computed(f)
  local before = os.clock()
  local result = f()
  return os.clock() - before, result
end

-- Half of the steps wait for their own target alone, half for all.
local function fake_play(count)
  local targets = {}
  for i = 1, count do targets[i] = { name = ("node-%04d"):format(i), groups = { "data" } } end
  local p = play.new { title = "bench", targets = targets }
  for i = 1, STEPS do
    local before = "step " .. i - 1
    p:step {
      "step " .. i, on = "data", tags = { "t" .. i % 3 }, probe = as_wanted, notify = "restart",
      needs = i > 1 and { i % 2 == 0 and before or play.everywhere(before) } or nil,
    }
  end
  p:handler { "restart", probe = as_wanted, apply = as_wanted }
  return p
end

local function fake(count)
  collectgarbage()
  collectgarbage()
  local before = collectgarbage "count"
  local p = fake_play(count)
  local planning, plan = computed(function() return p:plan() end)
  local megabytes = (collectgarbage "count" - before) / 1024
  local repeats, runs = 1000 // count, {}
  for i = 1, ROUNDS do
    runs[i] = computed(function()
      for _ = 1, repeats do
        local result = plan:run(silent())
        if result.failed or result.counts.ok ~= count * STEPS then
          error.raise { kind = "bench", message = "the steps did not all find what is wanted" }
        end
      end
    end) / repeats
  end
  local full = count == 1000
  line(("plan %d targets x %d steps"):format(count, STEPS), planning, "s", full and PLAN_SECONDS or nil)
  line("  memory, before anything is collected", megabytes, "MB", full and PLAN_MB or nil)
  local running = median(runs)
  line("  run", running, "s")
  line("  each step on each target", running * 1000 / (count * STEPS), "ms", STEP_MS)
  return running / (count * STEPS)
end

-- -------------------------------------------------------------------------------------------------- looking at a play

-- A process of its own, start and end included.
local function looks()
  local root = program.roots[1]
  local command = { process.getenv "PGAFRUN" or "/proc/self/exe", "-i", root .. "/scripts/inventory/local.lua",
    root .. "/scripts/postgres_ha.lua" }
  for _, option in ipairs { "--syntax-check", "--list-tasks" } do
    local times = {}
    for i = 1, ROUNDS * 2 do
      command[5] = option
      local seconds, result = timed(function() return process.run(command) end)
      if result.code ~= 0 then
        error.raise { kind = "bench", message = ("%s ended with %d: %s"):format(option, result.code, result.stderr) }
      end
      times[i] = seconds * 1000
    end
    line("postgres_ha " .. option, median(times), "ms", LOOK_MS)
  end
end

-- --------------------------------------------------------------------------------------------------- real containers

local function inventory_of(count)
  local function host(i) return { name = "t-bench-steps-" .. i, limits = {} } end
  local inventory = {
    formation = "t-bench-steps", environment = "lab", domain = "lxd",
    provider = {
      kind = "incus", remote = remote or "lab", image = image or "debian/12", profiles = { "default" }, nic = "eth0",
      ready_timeout = 120,
    },
    monitor = host(1), nodes = {}, postgres = { version = 15 },
  }
  for i = 2, count do inventory.nodes[i - 1] = host(i) end
  return inventory
end

local function unchanged_play(targets)
  local p = play.new { title = "bench", targets = targets }
  for i = 1, STEPS do
    p:step {
      "file " .. i, needs = i > 1 and { "file " .. i - 1 } or nil,
      resource = resource.file { path = "/srv/bench-" .. i, content = ("%d\n"):format(i):rep(20), mode = "0644" },
    }
  end
  return p
end

-- As a second run does it: facts not yet known, shells not yet open.
local function second_run(place, names)
  local targets = {}
  for i, name in ipairs(names) do
    local node = place:node(name)
    targets[i] = { name = name, node = node, facts = facts.new(node, 5432) }
  end
  return timed(function() return unchanged_play(targets):plan():run(silent()) end)
end

-- What none of this can be quicker than: one exec through the API on each of them.
local function bare(place, names)
  return (timed(function()
    local group <close> = task.group { name = "bare" }
    for _, name in ipairs(names) do
      local node = place:node(name)
      group:spawn(node.exec, node, { "true" })
    end
  end))
end

local function lab(count)
  local inventory = inventory_of(count)
  local background <close> = task.group { name = "provider" }
  local names = { inventory.monitor.name }
  for _, node in ipairs(inventory.nodes) do names[#names + 1] = node.name end
  local times, beside = {}, {}
  for i = 0, ROUNDS do
    local place <close> = provider.open(inventory, background)
    local seconds, result = second_run(place, names)
    if result.failed or (i > 0 and result.counts.ok ~= count * STEPS) then
      error.raise { kind = "bench", message = "the files did not stay as they were" }
    end
    times[i] = seconds -- the first one makes the files
    local another <close> = provider.open(inventory, background)
    beside[i] = bare(another, names)
  end
  line(("%d unchanged steps on %d containers"):format(STEPS, count), median(times), "s", UNCHANGED_SECONDS[count])
  line(("  one exec on each of the %d"):format(count), median(beside), "s")
end

local function with_containers(f)
  local inventory = inventory_of(10)
  local background <close> = task.group { name = "provider" }
  local place <close> = provider.open(inventory, background)
  local function each(what)
    local group <close> = task.group { name = what }
    for i = 1, 10 do
      local node = place:node("t-bench-steps-" .. i)
      group:spawn(node[what], node)
    end
  end
  local _ <close> = setmetatable({}, { __close = function() task.shield(120, each, "delete") end })
  each "launch"
  f()
end

if where == "lab" then
  with_containers(function()
    for _, count in ipairs { 1, 3, 10 } do lab(count) end
  end)
else
  local cost = {}
  for _, count in ipairs { 10, 100, 1000 } do cost[count] = fake(count) end
  line("a step among 1000 targets, beside one among 10", cost[1000] / cost[10], "x", 1)
  looks()
end

-- Looks at everything that a formation needs, touches nothing, and says what is missing. In three rounds, each side by
-- side: this machine and the way to the nodes; what the server has and which nodes are there; the nodes and the monitor
-- themselves. What cannot be reached is told once, and the rest is looked at all the same.

local budget = require "pgaf.doctor.budget"
local compare = require "pgaf.doctor.compare"
local connect = require "pgaf.connect"
local incus = require "pgaf.doctor.incus"
local journal = require "pgaf.drill.journal"
local machine = require "pgaf.doctor.machine"
local monitor = require "pgaf.doctor.monitor"
local names_of = require "pgaf.names"
local node = require "pgaf.doctor.node"
local program = require "pgafrun.program"
local providers = require "pgaf.provider"
local remotes = require "pgaf.incus.remotes"
local sheet = require "pgaf.doctor.sheet"
local task = require "pgafrun.task"
local tuning = require "pgaf.drill.tuning"

local doctor = {}

local LIMIT = 20

local function script(name) return ("pgafrun -i %s %s"):format(program.inventory or "INVENTORY", name) end

-- Which formation it is about, nobody said: what a remote is worth, its own inventory tells.
local function look_at_remotes(page)
  local all = remotes.load()
  page:ok(("the Incus client's remotes here: %s (default: %s), from %s"):format(table.concat(all:names(), ", "),
    all.default, all.folder))
  local ok, problem = pcall(require("pgaf.incus.client").open, all:server())
  if ok then return page:ok(("remote %s answers"):format(all.default)) end
  task.check()
  page:unknown(("remote %s does not answer: %s"):format(all.default, tostring(problem):match "^[^\n]*"),
    "nothing to do for formations on other remotes: pgafrun -i INVENTORY doctor looks at the one that is used")
end

local function look_at_journals(page, inventory)
  local open = journal.open_runs(inventory)
  for _, run in ipairs(open) do
    page:problem("a drill was not put back: " .. run:describe(), script "restore")
  end
  if #open == 0 then page:ok "no drill is waiting to be put back" end
end

local function look_at_local(page, provider)
  provider:check()
  page:ok(("PostgreSQL %d with pg_auto_failover is in %s, the nodes' folders in %s"):format(provider:postgres_major(),
    provider.bindir, provider.root))
end

---@class pgaf.doctor.Examination
---@field inventory pgaf.Inventory
---@field provider pgaf.Provider
---@field reach pgaf.Reach
---@field rto number
---@field nodes pgaf.Node[] the monitor first
---@field facts table<string, pgaf.doctor.NodeFacts>

local function failed(findings, check)
  for _, finding in ipairs(findings) do
    if finding.check == check and finding.missing then return finding end
  end
end

local function first_round(self)
  local inventory, provider = self.inventory, self.provider
  local checks = machine.checks()
  checks[#checks + 1] = provider.kind == "incus" and incus.server_check(provider) or {
    about = "local provider", check = "server", limit = LIMIT,
    look = function(page) look_at_local(page, provider) end,
  }
  checks[#checks + 1] = {
    about = "formation", check = "drills", limit = LIMIT, look = function(page) look_at_journals(page, inventory) end,
  }
  return sheet.fill(checks)
end

local function second_round(self)
  local checks = self.provider.kind == "incus" and incus.checks(self.provider) or {}
  for _, one in ipairs(self.nodes) do
    self.facts[one.name] = {}
    checks[#checks + 1] = node.status_check(one, self.facts[one.name])
  end
  return sheet.fill(checks)
end

-- Nodes that are not there yet are no problem where none is.
local function look_at_absent(page, self)
  local absent = {}
  for _, one in ipairs(self.nodes) do
    if self.facts[one.name].status == "absent" then absent[#absent + 1] = one.name end
  end
  if #absent == #self.nodes then
    page:ok(("none of its %d nodes exists yet: %s makes them"):format(#absent, script "postgres_ha"))
  elseif #absent > 0 then
    page:problem(("%s %s not exist"):format(table.concat(absent, ", "), #absent == 1 and "does" or "do"),
      script "postgres_ha")
  end
end

local function third_round(self)
  local checks = {
    { about = "formation", check = "nodes", limit = LIMIT, look = function(page) look_at_absent(page, self) end },
  }
  if self.facts[self.nodes[1].name].status == "running" then
    checks[#checks + 1] = monitor.check(self.inventory, self.reach, self.rto)
  else
    checks[#checks + 1] = {
      about = "formation", check = "timers", limit = LIMIT,
      look = function(page)
        budget.look(page, self.inventory, tuning.seconds(self.inventory.timers), "the inventory", self.rto)
      end,
    }
  end
  for i, one in ipairs(self.nodes) do
    if self.facts[one.name].status == "running" then
      local more = node.checks(one, self.facts[one.name], { monitor = i == 1, reach = self.reach })
      table.move(more, 1, #more, #checks + 1, checks)
    end
  end
  return sheet.fill(checks)
end

local function comparison(self)
  local names = names_of(self.inventory.nodes)
  return sheet.fill { {
    about = "formation", check = "differences", limit = LIMIT,
    look = function(page) compare.nodes(page, self.inventory.monitor.name, names, self.facts) end,
  } }
end

local function out_of_reach(self)
  return sheet.fill { {
    about = "formation", check = "nodes", limit = LIMIT,
    look = function(page)
      page:unknown "the nodes were not looked at, because their server cannot be"
      budget.look(page, self.inventory, tuning.seconds(self.inventory.timers), "the inventory", self.rto)
    end,
  } }
end

local function append(findings, more) table.move(more, 1, #more, #findings + 1, findings) end

---This machine alone.
---@return pgaf.doctor.Finding[]
function doctor.examine_machine()
  local checks = machine.checks()
  checks[#checks + 1] = { about = "incus", check = "remotes", limit = LIMIT, look = look_at_remotes }
  return sheet.fill(checks)
end

---This machine and a formation, whatever there is of it.
---@param inventory pgaf.Inventory
---@param rto number seconds that clients may be unable to write
---@return pgaf.doctor.Finding[]
function doctor.examine(inventory, rto)
  local background <close> = task.group { name = "provider" }
  local provider <close> = providers.open(inventory, background)
  local reach <close> = connect.open(provider, inventory)
  local self = { inventory = inventory, provider = provider, reach = reach, rto = rto, facts = {}, nodes = {} }
  for i, entry in ipairs { inventory.monitor, table.unpack(inventory.nodes) } do
    self.nodes[i] = provider:node(entry.name)
  end
  local findings = first_round(self)
  if provider.kind == "incus" and failed(findings, "server") then
    append(findings, out_of_reach(self))
    return findings
  end
  append(findings, second_round(self))
  append(findings, third_round(self))
  append(findings, comparison(self))
  background:cancel()
  return findings
end

return doctor

-- A container of its own for a test, under a formation's name of its own; what an earlier run left is deleted first.
--
--     local container = dofile "tests/live/lib/container.lua"
--     local group <close> = task.group()
--     local box <close> = container.new(group, "pgaf-live-resources")

local facts = require "pgaf.facts"
local provider = require "pgaf.provider"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local container = {}

---@class Container
---@field name string
---@field node pgaf.Node
---@field target table as plays have them
local Container = {}
Container.__index = Container

---@param group pgafrun.Group
---@param formation string
---@return Container to be closed
function container.new(group, formation)
  local self = setmetatable({ name = formation .. "-1" }, Container)
  self.place = provider.open({
    formation = formation, domain = "lxd", postgres = { version = 15 },
    provider = { kind = "incus", image = "debian/12", profiles = { "default" }, nic = "eth0", ready_timeout = 120 },
    monitor = { name = formation .. "-monitor" }, nodes = { { name = self.name } },
  }, group)
  self:delete()
  self.node = self.place:node(self.name)
  self.node:launch()
  self.target = { name = self.name, node = self.node, facts = facts.new(self.node, 5432) }
  return self
end

function Container:delete()
  task.shield(120, function()
    for _, one in ipairs(self.place:nodes()) do one:delete() end
  end)
end

function Container:__close()
  self:delete()
  self.place:close()
end

---What differs, looked at anew.
---@param made pgaf.Resource
---@return string? difference, table snapshot
function Container:probe(made)
  lu.assertNil(made.problems, table.concat(made.problems or {}, "\n"))
  self.target.facts:forget()
  local snapshot = self.target.facts:fetch(made.reads)
  return made:probe(self.target, snapshot), snapshot
end

---It differs, is applied, is as wanted; and a second run finds nothing to do.
---@param made pgaf.Resource
---@param tell? fun(text: string)
---@return string difference, pgaf.Change[] changes, string done
function Container:converge(made, tell)
  local difference, snapshot = self:probe(made)
  lu.assertIsString(difference, ("%s %s: found as wanted before it was made so"):format(made.kind, made.name))
  local changes = made:changes(self.target, snapshot)
  lu.assertTrue(#changes > 0, difference .. ", and yet no change")
  for _, change in ipairs(changes) do lu.assertTrue(change.before ~= change.after, change.what) end
  local done = made:apply(self.target, difference, snapshot, tell)
  lu.assertIsString(done)
  lu.assertNil((self:probe(made)))
  return difference, changes, done
end

return container

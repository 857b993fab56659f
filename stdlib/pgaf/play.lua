-- Plays: steps declared in the order one would tell them, run in the order they need each other.
--
--   local p = play.new { title = "PostgreSQL", targets = targets }       -- what steps may run on
--   p:step { "packages", on = { "n1", "n2" }, resource = function(target) return package { ... } end }
--   p:step { "cluster", on = { "n1" }, needs = { "packages" }, probe = ..., apply = ... }
--   local result = p:plan():run(report)
--
-- A step is one thing that shall be so, on one or more targets. Its resource is read (`probe`), changed only where it
-- differs (`apply`), and read again. Steps without a way of `needs` between them run side by side.

local plan = require "pgaf.play.plan"

local play = {}

---What a step looks at and changes. Made when the play is declared; values that only exist later (an address, a
---certificate) are functions called by probe.
---@class pgaf.Resource
---@field reads? pgaf.facts.Request[] the facts that probe wants
---@field probe? fun(self, target: pgaf.Target, facts: pgaf.Snapshot): string? what differs; nil: as wanted
---@field apply? fun(self, target: pgaf.Target, difference: string, facts: pgaf.Snapshot): string? what was done, when
---that is more than the difference says
---@field settles? boolean apply waited for the result itself and saw it: no second probe
---@field wait? fun(self, target: pgaf.Target) instead of apply: nothing is changed, it comes to be so by itself
---@field ensure? fun(self, target: pgaf.Target): string? instead of probe and apply: makes it so, verifies it; what it
---changed, or nil

---@class pgaf.Target
---@field name string
---@field node? pgaf.Node
---@field facts? pgaf.Facts

---@class pgaf.Step
---@field [1] string name
---@field on? string[] targets; default all
---@field tags? string[]
---@field needs? (string|pgaf.Need)[] a step's name: the same target's, or, where that step does not run on this target,
---all of its targets
---@field when? fun(target: pgaf.Target): boolean, string? false: skipped, and why
---@field resource? pgaf.Resource|pgaf.Resource[]|fun(target: pgaf.Target): pgaf.Resource|pgaf.Resource[]
---or, instead, the resource's own fields:
---@field reads? fun(target: pgaf.Target): pgaf.facts.Request[]
---@field probe? fun(target: pgaf.Target, facts: pgaf.Snapshot): string?
---@field apply? fun(target: pgaf.Target, difference: string, facts: pgaf.Snapshot): string?
---@field settles? boolean
---@field wait? fun(target: pgaf.Target)
---@field ensure? fun(target: pgaf.Target): string?
---@field timeout? number seconds on one target, default 300

---@class pgaf.Need
---@field [1] string
---@field everywhere boolean

---For `needs`: the step on all of its targets, not just on this one.
---@param name string
---@return pgaf.Need
function play.everywhere(name) return { name, everywhere = true } end

---@class pgaf.Play
local Play = {}
Play.__index = Play

---@param options { title: string, targets: pgaf.Target[] }
---@return pgaf.Play
function play.new(options)
  return setmetatable({ title = options.title, targets = options.targets, steps = {} }, Play)
end

---@param step pgaf.Step
---@return pgaf.Play
function Play:step(step)
  local here = debug.getinfo(2, "Sl")
  step.where = ("%s:%d"):format(here.short_src, here.currentline)
  self.steps[#self.steps + 1] = step
  return self
end

---Builds the graph and checks it whole. Raises kind "plan" with every mistake.
---@return pgaf.Plan
function Play:plan() return plan.build(self) end

return play

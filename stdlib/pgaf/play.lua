-- Plays: steps declared in the order one would tell them, run in the order they need each other.
--
--   local p = play.new { title = "PostgreSQL", targets = targets }       -- what steps may run on
--   p:step { "packages", on = { "n1", "n2" }, resource = function(target) return package { ... } end }
--   p:step { "cluster", on = { "n1" }, needs = { "packages" }, probe = ..., apply = ... }
--   local result = p:plan():run(report)
--
-- A step is one thing that shall be so, on one or more targets. Its resource is read (`probe`), changed only where it
-- differs (`apply`), and read again. Steps without a way of `needs` between them run side by side.

local options = require "pgaf.play.options"
local plan = require "pgaf.play.plan"

local play = {}

---A script's whole work after declaring its steps: lists, checks, or runs them, and returns the exit code.
play.main = options.main
---Declares the options of every play.
play.options = options.declare

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
---@field groups? string[] that group expressions may name

---One line of settings, or a whole text.
---@class pgaf.Change
---@field what string "/etc/hosts"
---@field before string? nil: there was none
---@field after string? nil: it goes away
---@field secret boolean? its texts are not for showing

---@class pgaf.Step
---@field [1] string name
---@field on? string|string[] group expressions, "data:!pgaf-3" (see play/pattern.lua); default all
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
---@field makes_target? boolean it brings the machine itself into being: in check mode, where it would change something,
---nothing else on that target is looked at
---@field learns? boolean later steps use what its probe finds out: it is looked at (and not changed) also when --tags,
-----limit or --start-at leave it out

---@class pgaf.Need
---@field [1] string
---@field everywhere boolean

---For `needs`: the step on all of its targets, not just on this one.
---@param name string
---@return pgaf.Need
function play.everywhere(name) return { name, everywhere = true } end

---@class pgaf.Play
---@field before? fun(mode: pgaf.play.Mode): any called when the plan is right and before anything is touched: looks
---whether all is as it must be, takes the lock; what it returns is closed when the run has ended
---@field after? fun(result: pgaf.play.Result, report: pgaf.play.Report) called when the run has ended, to tell more
local Play = {}
Play.__index = Play

---@param fields { title: string, targets: pgaf.Target[], groups?: table<string, string[]> }
---@return pgaf.Play
function play.new(fields)
  return setmetatable({ title = fields.title, targets = fields.targets, groups = fields.groups, steps = {} }, Play)
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
---@param selection? pgaf.play.Selection
---@return pgaf.Plan
function Play:plan(selection) return plan.build(self, selection) end

return play

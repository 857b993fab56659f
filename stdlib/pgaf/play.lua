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

---All plays that were declared, in this order. --syntax-check looks at the last one when the script does not come to
---its end.
---@type pgaf.Play[]
play.declared = {}

-- Where a step is declared: "scripts/postgres_ha.lua:17".
local function place(level)
  local here = debug.getinfo(level + 1, "Sl")
  return ("%s:%d"):format(here.source:gsub("^@", ""), here.currentline)
end

-- p.step { ... } has the step where the play belongs: nothing could be declared, and so it is raised at once.
local function wants_colon(is_right, name)
  if not is_right then error(("a colon is missing: p:%s { ... }, and not p.%s { ... }"):format(name, name), 3) end
end

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
---@field changes? fun(self, target: pgaf.Target, facts: pgaf.Snapshot): pgaf.Change[] for --diff, after probe found a
---difference
---@field problems? string[] mistakes in its parameters: the plan is refused
---apply, wait and ensure are also given tell(text, fraction?), for the progress of long work; ensure also what its
---probe said, and is called when that was nothing, too: what is as wanted may still have to become ready.

---@class pgaf.Target
---@field name string
---@field node? pgaf.Node
---@field facts? pgaf.Facts
---@field groups? string[] that group expressions may name
---@field vars? table<string, any> its variables in the inventory

---One line of settings, or a whole text.
---@class pgaf.Change
---@field what string "/etc/hosts"
---@field before string? nil: there was none
---@field after string? nil: it goes away
---@field secret boolean? its texts are not for showing

---A step, or a handler.
---@class pgaf.Step
---@field [1] string name
---@field on? string|string[] group expressions, "data:!pgaf-3" (see play/pattern.lua); default all
---@field tags? string|string[] for --tags and --skip-tags; `always` and `never` are special
---@field needs? string|(string|pgaf.Need)[] a step's name: the same target's, or, where that step does not run on this
---target, all of its targets
---@field when? fun(target: pgaf.Target, results: pgaf.play.Results): boolean, string? false: skipped, and why
---@field resource? pgaf.Resource|pgaf.Resource[]|fun(target: pgaf.Target): pgaf.Resource|pgaf.Resource[]
---or, instead, a function; what it returns is the step's result, and then whether (or what) it changed, default true:
---@field run? fun(target: pgaf.Target, results: pgaf.play.Results): any, boolean|string?
---@field check_safe? boolean `run` only reads: it runs in check mode too, and changes nothing
---or, instead, the resource's own fields (a probe may also stand before `run`):
---@field reads? fun(target: pgaf.Target): pgaf.facts.Request[]
---@field probe? fun(target: pgaf.Target, facts: pgaf.Snapshot): string?
---@field apply? fun(target: pgaf.Target, difference: string, facts: pgaf.Snapshot): string?
---@field settles? boolean
---@field wait? fun(target: pgaf.Target)
---@field ensure? fun(target: pgaf.Target): string?
---and how it is done:
---@field timeout? number seconds for one attempt on one target, and for its `when`; default 300
---@field retries? integer how often it is tried again when it fails; with until_ default 3
---@field delay? number seconds between attempts, default 1
---@field until_? fun(value: any, target: pgaf.Target): boolean false: its result is not yet what it shall be
---@field notify? string|string[] handlers that run when it has changed something
---@field serial? integer targets in a batch: the next batch begins when all of the one before have succeeded
---@field max_parallel? integer targets that it may be at work on at the same time
---@field run_once? boolean on the first of its targets only; its result is everybody's
---@field makes_target? boolean it brings the machine itself into being: in check mode, where it would change something,
---nothing else on that target is looked at
---@field learns? boolean later steps use what its probe finds out: it is looked at (and not changed) also when --tags,
-----limit or --start-at leave it out

---Steps under a title; what it says holds for its steps: `on`, `max_parallel` where they do not say it themselves; tags
---and conditions beside their own. `serial`: one batch of targets goes through all of its steps before the next begins.
---@class pgaf.Section
---@field [1] string title
---@field on? string|string[]
---@field tags? string|string[]
---@field when? fun(target: pgaf.Target, results: pgaf.play.Results): boolean, string?
---@field serial? integer
---@field max_parallel? integer
---@class pgaf.Need
---@field [1] string
---@field everywhere? boolean
---@field on? string|string[] group expressions

---For `needs`: the step on all of its targets, not just on this one.
---@param name string
---@return pgaf.Need
function play.everywhere(name) return { name, everywhere = true } end

---For `needs`: the step on these of its targets, whichever this one is.
---@param name string
---@param expression string|string[] group expressions, or targets' names: "monitor", { "monitor", "pg-1" }
---@return pgaf.Need
function play.on(name, expression) return { name, on = expression } end

---@class pgaf.Play
---@field is_partial? boolean not all of its steps have been declared: what is missing is no mistake
---@field given table what play.new was called with
---@field mistakes string[] in what was declared, each with its place: the plan is refused
---@field before? fun(mode: pgaf.play.Mode): any called when the plan is right and before anything is touched: looks
---whether all is as it must be, takes the lock; what it returns is closed when the run has ended, and has its method
---`hold`, if it has one, called before each change
---@field after? fun(result: pgaf.play.Result, report: pgaf.play.Report) called when the run has ended, to tell more
local Play = {}
Play.__index = Play

-- What is no table cannot be kept, and is told with all else that is wrong.
function Play:is_table(value, what, where)
  if type(value) == "table" then return true end
  self.mistakes[#self.mistakes + 1] =
    ('%s: a %s is declared by a table, not by a %s: p:%s { "its name", ... }'):format(where, what, type(value), what)
  return false
end

---@param fields { title: string, targets: pgaf.Target[], groups?: table<string, string[]>, max_fail?: integer }
---groups: names of targets, beside the groups that the targets name themselves; max_fail: when more targets than that
---have failed, nothing new is begun anywhere; default: no limit
---@return pgaf.Play
function play.new(fields)
  if type(fields) ~= "table" then error("play.new wants a table: play.new { title = ..., targets = ... }", 2) end
  local self = setmetatable({
    title = fields.title, targets = fields.targets, groups = fields.groups, max_fail = fields.max_fail, given = fields,
    steps = {}, handlers = {}, sections = {}, mistakes = {}, where = place(2),
  }, Play)
  play.declared[#play.declared + 1] = self
  return self
end

---@param step pgaf.Step
---@return pgaf.Play
function Play:step(step)
  wants_colon(getmetatable(self) == Play, "step")
  local where = place(2)
  if not self:is_table(step, "step", where) then return self end
  step.where = where
  self.steps[#self.steps + 1] = step
  return self
end

---A step that runs where another one has changed something and names it in `notify`: once for each target, after all
---that may notify it have ended. Notified on a target on which it does not run, it runs on all of its own.
---@param handler pgaf.Step
---@return pgaf.Play
function Play:handler(handler)
  wants_colon(getmetatable(self) == Play, "handler")
  local where = place(2)
  if not self:is_table(handler, "handler", where) then return self end
  handler.where, handler.is_handler = where, true
  self.handlers[#self.handlers + 1] = handler
  return self
end

---Begins a part of the play that has a title; its steps are declared with section:step { ... }.
---@param section pgaf.Section
---@return pgaf.Section
function Play:section(section)
  wants_colon(getmetatable(self) == Play, "section")
  local where = place(2)
  -- its steps are looked at all the same
  if not self:is_table(section, "section", where) then section = { tostring(section) } end
  section.where, section.is_section, section.steps = where, true, {}
  self.sections[#self.sections + 1] = section
  local owner = self
  function section.step(this, step)
    wants_colon(this == section, "step")
    local step_where = place(2)
    if not owner:is_table(step, "step", step_where) then return section end
    step.where, step.section, step.part = step_where, section[1], section
    owner.steps[#owner.steps + 1] = step
    section.steps[#section.steps + 1] = step
    return section
  end
  return section
end

---Builds the graph and checks it whole. Raises kind "plan" with every mistake.
---@param selection? pgaf.play.Selection
---@return pgaf.Plan
function Play:plan(selection) return plan.build(self, selection) end

return play

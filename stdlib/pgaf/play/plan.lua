-- The graph of a play: one item for each step on each of its targets, and what it waits for.
--
-- Edges lead from an item to those that wait for it. Where many wait for many (`everywhere`, a batch of `serial`), they
-- all pass through one gate, an item without a step: a thousand targets cost two thousand edges and not a million.

local error = require "pgafrun.error"
local fields = require "pgaf.play.fields"
local order = require "pgaf.play.order"
local pattern = require "pgaf.play.pattern"
local runner = require "pgaf.play.runner"
local select = require "pgaf.play.select"
local suggest = require "pgaf.suggest"
local work = require "pgaf.play.work"

local plan = {}

---@class pgaf.Item one step on one target; or a gate, which has neither and only holds back
---@field step pgaf.Step
---@field target pgaf.Target
---@field work pgaf.play.Work? what is to be done; nil: left out by --tags, --skip-tags, --limit or --start-at
---@field only_looked_at boolean? left out, and looked at for what later steps learn from it
---@field handler boolean? it runs when an item of `notifiers` has changed something
---@field notifiers pgaf.Item[]? on its own target
---@field others pgaf.Item[]? on targets where the handler does not run: one list for all of its items
---@field after pgaf.Item[] what it waits for
---@field before pgaf.Item[]? what needs it
---@field soft pgaf.Item[]? what comes after it, whatever becomes of it
---@field batch_gates pgaf.Item[]? the next batches of `serial`: closed for good when it fails
---@field status pgaf.play.Status
---@field detail string? what was done, or differs, or why it was skipped
---@field value any what a function step returned
---@field changes pgaf.Change[]? with --diff
---@field error any? what it failed with
---@field seconds number
---@field attempt integer? of a step with retries
---@field barred pgaf.Item? the failure that it is skipped for
---@field changed_at number? time.now() when it had changed something, or failed while it may have
---@field stale_before number? when something that it needs had: what was read of the target before is not so any more

---@class pgaf.Plan
---@field title string
---@field steps pgaf.Step[] in the order of declaration, handlers last
---@field items pgaf.Item[] those that are run or looked at, in the order of declaration
---@field all pgaf.Item[] those left out, and the gates, among them
---@field index table<string, { step: pgaf.Step, on: table<string, pgaf.Item>, items: pgaf.Item[] }> by a step's name
---@field targets pgaf.Target[]
---@field names pgaf.play.Names
---@field max_fail integer?
local Plan = {}
Plan.__index = Plan

---@class pgaf.play.Builder
local Builder = {}
Builder.__index = Builder

local function did_you_mean(word, candidates)
  local near = suggest(tostring(word), candidates)
  return near and (", did you mean %q?"):format(near) or ""
end

function Builder:report(step, message, where)
  local what = step.is_handler and "handler" or step.is_section and "section" or step.is_play and "play" or
    "step"
  local text = ("%s: %s %q: %s"):format(where or step.where, what, tostring(step[1]), message)
  if not self.told[text] then self.problems[#self.problems + 1] = text end
  self.told[text] = true
end

function Builder:gate()
  local gate = { after = {}, gate = true, status = "pending" }
  self.all[#self.all + 1] = gate
  return gate
end

local function link(kind, from, to)
  local list = from[kind]
  if not list then
    list = {}
    from[kind] = list
  end
  list[#list + 1] = to
  to.after[#to.after + 1] = from
end

function Builder:add_item(here, target, chosen)
  local item = {
    step = here.step, target = target, after = {}, status = "pending", handler = here.step.is_handler,
  }
  local wanted = chosen and self.chosen.target(target.name)
  item.only_looked_at = not wanted and here.step.learns or nil
  item.is_wanted = wanted or item.only_looked_at
  here.on[target.name] = item
  here.items[#here.items + 1] = item
  self.all[#self.all + 1] = item
end

-- The targets of an expression. Where the play's own targets are not known, no name is misspelt.
function Builder:select(expression)
  local targets, wrong = pattern.select(expression, self.names)
  return targets, self.unsure and {} or wrong
end

-- The one target of a step that runs once: the first that is not left out.
function Builder:once(targets)
  for _, target in ipairs(targets) do
    if self.chosen.target(target.name) then return { target } end
  end
  return { targets[1] }
end

function Builder:add_step(step, position)
  local name = tostring(step[1])
  local other = self.index[name]
  if other then
    return self:report(step, ("a %s of this name is already at %s"):format(
      other.step.is_handler and "handler" or "step", other.step.where))
  end
  local here = { step = step, on = {}, items = {} }
  self.index[name] = here
  local targets, wrong = self.names.targets, {}
  if step.on then targets, wrong = self:select(step.on) end
  for _, problem in ipairs(wrong) do self:report(step, problem) end
  if #targets == 0 and #wrong == 0 and step.on and #step.on > 0 and not self.unsure then
    self:report(step, ("it runs nowhere: no target is in %q"):format(table.concat(step.on, ":")))
  end
  here.targets = step.run_once and #targets > 0 and self:once(targets) or targets
  if step.is_handler then return nil end -- its items come of who notifies it
  local chosen = self.chosen.step(step, position)
  for _, target in ipairs(here.targets) do self:add_item(here, target, chosen) end
  return nil
end

-- ------------------------------------------------------------------------------------------------------------ edges

-- Everybody of a step, as one thing to wait for.
function Builder:everywhere(here)
  if #here.items == 1 then return here.items[1] end
  if not here.gate then
    here.gate = self:gate()
    for _, item in ipairs(here.items) do link("before", item, here.gate) end
  end
  return here.gate
end

-- The step on named targets, for each item of the step that needs it.
function Builder:link_named(step, need, wanted)
  local targets, wrong = self:select(need.on)
  for _, problem in ipairs(wrong) do self:report(step, ("it needs %q: %s"):format(need[1], problem)) end
  local reached = false
  for _, target in ipairs(targets) do
    local one = wanted.on[target.name]
    reached = reached or one ~= nil
    for _, item in ipairs(one and self.index[step[1]].items or {}) do
      if item ~= one then link("before", one, item) end
    end
  end
  if not reached and #wrong == 0 and not self.unsure then
    self:report(step, ("it needs %q where that does not run"):format(need[1]))
  end
end

function Builder:link_need(step, need)
  local name = type(need) == "table" and need[1] or need
  local elsewhere = type(need) == "table"
  local wanted = self.index[name]
  if not wanted then
    return not self.play.is_partial and self:report(step, ("it needs %q, and there is no such step%s"):format(
      name, did_you_mean(name, self.step_names)))
  end
  if wanted.step == step and not elsewhere then return self:report(step, "it needs itself") end
  if #wanted.items == 0 then
    if not wanted.step.is_handler and not self.unsure then
      self:report(step, ("it needs %q, which runs nowhere"):format(name))
    end
    return nil
  end
  if elsewhere and need.on then return self:link_named(step, need, wanted) end
  for _, item in ipairs(self.index[step[1]].items) do
    local same = wanted.on[item.target.name]
    if same and not elsewhere then
      link("before", same, item)
    elseif elsewhere or not wanted.step.is_handler then
      link("before", self:everywhere(wanted), item)
    end
  end
  return nil
end

-- A handler has an item where somebody may notify it.
function Builder:handler_item(handler, target)
  if not handler.on[target.name] then
    self:add_item(handler, target, self:handler_chosen(handler.step))
    handler.on[target.name].notifiers = {}
  end
  return handler.on[target.name]
end

-- What may notify a handler from where that does not run (also of run_once: from all targets but one) notifies it
-- wherever it does: nothing that was notified is lost.
function Builder:link_elsewhere(handler, item)
  if not handler.others then
    handler.others, handler.others_gate = {}, self:gate()
    for _, target in ipairs(handler.targets) do
      local notified = self:handler_item(handler, target)
      notified.others = handler.others
      link("before", handler.others_gate, notified)
    end
  end
  table.insert(handler.others, item)
  link("soft", item, handler.others_gate)
end

-- It waits for all that may notify it.
function Builder:link_notify(step)
  local from = self.index[step[1]]
  for _, name in ipairs(step.notify or {}) do
    local handler = self.index[name]
    if not handler and self.play.is_partial then
      break
    elseif not handler or not handler.step.is_handler then
      self:report(step, ("it notifies %q, and there is no such handler%s"):format(
        name, did_you_mean(name, self.handler_names)))
    else
      local runs_on = {}
      for _, target in ipairs(handler.targets) do runs_on[target.name] = true end
      for _, item in ipairs(from.items) do
        if runs_on[item.target.name] then
          local notified = self:handler_item(handler, item.target)
          table.insert(notified.notifiers, item)
          link("soft", item, notified)
        elseif #handler.targets > 0 then
          self:link_elsewhere(handler, item)
        end
      end
    end
  end
end

-- Handlers run when notified: only their own tags in --skip-tags keep them from it.
function Builder:handler_chosen(step) return select.tagged(step.tags, { "all" }, self.selection.skip_tags) end

-- The items of these steps in batches of so many targets; the second batch waits for the whole first one.
function Builder:link_batches(steps, size)
  local batch_of, gates = {}, {}
  local count = 0
  for _, target in ipairs(self.names.targets) do
    for _, step in ipairs(steps) do
      local here = self.index[step[1]]
      if here and here.step == step and here.on[target.name] then
        batch_of[target.name] = count // size + 1
        count = count + 1
        break
      end
    end
  end
  for batch = 1, (count + size - 1) // size - 1 do gates[batch] = self:gate() end
  for _, step in ipairs(steps) do
    local here = self.index[step[1]]
    for _, item in ipairs(here and here.step == step and here.items or {}) do
      local batch = batch_of[item.target.name]
      if gates[batch - 1] then link("before", gates[batch - 1], item) end
      if gates[batch] then link("batch_gates", item, gates[batch]) end
    end
  end
end

function Builder:link_all()
  for _, step in ipairs(self.steps) do
    if self.index[step[1]] then self:link_notify(step) end
  end
  for _, step in ipairs(self.steps) do
    if self.index[step[1]] then
      for _, need in ipairs(step.needs or {}) do self:link_need(step, need) end
    end
    if step.serial then self:link_batches({ step }, step.serial) end
    step.limiter = step.max_parallel and { max = step.max_parallel } or nil
  end
  for _, section in ipairs(self.play.sections) do
    if section.serial then self:link_batches(section.steps, section.serial) end
  end
end

-- ---------------------------------------------------------------------------------------------------------- building

local function names_of(steps)
  local names = {}
  for i, step in ipairs(steps) do names[i] = tostring(step[1]) end
  return names
end

-- Whether it is run, as far as is known beforehand: a handler only where one that may notify it is.
local function may_run(item)
  if not item.is_wanted or item.only_looked_at then return false end
  if not item.handler then return true end
  for _, list in ipairs { item.notifiers, item.others } do
    for _, from in ipairs(list) do
      if from.is_wanted and not from.only_looked_at then return true end
    end
  end
  return false
end

-- What would only be looked at for the sake of others, of which none is wanted, is left out like them.
function Builder:leave_unneeded()
  local needed, open = {}, {}
  for _, item in ipairs(self.all) do
    if may_run(item) then open[#open + 1] = item end
  end
  while #open > 0 do
    for _, earlier in ipairs(table.remove(open).after) do
      if not needed[earlier] then open[#open + 1] = earlier end
      needed[earlier] = true
    end
  end
  for _, item in ipairs(self.all) do
    if item.only_looked_at and not needed[item] then item.only_looked_at, item.is_wanted = nil, nil end
  end
end

-- A step whose `on` is misspelt, and a handler that nobody notifies, have no items: what is wrong with their resources
-- wherever they might run is told all the same.
function Builder:check_without_items(report)
  for _, step in ipairs(self.steps) do
    local here = self.index[step[1]]
    if here and here.step == step and #here.items == 0 then
      work.check_everywhere(step, #here.targets > 0 and here.targets or self.names.targets, report)
    end
  end
end

-- What each item will do, and the facts that will be asked for.
function Builder:make_work()
  local items = {}
  local function report(step, message, where) self:report(step, message, where) end
  for _, item in ipairs(self.all) do
    if item.is_wanted then
      items[#items + 1] = item
      item.work = work.of(item.step, item.target, report)
      local facts = item.target.facts
      if facts then
        for _, resource in ipairs(item.work.resources) do facts:want(resource.reads) end
      end
    end
  end
  return items
end

---@param play pgaf.Play
---@param selection? pgaf.play.Selection
---@return pgaf.Plan
function plan.build(play, selection)
  local self = setmetatable({
    play = play, selection = selection or {}, problems = { table.unpack(play.mistakes) }, told = {}, all = {},
    index = {}, steps = {},
  }, Builder)
  local function report(step, message, where) self:report(step, message, where) end
  local head = fields.check_play(play, report)
  self.names, self.unsure = pattern.names(head.targets, head.groups), head.unsure
  for _, section in ipairs(play.sections) do fields.check_section(section, report) end
  for i, step in ipairs(play.steps) do self.steps[i] = step end
  for _, handler in ipairs(play.handlers) do self.steps[#self.steps + 1] = handler end
  for _, step in ipairs(self.steps) do
    fields.check(step, report)
    work.check(step, report)
  end
  self.step_names, self.handler_names = names_of(self.steps), names_of(play.handlers)
  -- misspelt options are told alone: they are a mistake of who runs it
  self.chosen = select.compile(self.selection, self.steps, not self.unsure and self.names or nil)
  for i, step in ipairs(self.steps) do self:add_step(step, i) end
  self:link_all()
  for _, cycle in ipairs(order.cycles(self.all)) do
    self:report(cycle.step, "the steps wait for each other: " .. cycle.way)
  end
  if next(self.selection) then self:leave_unneeded() end
  local items = self:make_work()
  self:check_without_items(report)
  if #self.problems > 0 then
    error.raise {
      kind = "plan", problems = self.problems,
      message = "the play cannot be run:\n  " .. table.concat(self.problems, "\n  "),
    }
  end
  return setmetatable({
    title = head.title, steps = self.steps, sections = play.sections, items = items, all = self.all,
    index = self.index, targets = head.targets, names = self.names, max_fail = head.max_fail,
  }, Plan)
end

---Whether it is run, as far as is known beforehand: not what is only looked at, nor a handler that nobody notifies.
---@param item pgaf.Item
---@return boolean
function Plan.may_run(_, item) return may_run(item) end

---@return string[] in the order of declaration, handlers last
function Plan:step_names() return names_of(self.steps) end

---Runs it. Raises only when the run itself was interrupted: what failed is in the result.
---@param report pgaf.play.Report
---@param mode? pgaf.play.Mode
---@return pgaf.play.Result
function Plan:run(report, mode) return runner.run(self, report, mode) end

return plan

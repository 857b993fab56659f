-- A drill, step by step; scripts/failover_drill.lua is the runbook that calls the steps in order.
--
-- Order is the safety: everything that can be refused is refused before the journal is opened; what is about to be
-- broken is on disk before it is broken; and from then on, whatever happens (Ctrl-C, an error, a time limit), what was
-- broken is put back out of reach of cancellation before the drill ends.

local throw = error
local error = require "pgafrun.error"
local names_of = require "pgaf.names"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local audit = require "pgaf.drill.audit"
local baseline = require "pgaf.drill.baseline"
local connect = require "pgaf.connect"
local failure = require "pgaf.failure"
local fault = require "pgaf.drill.fault"
local journal = require "pgaf.drill.journal"
local judge = require "pgaf.drill.judge"
local personas = require "pgaf.drill.personas"
local phases = require "pgaf.drill.phases"
local prediction = require "pgaf.drill.prediction"
local put_back = require "pgaf.drill.put_back"
local record = require "pgaf.drill.record"
local results = require "pgaf.drill.result"
local sentinel = require "pgaf.drill.sentinel"
local series = require "pgaf.drill.series"
local state = require "pgaf.autofailover.state"
local timeline = require "pgaf.drill.timeline"
local undo = require "pgaf.drill.undo"
local watch = require "pgaf.autofailover.watch"
local workload = require "pgaf.drill.workload"

-- A fail-over that has not come so long after its worst case and the budget will not come.
local HOPELESS_SECONDS = 30
local JOURNAL_SECONDS = 30
local CLOSE_SECONDS = 10
-- For the first write of each client.
local PEACE_SECONDS = 30
-- For a formation that was not whole in time: it may have been a matter of seconds.
local LAST_CHANCE_SECONDS = 60
-- For the request to stop a node, which is never given up half-way: then nobody would know what it did.
local FAULT_SECONDS = 120

local PROMOTE_SQL = "select pgautofailover.perform_promotion($1, $2)"

---@class pgaf.DrillOptions
---@field fault pgaf.Fault
---@field budget number seconds clients may be unable to write
---@field force boolean run although the budget is impossible
---@field writers integer
---@field interval number seconds between two writes of a client
---@field repair_timeout number seconds for putting everything back
---@field steady? number seconds of undisturbed writing before the fault
---@field fail_on_regression? boolean a gap that is slower than its history fails the drill
---@field phase_budgets? table<string, number> seconds, by the keys of pgaf.drill.phases
---@field say fun(text: string) progress, one line

---@class pgaf.Drill: pgaf.DrillContext
---@field result table what is reported; see report.lua
---@field monitor pgaf.Node
---@field primary pgaf.Node of before the fault
---@field standbys pgaf.Node[] of before the fault
local Drill = {}
Drill.__index = Drill

local drill = {}

local function refuse_open_run(inventory)
  local open = journal.open_runs(inventory)[1]
  if not open then return end
  error.raise {
    kind = "open-run", operation = "drill",
    message = "an earlier drill of this formation was not put back: " .. open:describe(),
    reasons = { "an earlier drill was not put back: " .. open:describe() },
    hint = "pgafrun scripts/restore.lua puts it back",
  }
end

--- Opens the provider and takes the formation's lock. Raises when something is missing or somebody else works on it.
---@param provider pgaf.Provider
---@param inventory table
---@param options pgaf.DrillOptions
---@return pgaf.Drill to be closed
function drill.open(provider, inventory, options)
  fault.check(options.fault, provider, inventory)
  local self = setmetatable({ provider = provider, inventory = inventory, options = options }, Drill)
  self.result = results.blank(inventory, options.fault, options.budget)
  self.result.options, self.result.fail_on_regression = results.options(options), options.fail_on_regression
  provider:check()
  self.lock = provider:lock("drill " .. options.fault.name)
  self.reach = connect.open(provider, inventory)
  refuse_open_run(inventory)
  return self
end

--- Reads the formation; raises kind "unhealthy" unless it is whole.
function Drill:read_baseline()
  self.baseline = baseline.read(self, self.options.say)
  self.monitor = self.provider:node(self.inventory.monitor.name)
  self.primary = self.provider:node(self.baseline.primary)
  self.standbys = {}
  for i, name in ipairs(self.baseline.standbys) do self.standbys[i] = self.provider:node(name) end
  local victim = self.options.fault.victim
  self.victim = victim and victim(self) or self.baseline.primary
  self.result.roles.before = { primary = self.baseline.primary, standbys = self.baseline.standbys }
  self.result.timers = self.baseline.timers
  self.result.synchronous_commit = self.baseline.synchronous_commit
  self.result.settings = results.settings(self.baseline)
end

--- Raises kind "unsupported" when the fault's file finds that this formation cannot be drilled so. Only looks.
function Drill:check_possible()
  local wanted = self.options.fault
  local reason = wanted.possible and wanted.possible(self)
  if not reason then return end
  error.raise {
    kind = "unsupported", operation = "fault " .. wanted.name,
    message = ("fault %s cannot be done here: %s"):format(wanted.name, reason),
    hint = "nothing was touched",
  }
end

--- Names of nodes.
---@param nodes pgaf.Node[]
---@return string[]
function Drill:names(nodes) return names_of(nodes) end

--- Computes what a fail-over can take with the settings of now; raises kind "impossible-budget", with the arithmetic,
--- when one is wanted and the budget is below its best case.
function Drill:check_budget()
  local b = self.baseline
  local p = prediction.compute {
    timers = b.timers, standbys = #b.standbys, silent = self.provider.kind ~= "local",
    wal_retrieve_retry_interval = b.wal_retrieve_retry_interval, connect_timeout = connect.CONNECT_TIMEOUT,
  }
  self.prediction = p
  local wanted = self.options.fault
  self.result.budget = wanted.longest_gap or self.options.budget
  if wanted.promotion ~= "must" or wanted.planned then return end
  self.result.prediction = p
  if self.options.budget >= p.best or self.options.force then return end
  local arithmetic = prediction.arithmetic(p)
  local reasons = { ("a budget of %g s cannot be met with the monitor's settings; nothing was touched"):format(
    self.options.budget) }
  table.move(arithmetic, 1, #arithmetic, 2, reasons)
  error.raise {
    kind = "impossible-budget", operation = "drill", reasons = reasons, message = table.concat(reasons, "\n  "),
    hint = "raise --rto, or lower the timers in the inventory; --force runs the drill all the same",
  }
end

--- The drill's group ends with f; what f broke is put back, out of reach of cancellation, if f did not do it itself.
---@param f fun()
function Drill:attempt(f)
  task.check()
  self.journal = task.shield(JOURNAL_SECONDS, journal.begin, self.inventory, {
    primary = self.baseline.primary, fault = self.options.fault.name,
  })
  self.result.run = self.journal.run
  local ok, problem = failure.pcall(function()
    local group <close> = task.group { name = "drill" }
    self.group = group
    f()
    group:cancel()
  end)
  self.group = nil
  if not ok then self:put_back_after(problem) end
end

function Drill:put_back_after(problem)
  local cancelled = not pcall(task.check)
  local late = error.is(problem, "timeout", "not-whole")
  self.result.interrupted = cancelled
  if not self.journal.closed then
    self.options.say(cancelled and "interrupted: putting everything back" or
      "the drill cannot go on, putting everything back: " .. tostring(problem))
  end
  local seconds = late and LAST_CHANCE_SECONDS or self.options.repair_timeout
  local restored, trouble = pcall(task.shield, seconds + 1, function() self:put_back(seconds) end)
  if not restored then self.result.put_back_problem = tostring(trouble) end
  if cancelled then return end
  -- What could not be put back may have lost writes all the same: the survivor can tell.
  self:audit()
  if not error.is(problem) then throw(problem, 0) end
  self.result.failure = tostring(problem)
  self.result.failure_kind = late and "late" or "tool"
end

--- Puts back what the journal has as broken, waits until the formation is whole, drops the table. Safe to repeat.
---@param seconds? number default the repair's
function Drill:put_back(seconds)
  if self.journal.closed then return end
  local formation = put_back.run(self, self.journal, {
    timeout = seconds or self.options.repair_timeout, outcome = self.result.interrupted and "interrupted" or "put back",
    on_trouble = function(node, text) self.options.say(node .. ": " .. text) end,
    before_drop = function()
      if not self.result.interrupted then self:audit() end
    end,
  })
  -- back at snapshots the roles are those of before
  self:keep_roles(formation)
end

-- What a client feels is counted from a write of it that succeeded.
local function wait_until_all_write(self)
  for _ = 1, PEACE_SECONDS * 20 do
    local writing = 0
    for _, writer in ipairs(self.workload.writers) do
      if self.workload.ledger:acknowledged_since(writer, self.steady_from) then writing = writing + 1 end
    end
    if writing == #self.workload.writers then return end
    task.sleep(0.05)
  end
  error.raise {
    kind = "unhealthy", operation = "drill", cause = self.workload.last_refusal,
    message = ("not every client could write within %d s before the fault: nothing was broken"):format(PEACE_SECONDS),
  }
end

--- Starts clients and observers, and lets the clients write in peace for a while.
---@param seconds number
function Drill:start_observing(seconds)
  self.timeline = timeline.new(function(entry) self:tell(entry) end)
  self.workload = workload.new(self.reach, self.journal.opened.table_name, {
    writers = self.options.writers, interval = self.options.interval,
  })
  do
    local connection <close> = self.reach:primary("drill")
    self.workload:create_table(connection)
  end
  self.timeline:expect(self.victim, self.baseline.primary, self.baseline.formation)
  watch.start(self.group, function() return self.reach:monitor("drill watch") end, self.inventory.formation_id,
    self.timeline:sink())
  self:follow_provider()
  self:watch_victim_die()
  self.workload:start(self.group)
  self.personas = personas.start(self.group, self)
  self.steady_from = time.now()
  task.sleep(seconds)
  wait_until_all_write(self)
end

-- Well before the fault: what watches must have begun to watch. That it could not is no reason to end the drill.
function Drill:watch_victim_die()
  local victim = self.victim
  local opened, wait_dead = pcall(function() return self.provider:node(victim):watch_death() end)
  task.check()
  if not opened then return self.timeline:note("provider", tostring(wait_dead), victim) end
  self.group:spawn_named("watch " .. victim .. " die", function()
    local ok, at = pcall(wait_dead)
    task.check()
    if not ok then
      self.timeline:note("provider", tostring(at), victim)
    elseif self.timeline:at "noticed" then
      -- a fault that is not its death: it ended later, because it had to give way
      self.timeline:note("node", "its server ended", victim, at)
    elseif self.timeline:at "fault_sent" then
      self.timeline:mark("dead", victim, at)
    end
  end)
end

function Drill:follow_provider()
  local stream = self.provider:events()
  if not stream then return end
  self.group:spawn_named("provider events", function()
    local _ <close> = setmetatable({}, { __close = function() stream:close() end })
    while true do
      local event = stream:next(60)
      if event and event.node then self.timeline:note("provider", event.action, event.node, event.at) end
    end
  end)
end

-- Before the first fault: those who may take over are looked at closely, and what clients feel is counted from here.
local function begin_fault(self)
  self.victim_host = self.primary.hostname
  if self.options.fault.promotion ~= "never" then
    for _, node in ipairs(self.standbys) do
      sentinel.start(self.group, self.reach, node.name, self.workload, self.timeline)
    end
    self.workload:expect_failover(self.victim_host)
  end
  self.result.victim, self.result.fault_at = self.victim, time.iso()
end

--- Breaks something, having written down how it is put back. The first time starts the clock, before f is called.
---@param node pgaf.Node
---@param undo_name string of pgaf.drill.undo
---@param with? table what that undo needs to know, plain values
---@param f fun(node: pgaf.Node)
---@return pgaf.Breakage
function Drill:breaks(node, undo_name, with, f)
  undo.check(undo_name)
  local first = not self.timeline:at "fault_sent"
  if first then begin_fault(self) end
  local breakage = self.journal:about_to_break(node.name, undo_name, with)
  if first then self.timeline:mark("fault_sent", node.name)
  else self.timeline:note("drill", "the next fault", node.name) end
  task.shield(FAULT_SECONDS, f, node)
  if first then self.timeline:mark("fault_done", node.name)
  else self.timeline:note("drill", "it is done", node.name) end
  return breakage
end

--- Ends the whole node at once, without warning.
---@param node pgaf.Node
---@return pgaf.Breakage
function Drill:kills(node)
  return self:breaks(node, "start", nil, function() node:stop { force = true } end)
end

--- Puts one of them back before the others.
---@param breakage pgaf.Breakage
function Drill:mends(breakage)
  self.timeline:note("drill", "putting it back", breakage.node)
  undo.perform(breakage, self.provider:node(breakage.node))
  self.journal:undone(breakage)
end

--- Lets the formation be for a while, and the clients write.
---@param seconds number
function Drill:observe(seconds) task.sleep(seconds) end

--- What the fault's file expects did not come to be: the drill fails, and says so.
---@param expectation string "no node is promoted while the monitor is away"
function Drill:broken(expectation)
  self.timeline:note("drill", "NOT AS EXPECTED: " .. expectation)
  table.insert(self.result.broken, expectation)
end

--- Is this node's server a standby, as it says itself?
---@param node pgaf.Node
---@return boolean
function Drill:is_in_recovery(node)
  local connection <close> = self.reach:node(node.name, "drill")
  return connection:query("select pg_is_in_recovery() as standby").rows[1].standby
end

--- The primary as the monitor has it now.
---@return pgaf.Node
function Drill:current_primary()
  local connection <close> = self.reach:monitor("drill")
  return self.provider:node(state.primary(state.read(connection, self.inventory.formation_id)).name)
end

--- Waits until the formation is whole, in the middle of a fault.
function Drill:wait_whole()
  put_back.wait_whole(self, {}, { timeout = self.options.repair_timeout, on_trouble = self:troubles() })
end

--- Has the monitor chosen another primary since the fault?
---@return boolean
function Drill:was_promoted() return self.timeline:at "assigned" ~= nil end

--- Asks the monitor for a planned change of the primary.
---@param name string
function Drill:promote(name)
  local connection <close> = self.reach:monitor("drill switchover")
  connection:query(PROMOTE_SQL, { self.inventory.formation_id, name }, { timeout = 60, mutates = true })
end

-- Where no fail-over is waited for: what the slowest client felt, also when it still waits.
function Drill:measure_outage()
  local sent, now = self.timeline:at "fault_sent", time.now()
  for _, writer in ipairs(self.workload.writers) do
    local gap = self.workload.ledger:longest_silence(writer, sent, now, true)
    if not self.result.gap or gap.seconds > self.result.gap.seconds then
      self.result.gap, self.result.slowest_client = gap, writer
    end
  end
  self.result.waited = now - sent
end

function Drill:troubles()
  return function(name, text) self.options.say(name .. ": " .. text) end
end

--- Does what the fault's file says, and waits for what it expects.
function Drill:run_fault()
  local fault_of = self.options.fault
  fault_of.run(self)
  if fault_of.promotion == "must" and not self.result.gap then return self:wait_for_clients() end
  local seconds = fault_of.observe or 0
  if type(seconds) == "function" then seconds = seconds(self) end
  self:observe(seconds)
end

--- Waits until every client has had a write acknowledged by another node.
---@param more? number seconds beyond what a fail-over may take
function Drill:wait_for_clients(more)
  local limit = math.max(self.options.budget, self.prediction.worst) + HOPELESS_SECONDS + (more or 0)
  local sent = self.timeline:at("fault_sent")
  local back = self.workload:wait_back(limit)
  self.result.waited = time.now() - sent
  if back then
    local gap, writer = self.workload:worst_gap(sent, self.victim_host)
    self.result.gap, self.result.slowest_client = gap, writer
    self.timeline:mark("first_ack", nil, gap.to)
  else
    self.timeline:note("drill", ("no write was acknowledged within %.0f s"):format(limit))
  end
end

--- Puts back what is broken, and waits until the formation is whole and replication synchronous.
function Drill:bring_back()
  self.timeline:mark("start_sent", self.victim)
  local formation, since = put_back.repair(self, self.journal, {
    timeout = self.options.repair_timeout, on_trouble = self:troubles(), once = true,
    on_undone = function() self.timeline:mark("started", self.victim) end,
    on_read = function(read) self.timeline:look(read) end,
  })
  self.timeline:mark("whole", nil, since)
  self:keep_roles(formation)
  self.result.roles.failed_over = self.result.roles.after
  if self.options.fault.promotion ~= "must" then self:wait_for_a_write() end
end

-- The end of the last standstill is seen too.
function Drill:wait_for_a_write()
  local after = time.now()
  for _ = 1, LAST_CHANCE_SECONDS * 10 do
    local settled = 0
    for _, writer in ipairs(self.workload.writers) do
      if self.workload.ledger:acknowledged_since(writer, after) then settled = settled + 1 end
    end
    if settled == #self.workload.writers then break end
    task.sleep(0.1)
  end
  self:measure_outage()
end

function Drill:keep_roles(formation)
  local primary = state.primary(formation).name
  self.result.roles.after = { primary = primary, standbys = names_of(formation.nodes, primary) }
end

--- Stops the clients and looks every write up, on every node.
function Drill:look_writes_up()
  self.workload:stop()
  self.personas:stop()
  self:audit()
end

-- Once, while the drill's table is there. The clients have stopped.
function Drill:audit()
  if self.result.audit or not self.workload or self.workload.ledger.count == 0 then return end
  local ok, found = pcall(audit.run, self, self.workload)
  task.check()
  if ok then self.result.audit = found else self.result.audit_problem = tostring(found) end
end

local DEADLOCK_DETECTED = "40P01"

--- Gives the primary's role back to the node that had it.
function Drill:switch_back()
  local wanted = self.baseline.primary
  if self.result.roles.after.primary == wanted then return end
  self.options.say("switching back to " .. wanted)
  local connection <close> = self.reach:monitor("drill switch-back")
  for attempt = 1, 3 do
    local ok, problem = pcall(connection.query, connection, PROMOTE_SQL, { self.inventory.formation_id, wanted },
      { timeout = 30, mutates = true })
    if ok then break end
    if attempt == 3 or not error.is(problem, "postgres", DEADLOCK_DETECTED) then throw(problem, 0) end
  end
  self:keep_roles(put_back.wait_whole(self, {}, {
    timeout = self.options.repair_timeout, on_trouble = function() end,
  }))
  self.result.switched_back = self.result.roles.after.primary == wanted
end

-- ------------------------------------------------------------------------------------------------------- the result

local function percentile(sorted, p)
  return #sorted > 0 and sorted[math.max(1, math.ceil(#sorted * p))] or nil
end

-- A row is made while its write is under way; and one more may have been made without anybody hearing of it.
local function compare_with_rows(r, interval)
  local by_rows = r.audit and r.audit.data_gap
  if not by_rows then return end
  r.outage.by_rows, r.outage.allowed = by_rows, interval + r.outage.writes_took
  r.outage.agrees = math.abs(by_rows - r.outage.seconds) <= r.outage.allowed
end

local function measure(self)
  local r, marks, book = self.result, self.timeline.marks, self.workload.ledger
  r.writes = book:tally()
  r.writes.connection_attempts_failed = self.workload.attempts
  local budgets = self.options.phase_budgets or {}
  r.promoted = marks.assigned ~= nil
  r.phases = phases.split(marks, {
    timers = self.baseline.timers, wal_retrieve_retry_interval = self.baseline.wal_retrieve_retry_interval,
    connect_timeout = connect.CONNECT_TIMEOUT, prediction = self.prediction, budgets = budgets,
    no_failover = self.options.fault.promotion ~= "must" and not r.promoted,
  })
  r.budgets_not_seen = phases.not_seen(budgets, r.phases)
  local sent = marks.fault_sent and marks.fault_sent.at
  if not sent then return end
  local before = book:latencies(self.steady_from, sent)
  r.latency_before = { median = percentile(before, 0.5), p99 = percentile(before, 0.99), writes = #before }
  local function since_fault(mark) return marks[mark] and marks[mark].at - sent end
  r.seconds = { promoted = since_fault("promoted"), writable = since_fault("writable"),
    monitor = since_fault("presumed_gone"), first_ack = since_fault("first_ack"), whole = since_fault("whole") }
  r.recoveries = phases.personas(self.personas:silences(sent), budgets)
  r.personas = self.personas:result(self.victim_host, sent,
    marks.assigned and self.timeline:chosen_again(self.baseline.primary, marks.assigned.at))
  local open, close = marks.presumed_gone or marks.writable, marks.synchronous
  if open and close then
    r.async = { seconds = close.at - open.at, acknowledged = book:acknowledged_between(open.at, close.at) }
  end
  r.outage = r.promoted and book:outage(sent) or nil
  if r.outage then compare_with_rows(r, self.options.interval) end
  if r.gap and self.options.fault.promotion == "must" then
    for _, writer in ipairs(self.workload.writers) do
      local silence = book:longest_silence(writer, r.gap.to, math.huge)
      if silence and (not r.later_silence or silence.seconds > r.later_silence.seconds) then
        r.later_silence = silence
      end
    end
  end
end

--- The verdict, with everything that was measured in `result`.
---@return pgaf.Verdict
function Drill:judge()
  if self.timeline then
    measure(self)
    self.result.timeline = self.timeline:export()
    local zero = self.timeline:at "fault_sent" or self.steady_from
    self.result.zero, self.result.series = zero, series.writes(self.workload.ledger, zero)
    self.result.lanes = series.lanes(self.timeline, self.steady_from, time.now(), zero)
  end
  self.result.ended = time.iso()
  self.result.history = results.look_back(self.result, self.inventory)
  self.result.verdict = judge.drill(self.result)
  if self.journal then record.keep(self) end
  return self.result.verdict
end

--- A line for each thing that happens, relative to the fault.
function Drill:tell(entry)
  local sent = self.timeline and self.timeline:at("fault_sent")
  local clock = sent and ("%+8.3f s"):format(entry.at - sent) or "          "
  self.options.say(("%s  %-8s %-12s %s"):format(clock, entry.source, entry.node or "", entry.text))
end

--- Idempotent, and done whole also after Ctrl-C.
function Drill:close()
  task.shield(CLOSE_SECONDS, function()
    if self.reach then self.reach:close() end
    if self.lock then self.lock:close() end
    self.lock, self.reach = nil, nil
    self.provider:close()
  end)
end
Drill.__close = Drill.close

return drill

-- How long a fail-over can take with the settings the formation has now: best and worst case, term by term, each
-- with the setting that owns it. A budget below the best case cannot be met by any luck.
--
-- The model, after pg_auto_failover's group state machine: the monitor gives a silent primary up when its last report
-- is older than node_considered_unhealthy_timeout AND its health check failed; a node's report each second is what
-- makes it look. Then promotion and primary_demote_timeout run side by side.

local prediction = {}

-- A keeper reports and looks for work each second.
local KEEPER_SECONDS = 1
-- Waiting for the promotion in steps of a second, then a checkpoint: small ones take a tenth.
local PROMOTE_BEST, PROMOTE_WORST = 1.0, 2.5
-- From the goal wait_primary to a transaction that may write.
local OPEN_BEST, OPEN_WORST = 0.02, 0.5
-- With more standbys than one: all report their LSN, the best is chosen.
local ELECTION_BEST, ELECTION_WORST = 0.5, 4.0

---@class pgaf.PredictionTerm
---@field what string
---@field best number seconds
---@field worst number seconds
---@field setting string the setting that owns it, with its value; or what else decides

---@class pgaf.Prediction
---@field best number
---@field worst number
---@field terms pgaf.PredictionTerm[]

-- The rounds of health checks start late by this part of a time-out, when attempts of the round before lasted long.
local ROUND_DELAY = 0.3

local function show(name, seconds) return ("%s = %g s"):format(name, seconds) end

-- Until a health check has failed in all its attempts. `silent`: the host answers nothing, not even with a reset, so
-- that every attempt may last its whole timeout.
local function health_check(timers, silent)
  local attempts = timers.health_check_max_retries + 1
  local pauses = timers.health_check_max_retries * timers.health_check_retry_delay
  -- A container that is gone may still be answered for (host unreachable): the best case is a quick refusal.
  local worst = timers.health_check_period + pauses
  if silent then worst = worst + (attempts + ROUND_DELAY) * timers.health_check_timeout end
  return pauses, worst
end

local function detection(timers, silent)
  local check_best, check_worst = health_check(timers, silent)
  local unhealthy = timers.node_considered_unhealthy_timeout
  local best = math.max(unhealthy - KEEPER_SECONDS, check_best)
  local worst = math.max(unhealthy, check_worst) + KEEPER_SECONDS
  local setting
  if check_worst > unhealthy then
    setting = ("health check: period %g s, %d attempts of %g s, %g s apart"):format(timers.health_check_period,
      timers.health_check_max_retries + 1, timers.health_check_timeout, timers.health_check_retry_delay)
  else
    setting = show("node_considered_unhealthy_timeout", unhealthy)
  end
  return { what = "the monitor notices", best = best, worst = worst, setting = setting }
end

-- Promotion and the wait for a silent primary to be presumed gone run side by side: the longer one counts.
local function takeover(timers, retry_interval)
  local demote = timers.primary_demote_timeout
  -- A standby that just waits for more WAL sees the request to promote itself only after this.
  local promote_worst = PROMOTE_WORST + retry_interval
  local term = { what = "promotion; the old primary is presumed gone" }
  term.best = math.max(PROMOTE_BEST, demote)
  term.worst = math.max(promote_worst, demote) + KEEPER_SECONDS
  term.setting = demote > PROMOTE_BEST and show("primary_demote_timeout", demote)
    or show("wal_retrieve_retry_interval", retry_interval)
  return term
end

---@class pgaf.PredictionInput
---@field timers table<string, number> seconds, as pgaf.autofailover.state reads them
---@field standbys integer
---@field silent boolean the dead host sends no reset
---@field wal_retrieve_retry_interval? number seconds, default 5
---@field connect_timeout number seconds a client spends on a dead host

---@param input pgaf.PredictionInput
---@return pgaf.Prediction
function prediction.compute(input)
  local terms = { detection(input.timers, input.silent) }
  if input.standbys > 1 then
    terms[#terms + 1] = {
      what = "the standbys' choice", best = ELECTION_BEST, worst = ELECTION_WORST,
      setting = ("%d standbys report their LSN"):format(input.standbys),
    }
  end
  terms[#terms + 1] = takeover(input.timers, input.wal_retrieve_retry_interval or 5)
  terms[#terms + 1] = {
    what = "writing is opened", best = OPEN_BEST, worst = OPEN_WORST, setting = "pg_autoctl reloads PostgreSQL",
  }
  terms[#terms + 1] = {
    what = "clients reconnect", best = 0, worst = input.connect_timeout + 0.1,
    setting = show("the clients' connect_timeout", input.connect_timeout),
  }
  local sum = { best = 0, worst = 0, terms = terms }
  for _, term in ipairs(terms) do
    sum.best, sum.worst = sum.best + term.best, sum.worst + term.worst
  end
  return sum
end

--- The sum as people write it: one line a term.
---@param p pgaf.Prediction
---@return string[]
function prediction.arithmetic(p)
  local lines = {}
  for i, term in ipairs(p.terms) do
    lines[i] = ("%6.1f .. %5.1f s  %-44s %s"):format(term.best, term.worst, term.what, term.setting)
  end
  lines[#lines + 1] = ("%6.1f .. %5.1f s  in all"):format(p.best, p.worst)
  return lines
end

return prediction

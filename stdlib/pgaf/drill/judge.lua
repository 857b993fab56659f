-- From what a drill found to its verdict and exit code. The gravest finding decides; all are told.

local error = require "pgafrun.error"

local judge = {}

judge.PASSED = 0
judge.UNHEALTHY = 1
judge.TOO_SLOW = 2
judge.MISSING = 3
judge.LOST = 4
judge.NOT_PUT_BACK = 5
judge.USAGE = 64
judge.INTERRUPTED = 130

---@class pgaf.Verdict
---@field code integer
---@field name string
---@field reasons string[]

local NAMES = {
  [0] = "PASSED", [1] = "UNHEALTHY BASELINE", [2] = "FAILED", [3] = "NOT POSSIBLE", [4] = "DATA LOST",
  [5] = "NOT PUT BACK", [64] = "USAGE", [130] = "INTERRUPTED",
}

local function verdict(code, reasons) return { code = code, name = NAMES[code], reasons = reasons } end

--- A verdict without reasons, for what is made of several.
---@param code integer
---@return pgaf.Verdict
function judge.named(code) return verdict(code, {}) end

local function first_ids(ids)
  local shown = table.concat(ids, ", ", 1, math.min(#ids, 10))
  return #ids > 10 and shown .. ", ..." or shown
end

-- What the fault's file expects beside speed.
local function hypothesis_findings(r, reasons)
  local broken = r.broken or {}
  for _, expectation in ipairs(broken) do reasons[#reasons + 1] = "not as expected: " .. expectation end
  if r.promotion ~= "never" or not r.promoted then return #broken > 0 end
  reasons[#reasons + 1] = "another node was promoted, which this fault must not lead to"
  return true
end

local function phase_findings(r, reasons)
  local before = #reasons
  for _, list in ipairs { r.phases or {}, r.recoveries or {} } do
    for _, phase in ipairs(list) do
      if phase.over then
        local together = phase.unseen and #phase.unseen > 0
          and (" (with what nobody saw apart from it: %s)"):format(table.concat(phase.unseen, ", ")) or ""
        reasons[#reasons + 1] = ("%s: %s, its budget is %g s; decided by: %s"):format(phase.name .. together,
          phase.recovered == false and ("not back after %.2f s"):format(phase.seconds)
          or ("%.2f s"):format(phase.seconds), phase.budget, phase.setting)
      end
    end
  end
  return #reasons > before
end

local function split_findings(r, reasons)
  local ids = r.personas and r.personas.split_brain or {}
  if #ids == 0 then return false end
  reasons[#reasons + 1] = ("split brain: the old primary acknowledged %d writes after another node had: %s"):format(
    #ids, first_ids(ids))
  return true
end

local function speed_findings(r, reasons)
  local slow = false
  if r.may_stop then return false end
  if not r.gap then
    slow = true
    reasons[#reasons + 1] = ("no client could write again within %.0f s"):format(r.waited)
  elseif r.gap.seconds > r.budget then
    slow = true
    reasons[#reasons + 1] = ("clients could not write for %.2f s, the budget is %g s"):format(r.gap.seconds, r.budget)
  end
  local silence = r.later_silence
  if silence and silence.seconds > r.budget then
    slow = true
    reasons[#reasons + 1] = ("after the fail-over writes stood still again for %.2f s"):format(silence.seconds)
  end
  return slow
end

-- Said whenever it is so; a failure only where that was asked for.
local function history_findings(r, reasons)
  if not (r.history and r.history.slower) then return false end
  reasons[#reasons + 1] = r.history.sentence
  return r.fail_on_regression or false
end

local function loss_findings(r, reasons)
  local a = r.audit
  if not a then
    if r.audit_problem then
      reasons[#reasons + 1] = "the writes could not be looked up: " .. r.audit_problem
    end
    return false
  end
  local lost = #a.lost > 0
  if lost then
    reasons[#reasons + 1] = ("%d acknowledged writes are lost: %s"):format(#a.lost, first_ids(a.lost))
  end
  for node, other in pairs(a.nodes) do
    if not other.differs then
      reasons[#reasons + 1] = ("%s could not be looked at: %s"):format(node, other.problem)
    elseif #other.differs > 0 then
      lost = true
      reasons[#reasons + 1] = ("%s differs from the primary in %d rows%s: %s"):format(node, #other.differs,
        other.problem and " (" .. other.problem .. ")" or "", first_ids(other.differs))
    end
  end
  return lost
end

local function untrue_findings(r, reasons)
  local before = #reasons
  local kinds = { ghosts = "refused writes are there", duplicates = "writes are there twice",
    strangers = "rows are there that nobody wrote" }
  for _, kind in ipairs { "ghosts", "duplicates", "strangers" } do
    local ids = r.audit and r.audit[kind] or {}
    if #ids > 0 then reasons[#reasons + 1] = ("%d %s: %s"):format(#ids, kinds[kind], first_ids(ids)) end
  end
  return #reasons > before
end

---@class pgaf.Findings
---@field budget number seconds
---@field promotion? "must"|"never"|"may" what the fault's file expects
---@field promoted? boolean
---@field personas? pgaf.PersonasResult
---@field phases? pgaf.Phase[]
---@field recoveries? pgaf.PersonaPhase[]
---@field broken? string[] expectations that the fault's own steps found broken
---@field may_stop? boolean clients may be without service until all is put back
---@field waited number how long a write was waited for
---@field gap pgaf.Gap? what the client that felt it longest saw
---@field later_silence pgaf.Gap? the longest standstill after that
---@field history pgaf.history.Comparison? with earlier drills
---@field fail_on_regression boolean? one that is slower than them has failed
---@field audit pgaf.AuditResult?
---@field audit_problem string?
---@field put_back_problem string?
---@field interrupted boolean?
---@field failure string? the drill could not go on
---@field failure_kind "late"|"tool"|nil late: the formation was not whole in time, but is now

-- A drill whose writes were not looked up on every node has proven nothing.
local function is_proven(r)
  if not r.audit then return false end
  for _, other in pairs(r.audit.nodes) do
    if not other.differs then return false end
  end
  return true
end

local function decide(r, lost, failed)
  if r.interrupted then return r.put_back_problem and judge.NOT_PUT_BACK or judge.INTERRUPTED end
  if lost then return judge.LOST end
  if r.put_back_problem then return judge.NOT_PUT_BACK end
  if r.failure then return r.failure_kind == "late" and judge.TOO_SLOW or judge.MISSING end
  return (failed or not is_proven(r)) and judge.TOO_SLOW or judge.PASSED
end

--- The verdict on a drill that was begun.
---@param r pgaf.Findings
---@return pgaf.Verdict
function judge.drill(r)
  local reasons = {}
  if r.put_back_problem then reasons[#reasons + 1] = "could not be put back: " .. r.put_back_problem end
  if r.interrupted then
    reasons[#reasons + 1] = "interrupted before its end"
    return verdict(decide(r), reasons)
  end
  if r.failure and r.failure ~= r.put_back_problem then reasons[#reasons + 1] = r.failure end
  local lost = loss_findings(r, reasons)
  local untrue = untrue_findings(r, reasons)
  -- A drill that could not go on may have ended before any client could be back.
  local slow = (r.gap or not r.failure) and speed_findings(r, reasons)
  slow = hypothesis_findings(r, reasons) or slow
  slow = phase_findings(r, reasons) or slow
  slow = split_findings(r, reasons) or slow
  slow = history_findings(r, reasons) or slow
  return verdict(decide(r, lost, untrue or slow), reasons)
end

local REFUSALS = {
  unhealthy = judge.UNHEALTHY, ["open-run"] = judge.UNHEALTHY, ["impossible-budget"] = judge.TOO_SLOW,
  usage = judge.USAGE, inventory = judge.USAGE,
}

--- The verdict on a drill that was refused before it touched anything.
---@param problem any
---@return pgaf.Verdict
function judge.refusal(problem)
  local known = error.is(problem)
  return verdict(known and REFUSALS[problem.kind] or judge.MISSING, known and problem.reasons or { tostring(problem) })
end

return judge

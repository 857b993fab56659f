-- What a drill found, for people: one screen, the verdict first. Plain text; colour only where it is asked for.

local report = {}

local COLOURS = { pass = "\27[1;32m", fail = "\27[1;31m", dim = "\27[2m", off = "\27[0m" }

local function painter(colour)
  return function(name, text) return colour and COLOURS[name] .. text .. COLOURS.off or text end
end

local function verdict_lines(r, paint, lines)
  local v = r.verdict
  local headline = v.name
  if r.gap and v.code ~= 130 then
    headline = ("%s  clients could not write for %.2f s (budget %g s)"):format(v.name, r.gap.seconds, r.budget)
  end
  lines[#lines + 1] = paint(v.code == 0 and "pass" or "fail", headline)
  -- The first line of each; the rest is in the result's file.
  for _, reason in ipairs(v.reasons) do lines[#lines + 1] = "  " .. reason:match "^[^\n]*" end
end

-- The formation's part of what clients felt: the rest is how they connect again.
local function outage_line(outage)
  local rows = outage.by_rows and ("; by the rows' own times %.3f s"):format(outage.by_rows) or ""
  if outage.agrees == false then
    rows = rows .. (": THE TWO DO NOT AGREE (%.0f ms allowed)"):format(outage.allowed * 1000)
  end
  return ("nobody could write %.3f s%s"):format(outage.seconds, rows)
end

local function speed_lines(r, lines)
  local s = r.seconds or {}
  local function seconds(value) return value and ("%.2f s"):format(value) or "never" end
  if r.seconds and not r.interrupted and r.promotion and r.promotion ~= "must" and not r.promoted then
    lines[#lines + 1] = ("since the fault   nobody was promoted; whole %s"):format(seconds(s.whole))
  elseif r.seconds and not r.interrupted then
    local back = (s.first_ack or r.promotion == "must") and ("clients back %s, "):format(seconds(s.first_ack)) or ""
    lines[#lines + 1] = ("since the fault   promoted %s, writable %s, %swhole %s"):format(
      seconds(s.promoted), seconds(s.writable), back, seconds(s.whole))
  end
  if r.outage and not r.interrupted then lines[#lines + 1] = outage_line(r.outage) end
  if r.prediction and r.gap then
    local inside = r.gap.seconds >= r.prediction.best - 0.5 and r.gap.seconds <= r.prediction.worst
    lines[#lines + 1] = ("predicted         %.1f .. %.1f s, observed %.2f s%s"):format(r.prediction.best,
      r.prediction.worst, r.gap.seconds, inside and "" or ": the prediction was wrong")
  end
end

-- A column that is there when somebody gave a budget.
local function budget_column(r, paint)
  local width = 0
  local function text(phase) return phase.budget and (" of %g s"):format(phase.budget) or "" end
  for _, list in ipairs { r.phases or {}, r.recoveries or {} } do
    for _, phase in ipairs(list) do width = math.max(width, #text(phase)) end
  end
  return function(phase)
    return paint(phase.over and "fail" or "dim", text(phase) .. (" "):rep(width - #text(phase)))
  end
end

local function history_lines(r, lines)
  local h = r.history
  if not h or h.n == 0 then return end
  lines[#lines + 1] = ("earlier runs      %d, median %.2f s, longest %.2f s%s"):format(h.n, h.median, h.max,
    h.limit and (", slower is above %.2f s"):format(h.limit) or "")
end

local function phase_lines(r, paint, lines)
  if not r.phases or #r.phases == 0 or r.promotion and r.promotion ~= "must" and not r.promoted then return end
  lines[#lines + 1] = ""
  local outage_ended, budget_text = false, budget_column(r, paint)
  for _, phase in ipairs(r.phases) do
    if r.gap and not phase.outage and not outage_ended then
      outage_ended = true
      lines[#lines + 1] = paint("dim", "  -- clients write again --")
    end
    local missed = #phase.unseen > 0 and ("  (unseen: %s%s)"):format(phase.unseen[1],
      #phase.unseen > 1 and " and " .. #phase.unseen - 1 .. " more" or "") or ""
    lines[#lines + 1] = ("  %-26s %8.3f s%s   %s%s"):format(
      phase.name, phase.seconds, budget_text(phase), paint("dim", phase.setting), missed)
  end
end

-- Where nobody felt anything, there is nothing to tell.
local function recovery_lines(r, paint, lines)
  local told, budget_text = {}, budget_column(r, paint)
  for _, phase in ipairs(r.recoveries or {}) do
    if phase.seconds > 0 or phase.budget then
      told[#told + 1] = ("  %-26s %s%s   %s"):format(phase.name,
        phase.recovered and ("%8.3f s"):format(phase.seconds) or "     never", budget_text(phase),
        paint("dim", phase.setting))
    end
  end
  if #told > 0 then lines[#lines + 1] = paint("dim", "  -- without what it wants, each on its own --") end
  table.move(told, 1, #told, #lines + 1, lines)
  for _, key in ipairs(r.budgets_not_seen or {}) do
    lines[#lines + 1] = ("  no phase %s was seen: its budget was not judged"):format(key)
  end
end

local function write_lines(r, lines)
  local w, a = r.writes, r.audit
  if not w then return end
  lines[#lines + 1] = ("writes            %d acknowledged, %d refused, %d unknown"):format(
    w.acknowledged, w.refused, w.unknown)
  if a then
    lines[#lines + 1] = ("looked up         %d lost, %d ghosts, %d duplicates; of %d unknown %d are there"):format(
      #a.lost, #a.ghosts, #a.duplicates, a.unknown_present + a.unknown_absent, a.unknown_present)
  end
  if r.async then
    lines[#lines + 1] = ("not replicated    %d writes acknowledged by one node alone, for %.2f s"):format(
      r.async.acknowledged, r.async.seconds)
  end
  if r.later_silence and r.later_silence.seconds > 1 then
    lines[#lines + 1] = ("later standstill  %.2f s"):format(r.later_silence.seconds)
  end
end

local function persona_lines(r, lines)
  local p = r.personas
  if not p then return end
  lines[#lines + 1] = ("readers           %d reads, longest without %.2f s, %d went back in time"):format(
    p.reads, p.longest_unread, #p.went_back)
  if p.pinned.last then
    lines[#lines + 1] = ("the old primary   acknowledged its last write %.2f s after the fault"):format(p.pinned.last)
  end
  if p.two_at_once then
    lines[#lines + 1] = ("two nodes said    that they take writes, %.2f .. %.2f s after the fault: %s"):format(
      p.two_at_once.first, p.two_at_once.last, table.concat(p.two_at_once.nodes, " and "))
  end
end

local function role_lines(r, lines)
  local before, after = r.roles and r.roles.before, r.roles and r.roles.after
  if not before then return end
  local path = { before.primary }
  if r.roles.failed_over then path[2] = r.roles.failed_over.primary end
  if after and after.primary ~= path[#path] then path[#path + 1] = after.primary end
  lines[#lines + 1] = "primary           " .. table.concat(path, " -> ")
  if r.run then lines[#lines + 1] = ("run               %s"):format(r.run) end
end

--- The lines of the report.
---@param result table
---@param options { colour: boolean }
---@return string[]
function report.lines(result, options)
  local lines, paint = {}, painter(options.colour)
  verdict_lines(result, paint, lines)
  speed_lines(result, lines)
  history_lines(result, lines)
  local before = #lines
  phase_lines(result, paint, lines)
  recovery_lines(result, paint, lines)
  if #lines > before then lines[#lines + 1] = "" end
  write_lines(result, lines)
  persona_lines(result, lines)
  role_lines(result, lines)
  return lines
end

return report

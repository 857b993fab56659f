-- An examination for people: a block for each thing that was looked at, a line for each finding, and under it what
-- mends it.

local report = {}

local COLOURS = { ok = "\27[32m", warning = "\27[33m", problem = "\27[1;31m", unknown = "\27[35m" }
local DIM, OFF = "\27[2m", "\27[0m"

local function by_subject(findings)
  local subjects, found = {}, {}
  for _, finding in ipairs(findings) do
    if not found[finding.about] then
      found[finding.about] = {}
      subjects[#subjects + 1] = finding.about
    end
    table.insert(found[finding.about], finding)
  end
  return subjects, found
end

local function summary(findings)
  local counts = { ok = 0, warning = 0, problem = 0, unknown = 0 }
  for _, finding in ipairs(findings) do counts[finding.status] = counts[finding.status] + 1 end
  local function count(n, one, many) return ("%d %s"):format(n, n == 1 and one or many) end
  local parts = {}
  if counts.problem > 0 then parts[#parts + 1] = count(counts.problem, "problem", "problems") end
  if counts.warning > 0 then parts[#parts + 1] = count(counts.warning, "warning", "warnings") end
  if counts.unknown > 0 then parts[#parts + 1] = ("%d unknown"):format(counts.unknown) end
  parts[#parts + 1] = ("%d ok"):format(counts.ok)
  return table.concat(parts, ", ")
end

---@param findings pgaf.doctor.Finding[]
---@param options { colour: boolean, quiet?: boolean } quiet: leave out what is well
---@return string[]
function report.lines(findings, options)
  local lines, subjects, found = {}, by_subject(findings)
  local function paint(colour, text) return options.colour and colour .. text .. OFF or text end
  for _, subject in ipairs(subjects) do
    local block = {}
    for _, finding in ipairs(found[subject]) do
      if not (options.quiet and finding.status == "ok") then
        block[#block + 1] = ("  %s %-12s %s"):format(
          paint(COLOURS[finding.status], ("%-8s"):format(finding.status)), finding.check, finding.text)
        if finding.mend then block[#block + 1] = (" "):rep(24) .. paint(DIM, "-> " .. finding.mend) end
      end
    end
    if #block > 0 then
      lines[#lines + 1] = subject
      table.move(block, 1, #block, #lines + 1, lines)
    end
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = summary(findings)
  return lines
end

return report

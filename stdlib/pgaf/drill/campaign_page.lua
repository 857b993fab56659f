-- A campaign as one HTML file: a row for each fault, a row for each run with a link to its own report. Drawn here and
-- not by a script, as there is nothing in it to look into.

local fs = require "pgafrun.fs"
local program = require "pgafrun.program"
local sorted_keys = require "pgaf.sorted_keys"

local page = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function escaped(text) return (tostring(text):gsub('[&<>"]', ENTITIES)) end

local function style()
  for _, root in ipairs(program.roots) do
    local path = root .. "/stdlib/pgaf/drill/page/page.css"
    if fs.stat(path) then return fs.read(path) end
  end
  return ""
end

-- "2025-03-01 12:34" of an ISO time; all are in UTC.
local function minute(time) return time and time:sub(1, 16):gsub("T", " ") or "" end

local function seconds(value) return value and ("%.2f s"):format(value) or "" end

local function values_of(gap)
  local list = {}
  for i, value in ipairs(gap.values) do list[i] = ("%.2f"):format(value) end
  return table.concat(list, ", ")
end

local function verdicts_of(row)
  local told = {}
  for i, name in ipairs(sorted_keys(row.verdicts)) do told[i] = ("%s %d"):format(name, row.verdicts[name]) end
  return table.concat(told, ", ")
end

-- A column whose head begins with ">" has numbers; a table in a cell holds markup.
local function put_table(parts, head, rows)
  local function put(tag, cells)
    parts[#parts + 1] = "<tr>"
    for i, value in ipairs(cells) do
      local class = head[i]:sub(1, 1) == ">" and ' class="number"' or ""
      local text = type(value) == "table" and value[1] or escaped(value)
      parts[#parts + 1] = ("<%s%s>%s</%s>"):format(tag, class, text, tag)
    end
    parts[#parts + 1] = "</tr>\n"
  end
  local names = {}
  for i, name in ipairs(head) do names[i] = name:gsub("^>", "") end
  parts[#parts + 1] = '<div class="scroll"><table><thead>'
  put("th", names)
  parts[#parts + 1] = "</thead><tbody>\n"
  for _, cells in ipairs(rows) do put("td", cells) end
  parts[#parts + 1] = "</tbody></table></div>\n"
end

local function put_faults(parts, result)
  local rows = {}
  for i, row in ipairs(result.faults) do
    rows[i] = { row.fault, tostring(row.n), verdicts_of(row), seconds(row.gap.median), seconds(row.gap.p95),
      seconds(row.gap.max), row.lost and tostring(row.lost) or "unknown", values_of(row.gap) }
  end
  parts[#parts + 1] = "<section><h2>Faults: how long clients could not write</h2>\n"
  put_table(parts, { "fault", ">n", "verdicts", ">median", ">95 %", ">longest", ">lost writes", "all, in s" }, rows)
  parts[#parts + 1] = "</section>\n"
end

local function put_runs(parts, result, link)
  local rows = {}
  for i, run in ipairs(result.runs) do
    local name = ("%s %d"):format(run.fault, run.number)
    local href = run.run and link and link(run)
    rows[i] = { href and { ('<a href="%s">%s</a>'):format(escaped(href), escaped(name)) } or name, run.verdict,
      seconds(run.gap), run.lost and tostring(run.lost) or "", (minute(run.started)), table.concat(run.reasons, "; ") }
  end
  parts[#parts + 1] = "<section><h2>Runs, in their order</h2>\n"
  put_table(parts, { "run", "verdict", ">without writes", ">lost", "begun (UTC)", "why" }, rows)
  parts[#parts + 1] = "</section>\n"
end

local function put_left_out(parts, result)
  if #result.left_out == 0 then return end
  local rows = {}
  for i, one in ipairs(result.left_out) do rows[i] = { one.fault, one.why } end
  parts[#parts + 1] = "<section><h2>Left out: they cannot be done here</h2>\n"
  put_table(parts, { "fault", "why" }, rows)
  parts[#parts + 1] = "</section>\n"
end

---@param result table as pgaf.Campaign makes it
---@param link? fun(run: pgaf.campaign.Run): string? where a run's own report is
---@return string html
function page.render(result, link)
  local title = ("%s: campaign on %s"):format(result.verdict.name, result.formation)
  local parts = {
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
    '<meta name="color-scheme" content="light dark">\n',
    ("<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n"):format(escaped(title), style()),
    ('<div class="verdict%s"><h1><span class="name">%s</span> campaign on %s</h1>\n'):format(
      result.verdict.code == 0 and " pass" or "", escaped(result.verdict.name), escaped(result.formation)),
    ('<p class="soft">%d runs, %s to %s UTC%s%s</p></div>\n'):format(#result.runs, escaped((minute(result.started))),
      escaped((minute(result.ended))), result.seed and escaped(", shuffled with seed " .. result.seed) or "",
      result.not_run > 0 and escaped((", %d not come to"):format(result.not_run)) or ""),
  }
  put_faults(parts, result)
  put_runs(parts, result, link)
  put_left_out(parts, result)
  parts[#parts + 1] = "</main>\n</body>\n</html>\n"
  return table.concat(parts)
end

return page

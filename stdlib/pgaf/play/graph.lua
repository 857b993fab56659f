-- The order of a play, for people (text) and for Graphviz (dot): which step comes after which, and why.

local columns = require "pgaf.columns"
local listing = require "pgaf.play.listing"

local graph = {}

-- On which targets another step is needed, where that is said.
local function where(need)
  if type(need) ~= "table" then return nil end
  if need.everywhere then return "everywhere" end
  return "on " .. (type(need.on) == "table" and table.concat(need.on, ", ") or need.on)
end

-- What a step comes after: { step, words } for each need and each step that notifies it.
local function causes(plan, listed)
  local by_name, notifiers = {}, {}
  for _, one in ipairs(listed) do
    by_name[one.step[1]] = one
    for _, handler in ipairs(one.step.notify or {}) do
      notifiers[handler] = notifiers[handler] or {}
      table.insert(notifiers[handler], one.step)
    end
  end
  local function of(step)
    local list = {}
    for _, need in ipairs(step.needs or {}) do
      local name = type(need) == "table" and need[1] or need
      local left_out = not by_name[name]
      if plan.index[name] then
        list[#list + 1] = { step = plan.index[name].step, where = where(need), left_out = left_out }
      end
    end
    for _, from in ipairs(notifiers[step[1]] or {}) do list[#list + 1] = { step = from, notifies = true } end
    return list
  end
  return of
end

-- The longest way to each step. The items have no cycle, and so the steps have hardly one; if so, it ends there.
local function levels(listed, causes_of)
  local level, walking = {}, {}
  local function walk(step)
    if level[step] then return level[step] end
    if walking[step] then return 0 end
    walking[step] = true
    local highest = 0
    for _, cause in ipairs(causes_of(step)) do highest = math.max(highest, walk(cause.step)) end
    level[step] = highest + 1
    return level[step]
  end
  for _, one in ipairs(listed) do walk(one.step) end
  return level
end

local function reason(causes_of_it)
  local after, by = {}, {}
  for _, cause in ipairs(causes_of_it) do
    local place, left_out = cause.where and (" (%s)"):format(cause.where) or "", cause.left_out and " (left out)" or ""
    table.insert(cause.notifies and by or after, cause.step[1] .. place .. left_out)
  end
  local parts = {}
  if #after > 0 then parts[1] = "after " .. table.concat(after, ", ") end
  if #by > 0 then parts[#parts + 1] = "notified by " .. table.concat(by, ", ") end
  return table.concat(parts, "; ")
end

---One line for each step, in the order in which they can begin. Steps of the same number do not wait for each other.
---@param plan pgaf.Plan
---@param write fun(line: string)
function graph.text(plan, write)
  local listed = listing.steps(plan)
  local causes_of = causes(plan, listed)
  local level = levels(listed, causes_of)
  local order = {}
  for i, one in ipairs(listed) do order[i] = { one = one, at = i, level = level[one.step] } end
  table.sort(order, function(a, b)
    if a.level ~= b.level then return a.level < b.level end
    return a.at < b.at
  end)
  local rows = {}
  for i, entry in ipairs(order) do
    local step = entry.one.step
    local batch = step.serial and (" by %d"):format(step.serial) or ""
    rows[i] = {
      ("%3d"):format(entry.level), step[1], listing.place(plan, entry.one.targets) .. batch, reason(causes_of(step)),
    }
  end
  write(("%s: %d steps on %d targets"):format(plan.title, #listed, #plan.targets))
  for _, line in ipairs(columns.lines(rows)) do write(line) end
end

local function quoted(text) return '"' .. text:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"' end

---@param plan pgaf.Plan
---@param write fun(line: string)
function graph.dot(plan, write)
  local listed = listing.steps(plan)
  local causes_of = causes(plan, listed)
  local id, sections, by_section = {}, {}, {}
  for i, one in ipairs(listed) do
    id[one.step] = "s" .. i
    local title = one.step.is_handler and "handlers" or one.step.section or ""
    if not by_section[title] then
      by_section[title] = {}
      sections[#sections + 1] = title
    end
    table.insert(by_section[title], one)
  end
  write(("digraph %s {"):format(quoted(plan.title)))
  write("  rankdir=LR; node [shape=box, style=rounded, fontname=\"sans-serif\"];")
  for i, title in ipairs(sections) do
    if title ~= "" then write(("  subgraph cluster_%d { label=%s;"):format(i, quoted(title))) end
    for _, one in ipairs(by_section[title]) do
      local label = quoted(one.step[1] .. "\n" .. listing.place(plan, one.targets))
      write(("    %s [label=%s%s];"):format(id[one.step], label, one.step.is_handler and ", style=dashed" or ""))
    end
    if title ~= "" then write("  }") end
  end
  for _, one in ipairs(listed) do
    for _, cause in ipairs(causes_of(one.step)) do
      local style = cause.notifies and " [style=dashed, label=notifies]" or
        cause.where and (" [label=%s]"):format(quoted(cause.where)) or ""
      if id[cause.step] then write(("  %s -> %s%s;"):format(id[cause.step], id[one.step], style)) end
    end
  end
  write("}")
end

return graph

-- What a model looks like on a screen: a pure function of the model, the time, the screen's size and what is chosen.
--
-- From the top: the formation and its monitor, the nodes, why the formation is not whole, events (or one node in
-- detail), the keys. Where the columns suffice a node is one line, else two; which of them depends on names and size
-- alone, so that nothing jumps while states change.

local cells = require "pgaf.watch.cells"
local detail = require "pgaf.watch.detail"
local style = require "pgaf.watch.style"
local text = require "pgaf.play.report.text"

-- "prepare_maintenance"
local STATE_COLUMNS = 19
-- "prepare_promotion -> stop_replication", as far as a fail-over goes
local PAIR_COLUMNS = 37
local LONGEST_NAME = 24
-- Below that, nothing is said twice.
local NARROW = 90
-- Where no terminal says where the right margin is.
local PLAIN_COLUMNS = 100
local PROBLEMS_SHOWN = 3
local LEAST_EVENTS = 2

local COLUMNS = {
  { "NODE", "name" }, { "REPORTED", "reported", STATE_COLUMNS }, { "GOAL", "goal", STATE_COLUMNS },
  { "HEALTH", "health", 7 }, { "TLI", "timeline", 7 }, { "LSN", "lsn", 11 }, { "LAG", "lag", 14 },
  { "SYNC", "sync", 9 }, { "NODE IS", "container", 7 },
}

---@class pgaf.watch.Look
---@field columns integer
---@field rows integer
---@field now number time.now()
---@field wall number seconds since the epoch, of the same moment
---@field how "colours"|"plain"|"none"
---@field mark? string shows that something was cut off
---@field sort? string a key of view.SORTS
---@field chosen? string name of a node
---@field detail? boolean
---@field help? boolean

local view = {}

-- ------------------------------------------------------------------------------------------------------------ order

local function by(key)
  return function(a, b)
    local x, y = key(a), key(b)
    if x ~= y then return x < y end
    return a.node.place < b.node.place
  end
end

-- What needs a look comes first: a lag that is not known most of all.
view.SORTS = {
  inventory = by(function(row) return row.node.place end),
  name = by(function(row) return row.node.name end),
  state = by(function(row) return row.node.reported or "" end),
  lag = by(function(row)
    local standing = row.cells.standing
    return standing.leads and 1 or -(standing.lag_bytes or math.huge)
  end),
}
view.SORT_ORDER = { "inventory", "name", "state", "lag" }

---@param model pgaf.watch.Model
---@param now number
---@param sort? string
---@return { node: pgaf.watch.Node, cells: pgaf.watch.Cells }[]
function view.sorted(model, now, sort)
  local found = {}
  for i, node in ipairs(model.nodes) do found[i] = { node = node, cells = cells.of(model, node, now) } end
  table.sort(found, view.SORTS[sort or "inventory"])
  return found
end

-- ------------------------------------------------------------------------------------------------------------ nodes

local function name_columns(model)
  local width = #"NODE"
  for _, node in ipairs(model.nodes) do width = math.max(width, text.width(text.clean(node.name))) end
  return math.min(width, LONGEST_NAME)
end

-- The room between the cells when a node is one line; nil when it does not fit.
local function gap_of(columns, names)
  local width = names
  for i = 2, #COLUMNS do width = width + COLUMNS[i][3] end
  for gap = 2, 1, -1 do
    if width + gap * (#COLUMNS - 1) < columns then return gap end
  end
  return nil
end

-- A light is as wide as its word, not as its column.
local function add_cell(line, piece, columns, look)
  local shown = text.cut(piece[1], columns, look.mark)
  line[#line + 1] = { shown, piece[2] }
  line[#line + 1] = { (" "):rep(columns - text.width(shown)) }
end

local function one_line_table(rows, names, gap, look, lines)
  local function add_line(cell_of)
    local line = {}
    for i, column in ipairs(COLUMNS) do
      if i > 1 then line[#line + 1] = { (" "):rep(gap) } end
      add_cell(line, cell_of(column), column[3] or names, look)
    end
    lines[#lines + 1] = line
  end
  add_line(function(column) return { column[1], "faint" } end)
  for _, row in ipairs(rows) do
    add_line(function(column)
      local piece = row.cells[column[2]]
      local chosen = column[2] == "name" and row.node.name == look.chosen
      return chosen and { piece[1], "chosen" } or piece
    end)
  end
end

local function states_pieces(row)
  local reported, goal = row.cells.reported, row.cells.goal
  if reported[1] == goal[1] and goal[2] ~= "lit" then return { reported } end
  return { reported, { " -> " }, goal }
end

local function second_line(row, look)
  local c = row.cells
  local parts = {
    { { c.container[1], c.container[2] } }, { { "tli " }, c.timeline }, { c.lsn }, { { "lag " }, c.lag },
    c.sync[1] == "primary" and { c.sync } or { { "sync " }, c.sync },
  }
  local function joined(gap)
    local line = { { "  " } }
    for i, part in ipairs(parts) do
      if i > 1 then line[#line + 1] = { gap } end
      for _, piece in ipairs(part) do line[#line + 1] = piece end
    end
    return line
  end
  local line = joined "  "
  return style.width(line) < look.columns and line or joined " "
end

local function two_line_table(rows, names, look, lines)
  -- the states at their usual widest, health, and gaps come first
  names = math.max(4, math.min(names, look.columns - 1 - PAIR_COLUMNS - #"unknown" - 3))
  for _, row in ipairs(rows) do
    local line = {}
    local name = text.cut_middle(row.cells.name[1], names, look.mark)
    add_cell(line, { name, row.node.name == look.chosen and "chosen" or row.cells.name[2] }, names, look)
    line[#line + 1] = { " " }
    local states = states_pieces(row)
    table.move(states, 1, #states, #line + 1, line)
    line[#line + 1] = { (" "):rep(math.max(0, PAIR_COLUMNS - style.width(states)) + 2) }
    line[#line + 1] = row.cells.health
    lines[#lines + 1] = line
    lines[#lines + 1] = second_line(row, look)
  end
end

-- Of more nodes than the screen has room for: those around the chosen one.
local function window(rows, most, chosen)
  if #rows <= most then return rows end
  local at = 1
  for i, row in ipairs(rows) do
    if row.node.name == chosen then at = i end
  end
  local first = math.max(1, math.min(at - most // 2, #rows - most + 1))
  return table.move(rows, first, first + most - 1, 1, {}), #rows - most
end

local function add_nodes(model, look, lines)
  local names = name_columns(model)
  local gap = gap_of(look.columns, names)
  local each = gap and 1 or 2
  -- below: how many there are more, a blank line, the events' title, the keys
  local room = look.rows - #lines - (gap and 1 or 0) - LEAST_EVENTS - 4
  local rows = view.sorted(model, look.now, look.sort)
  local shown, more = window(rows, math.max(1, room // each), look.chosen)
  if gap then
    one_line_table(shown, names, gap, look, lines)
  else
    two_line_table(shown, names, look, lines)
  end
  if more then lines[#lines + 1] = { { ("%d more nodes"):format(more), "faint" } } end
end

-- ------------------------------------------------------------------------------------------------------- around them

local function clock_of(look)
  return function(at) return os.date("%H:%M:%S", math.floor(look.wall - (look.now - at))) end
end

local function verdict(model, look)
  if model.monitor.reached == nil then return { "asking", "faint" } end
  if model.monitor.reached == false then return { "state unknown", "bad" } end
  for _, node in ipairs(model.nodes) do
    if node.reported ~= node.goal then return { "changing", "warn" } end
  end
  local lit = cells.is_lit(model, "whole", look.now)
  if model.is_whole then return { "whole", lit and "lit" or "good" } end
  return { "not whole", "bad" }
end

local function title(model, look)
  local line = { { text.clean(model.formation), "bold" }, { "  " }, verdict(model, look) }
  local leader, word = model:leader(look.now)
  if leader then
    local says = word.read_only and ", %s is promoted, still read-only" or ", writes go to %s"
    line[#line + 1] = { says:format(text.clean(leader.name)) }
  end
  local clock = clock_of(look)(look.now)
  local sync = ("  number_sync_standbys %s"):format(model.number_sync_standbys)
  if model.number_sync_standbys and style.width(line) + #sync + #clock + 2 < look.columns then
    line[#line + 1] = { sync, "faint" }
  end
  line[#line + 1] = { (" "):rep(math.max(2, look.columns - 1 - style.width(line) - #clock)) }
  line[#line + 1] = { clock, "faint" }
  return line
end

local function monitor_line(model, look)
  local monitor = model.monitor
  local line = { { "monitor " }, { text.clean(monitor.name), "bold" }, { "  " } }
  if monitor.reached == nil then
    line[#line + 1] = { "not reached yet", "faint" }
  elseif monitor.reached then
    line[#line + 1] = { "reached", cells.is_lit(monitor, "monitor", look.now) and "lit" or "good" }
  else
    line[#line + 1] = { ("away since %s (%s)"):format(clock_of(look)(monitor.since),
      text.duration(look.now - monitor.since)), "bad" }
  end
  local status = monitor.container
  local how = cells.is_lit(monitor, "container", look.now) and "lit" or status == "running" and "good" or "bad"
  line[#line + 1] = { ", it is " }
  line[#line + 1] = { status or cells.UNKNOWN, status and how or "faint" }
  return line
end

local function add_head(model, look, lines)
  lines[#lines + 1] = title(model, look)
  lines[#lines + 1] = monitor_line(model, look)
  if model.monitor.reached == false then
    lines[#lines + 1] = { { "  " .. text.clean(model.monitor.reason or ""), "warn" } }
    lines[#lines + 1] = { { "  states are its last word; timelines, LSNs and lag are asked of the servers", "faint" } }
  end
  if model.provider.reached == false then
    lines[#lines + 1] = { { ("provider away since %s: %s"):format(clock_of(look)(model.provider.since),
      text.clean(model.provider.reason or "")), "bad" } }
  end
  lines[#lines + 1] = {}
end

local function add_problems(model, look, lines)
  if model.monitor.reached ~= false then
    for i, problem in ipairs(model.problems or {}) do
      if i > PROBLEMS_SHOWN then break end
      lines[#lines + 1] = { { "! ", "bad" }, { text.clean(problem) } }
    end
  end
  for _, node in ipairs(model.nodes) do
    if node.silent then
      lines[#lines + 1] = { { "! ", "warn" }, { ("%s does not answer since %s: %s"):format(text.clean(node.name),
        clock_of(look)(node.silent.since), text.clean(node.silent.reason)) } }
    end
  end
end

local function event_line(event, look)
  local age = look.now - event.at
  local line = { { clock_of(look)(event.at) .. "  ", "faint" } }
  -- the monitor's 'node 1 "pgaf-1" (10.0.0.2:5432)' says the same three times
  local short = text.clean(event.text):gsub('node %d+ "([^"]*)" %([^)]*%)', "%1"):gsub("%s+", " ")
  local about = text.clean(table.concat(event.nodes, ", "))
  local says_it = look.columns < NARROW and event.nodes[1] and short:find(event.nodes[1], 1, true)
  if about ~= "" and not says_it then line[#line + 1] = { about .. "  ", "bold" } end
  line[#line + 1] = { short, age < cells.LIT_SECONDS and "lit" or event.source ~= "monitor" and "warn" or nil }
  return line
end

local function is_about(event, name)
  for _, node in ipairs(event.nodes) do
    if node == name then return true end
  end
  return false
end

-- The last ones, the newest at the bottom. Only those of one node, where one is given.
local function add_events(model, look, lines, room, node)
  local found = {}
  for i = #model.events, 1, -1 do
    local event = model.events[i]
    if #found == room then break end
    if not node or is_about(event, node) then table.insert(found, 1, event) end
  end
  for _, event in ipairs(found) do lines[#lines + 1] = event_line(event, look) end
end

local KEYS = "q quit  s sort: %s  j/k choose  Enter detail  r ask now  ? keys"
local HELP = {
  "q            quit (so does Ctrl-C)",
  "s            sort by: inventory, name, state, lag",
  "j k, arrows  choose a node",
  "Enter        its detail; Enter or Esc: back",
  "r            ask every server now",
  "Ctrl-L       draw everything anew",
  "Ctrl-Z       stop; fg goes on",
}

local function footer(look)
  local line = KEYS:format(look.sort or "inventory")
  if #line >= look.columns then line = "q quit  s sort  j/k  Enter detail  ? keys" end
  return { { line, "faint" } }
end

local function add_rest(model, look, lines)
  local room = look.rows - #lines - 2
  if look.help then
    for i = 1, math.min(#HELP, room) do lines[#lines + 1] = { { HELP[i] } } end
    return
  end
  local node = look.detail and look.chosen and model:node(look.chosen)
  if node then
    for _, line in ipairs(detail.lines(model, node, look.now, clock_of(look))) do
      if #lines < look.rows - 1 then lines[#lines + 1] = line end
    end
    room = look.rows - #lines - 1
  elseif room > 0 then
    lines[#lines + 1] = { { "EVENTS", "faint" } }
  end
  if room > 0 then add_events(model, look, lines, room, node and node.name) end
end

-- -------------------------------------------------------------------------------------------------------------- all

---The screen.
---@param model pgaf.watch.Model
---@param look pgaf.watch.Look
---@return string[] lines as many as there are rows
function view.screen(model, look)
  local lines = {}
  add_head(model, look, lines)
  add_nodes(model, look, lines)
  add_problems(model, look, lines)
  lines[#lines + 1] = {}
  add_rest(model, look, lines)
  for i = #lines, look.rows, -1 do lines[i] = nil end
  for i = #lines + 1, look.rows - 1 do lines[i] = {} end
  lines[look.rows] = footer(look)
  local shown = {}
  for i, line in ipairs(lines) do shown[i] = style.line(line, look.columns - 1, look.how, look.mark) end
  return shown
end

---The nodes and what is wrong, once, for a pipe or a person: everything, however wide.
---@param model pgaf.watch.Model
---@param look pgaf.watch.Look its rows do not matter
---@return string[]
function view.plain(model, look)
  local lines = {}
  local narrow = setmetatable({ columns = math.min(look.columns, PLAIN_COLUMNS) }, { __index = look })
  add_head(model, narrow, lines)
  local names = name_columns(model)
  local rows = view.sorted(model, look.now, look.sort)
  local gap = gap_of(look.columns, names)
  if gap then one_line_table(rows, names, gap, look, lines) else two_line_table(rows, names, look, lines) end
  local before = #lines
  add_problems(model, look, lines)
  if #lines > before then table.insert(lines, before + 1, {}) end
  local shown = {}
  for i, line in ipairs(lines) do shown[i] = style.line(line, math.huge, look.how, look.mark) end
  return shown
end

return view

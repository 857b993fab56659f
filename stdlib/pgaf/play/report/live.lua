-- The moving part of a run on a terminal: one line for each node with what it is at, and one for the whole.

local colour = require "pgaf.play.report.colour"
local locale = require "pgaf.locale"
local order = require "pgaf.play.order"
local text = require "pgaf.play.report.text"
local time = require "pgafrun.time"

-- Rows of the terminal that stay free for what scrolls above.
local FREE_ROWS = 4
local REPAINT_SECONDS = 0.1
local BAR_COLUMNS = 16

---@class pgaf.play.report.Live
---@field screen pgaf.play.report.Screen
---@field colours boolean
---@field symbols table how spinners and bars are drawn
local Live = {}
Live.__index = Live
Live.REPAINT_SECONDS = REPAINT_SECONDS

local UNICODE = {
  spinner = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" },
  full = "█", empty = "░", cut = "…", done = "✓", failed = "✗", waits = "·",
}
local ASCII = {
  spinner = { "|", "/", "-", "\\" }, full = "#", empty = ".", cut = "~", done = "=", failed = "!", waits = " ",
}

---@param options { screen: pgaf.play.report.Screen, colours?: boolean, unicode?: boolean, now?: fun(): number }
---@return pgaf.play.report.Live
function Live.new(options)
  local unicode = options.unicode
  if unicode == nil then unicode = locale.is_utf8() end
  return setmetatable({
    screen = options.screen, colours = options.colours or false, symbols = unicode and UNICODE or ASCII,
    now = options.now or time.now, nodes = {}, tick = 0, active = false,
  }, Live)
end

-- ---------------------------------------------------------------------------------------------------- what is told

---@param plan pgaf.Plan
---@param mode pgaf.play.Mode
function Live:begin(plan, mode)
  self.nodes, self.by_target, self.counts = {}, {}, {}
  self.done, self.total, self.began, self.painted = 0, #plan.items, self.now(), self.now()
  self.check, self.active = mode.check, true
  for _, item in ipairs(plan.items) do
    local node = self.by_target[item.target]
    if not node then
      node = { name = text.clean(item.target.name), items = {}, next = 1, running = {}, open = 0 }
      self.by_target[item.target], self.nodes[#self.nodes + 1] = node, node
    end
    node.items[#node.items + 1], node.open = item, node.open + 1
  end
end

---@param item pgaf.Item
function Live:started(item)
  local node = self.by_target[item.target]
  if node then table.insert(node.running, { item = item, since = self.now() }) end
end

local function entry_of(self, item)
  local node = self.by_target[item.target]
  for i, entry in ipairs(node and node.running or {}) do
    if entry.item == item then return entry, node, i end
  end
  return nil
end

---@param item pgaf.Item
---@param message string
---@param fraction? number
function Live:progress(item, message, fraction)
  local entry = entry_of(self, item)
  if not entry then return end
  entry.message = text.clean(message or "")
  entry.fraction = fraction and math.max(0, math.min(1, fraction))
end

---@param item pgaf.Item
---@param attempt integer the one that failed
function Live:retrying(item, attempt)
  local entry = entry_of(self, item)
  if entry then entry.attempt, entry.message, entry.fraction = attempt + 1, nil, nil end
end

---@param item pgaf.Item
function Live:finished(item)
  local _, running_on, index = entry_of(self, item)
  if index then table.remove(running_on.running, index) end
  local node = self.by_target[item.target]
  if node then node.open = math.max(0, node.open - 1) end
  if node and (item.status == "failed" or item.status == "unreachable") then node.failed = item end
  self.done = self.done + 1
  self.counts[item.status] = (self.counts[item.status] or 0) + 1
end

-- --------------------------------------------------------------------------------------------------------- a frame

-- Pieces { text, meaning }, as far as they fit. Returns the line with its colours, and its width.
local function compose(self, pieces, columns)
  local line, room = {}, columns
  for _, piece in ipairs(pieces) do
    if room <= 0 then break end
    local whole = piece[1]:gsub("%s", " ")
    local shown = text.cut(whole, room, self.symbols.cut)
    room = room - text.width(shown)
    line[#line + 1] = self.colours and colour.paint(shown, piece[2]) or shown
    if shown ~= whole then break end
  end
  return table.concat(line), columns - room
end

local function bar(self, fraction)
  local full = math.floor(fraction * BAR_COLUMNS)
  return self.symbols.full:rep(full) .. self.symbols.empty:rep(BAR_COLUMNS - full)
end

-- How long each step is at it, and how far; the bar and the words of those that tell more come last, where a narrow
-- terminal cuts them off.
local function add_running(self, pieces, node)
  local now = self.now()
  for i, entry in ipairs(node.running) do
    pieces[#pieces + 1] = { (i > 1 and ", " or "") .. text.clean(entry.item.step[1]) }
    if entry.fraction then pieces[#pieces + 1] = { (" %d%%"):format(math.floor(entry.fraction * 100)), "ok" } end
    local attempt = entry.attempt and (" attempt %d"):format(entry.attempt) or ""
    pieces[#pieces + 1] = { (" %s%s"):format(text.duration(now - entry.since), attempt), "faint" }
  end
  for _, entry in ipairs(node.running) do
    if entry.fraction then pieces[#pieces + 1] = { "  " .. bar(self, entry.fraction), "ok" } end
    if entry.message and entry.message ~= "" then pieces[#pieces + 1] = { "  " .. entry.message } end
  end
end

-- The first step that is still to come, and the first thing it waits for.
local function waits_for(node)
  while node.items[node.next] and node.items[node.next].status ~= "pending" do node.next = node.next + 1 end
  local item = node.items[node.next]
  local needed = item and order.holds_back(item)
  return needed and ("waits for %s on %s"):format(needed.step[1], needed.target.name) or "waits"
end

local function node_pieces(self, node, name_columns)
  local symbols = self.symbols
  local name = text.pad(text.cut(node.name, name_columns, symbols.cut), name_columns)
  if #node.running > 0 then
    local frame = symbols.spinner[self.tick % #symbols.spinner + 1]
    local pieces = { { frame .. " ", "changed" }, { name .. "  ", "bold" } }
    add_running(self, pieces, node)
    return pieces
  end
  if node.failed then
    return { { symbols.failed .. " ", "failed" }, { name .. "  " },
      { ("%s in %s"):format(node.failed.status, text.clean(node.failed.step[1])), "failed" } }
  end
  if node.open == 0 then
    return { { symbols.done .. " ", "ok" }, { name .. "  " }, { "done", "faint" } }
  end
  return { { symbols.waits .. " " }, { name .. "  " }, { text.clean(waits_for(node)), "faint" } }
end

local function status_pieces(self)
  local pieces = { { ("  %d of %d"):format(math.min(self.done, self.total), self.total) } }
  for _, status in ipairs { "changed", "would", "deferred", "failed", "unreachable" } do
    local count = self.counts[status]
    if count then pieces[#pieces + 1] = { (", %d %s"):format(count, status), status } end
  end
  pieces[#pieces + 1] = { ", " .. text.duration(self.now() - self.began) }
  return pieces
end

local function at_work_longest(a, b)
  local since_a, since_b = a.running[1].since, b.running[1].since
  if since_a ~= since_b then return since_a < since_b end
  return a.name < b.name
end

-- All nodes; or, where they are too many for the terminal, those that have been at their step for longest, and how
-- many others there are.
local function choose(self, most)
  if #self.nodes <= most then return self.nodes, nil end
  local busy, counts = {}, { waits = 0, done = 0, failed = 0 }
  for _, node in ipairs(self.nodes) do
    if #node.running > 0 then
      busy[#busy + 1] = node
    else
      local how = node.failed and "failed" or node.open == 0 and "done" or "waits"
      counts[how] = counts[how] + 1
    end
  end
  table.sort(busy, at_work_longest)
  local shown = table.move(busy, 1, math.min(#busy, most - 1), 1, {})
  local more = {}
  if #busy > #shown then more[1] = ("%d more nodes at work"):format(#busy - #shown) end
  for _, how in ipairs { "waits", "done", "failed" } do
    local word = how == "waits" and (counts[how] == 1 and "waits" or "wait") or how
    if counts[how] > 0 then more[#more + 1] = ("%d %s"):format(counts[how], word) end
  end
  return shown, "  " .. table.concat(more, ", ")
end

---The lines to paint now, and how wide they are. The last column stays free: a terminal may begin a new line in it.
---@param columns integer
---@param rows integer
---@return string[] lines, integer[] widths
function Live:frame(columns, rows)
  local lines, widths = {}, {}
  local function add(pieces)
    lines[#lines + 1], widths[#widths + 1] = compose(self, pieces, columns - 1)
  end
  local most = rows - FREE_ROWS - 1
  local shown, more = {}, nil
  if most >= 2 then shown, more = choose(self, most) end
  local name_columns = 0
  for _, node in ipairs(shown) do name_columns = math.max(name_columns, text.width(node.name)) end
  name_columns = math.min(name_columns, columns // 3)
  for _, node in ipairs(shown) do add(node_pieces(self, node, name_columns)) end
  if more then add { { more, "faint" } } end
  add(status_pieces(self))
  return lines, widths
end

-- -------------------------------------------------------------------------------------------------------- painting

local function paint(self)
  self.painted = self.now()
  self.screen:paint(self:frame(self.screen:dimensions()))
end

---The time has gone on.
function Live:still_running()
  if not self.active then return end
  self.tick = self.tick + 1
  paint(self)
end

---A permanent line above.
---@param line string
function Live:print(line)
  self.screen:print(line)
  -- nothing is painted during a run that is over before anybody could read it
  if self.active and self.tick > 0 then paint(self) else self.screen.flush() end
end

local function stop(self)
  if self.active then self.screen:clear() end
  self.active = false
end

function Live:interrupted() stop(self) end

function Live:finish() stop(self) end

return Live

-- The terminal, while a model is watched: draws when the model changes (and the clock, once a second), takes keys, fits
-- another size at once, and gives the terminal back whatever ends it.

local keys = require "pgaf.watch.keys"
local locale = require "pgaf.locale"
local once = require "pgaf.watch.once"
local picture = require "pgaf.watch.picture"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local tty = require "pgafrun.tty"
local view = require "pgaf.watch.view"

local STDOUT = 1
local DEFAULT_COLUMNS, DEFAULT_ROWS = 80, 24
-- Between two frames, however much changes: more is not seen, and costs.
local LEAST_SECONDS = 0.03

---@class pgaf.watch.Screen
---@field model pgaf.watch.Model
---@field chosen? string
---@field sort string
local Screen = {}
Screen.__index = Screen

local screen = {}

---@param model pgaf.watch.Model
---@param options? { sort?: string, ascii?: boolean }
---@return pgaf.watch.Screen
function screen.new(model, options)
  options = options or {}
  return setmetatable({
    model = model, sort = options.sort or "inventory", picture = picture.new(), dirty = true,
    wake = task.condition(), mark = options.ascii and "~" or nil, how = once.how(),
  }, Screen)
end

---There is something else to be seen. Does not wait.
function Screen:changed()
  self.dirty = true
  self.wake:notify()
end

-- ------------------------------------------------------------------------------------------------------------- keys

local function choose(self, step)
  local rows = view.sorted(self.model, time.now(), self.sort)
  local at = step > 0 and 0 or #rows + 1
  for i, row in ipairs(rows) do
    if row.node.name == self.chosen then at = i end
  end
  local row = rows[math.max(1, math.min(#rows, at + step))]
  self.chosen = row and row.node.name
end

local function next_sort(self)
  for i, name in ipairs(view.SORT_ORDER) do
    if name == self.sort then
      self.sort = view.SORT_ORDER[i % #view.SORT_ORDER + 1]
      return
    end
  end
end

local function back(self)
  if self.help then
    self.help = false
  elseif self.detail then
    self.detail = false
  else
    self.chosen = nil
  end
end

local ACTIONS = {
  q = function(self) self.quit = true end,
  s = next_sort,
  j = function(self) choose(self, 1) end,
  k = function(self) choose(self, -1) end,
  enter = function(self)
    if not self.chosen then choose(self, 1) end
    self.detail, self.help = not self.detail, false
  end,
  escape = back,
  r = function(self) self.source:refresh() end,
  redraw = function(self) self.picture:forget() end,
  ["?"] = function(self) self.help = not self.help end,
}
ACTIONS.down, ACTIONS.up, ACTIONS.Q = ACTIONS.j, ACTIONS.k, ACTIONS.q

---@param key string as pgaf.watch.keys names it
function Screen:press(key)
  local action = ACTIONS[key]
  if not action then return end
  action(self)
  self:changed()
end

local function take_keys(self, terminal)
  while true do
    local bytes, why = terminal:read()
    if bytes then
      for _, key in ipairs(keys.read(bytes)) do self:press(key) end
    elseif why == "resumed" then
      self.picture:forget()
      self:changed()
    else
      self.quit = true
      self:changed()
      return
    end
  end
end

local function take_sizes(self)
  while true do
    tty.wait_resize()
    self:changed()
  end
end

-- --------------------------------------------------------------------------------------------------------- drawing

---What the screen shall show now.
---@return string[] lines, integer columns, integer rows
function Screen:lines()
  local columns, rows = tty.size(STDOUT)
  columns, rows = columns or DEFAULT_COLUMNS, rows or DEFAULT_ROWS
  return view.screen(self.model, {
    columns = columns, rows = rows, now = time.now(), wall = time.wall(), how = self.how, mark = self.mark,
    sort = self.sort, chosen = self.chosen, detail = self.detail, help = self.help,
  }), columns, rows
end

local function draw(self, terminal)
  self.dirty = false
  local bytes = self.picture:frame(self:lines())
  if bytes then terminal:write(bytes) end
end

-- Until the clock in the corner says something else.
local function to_next_second()
  return 1 - time.wall() % 1 + 0.001
end

local function draw_until_quit(self, terminal)
  while not self.quit do
    draw(self, terminal)
    local drawn = time.now()
    if not self.dirty then self.wake:wait(to_next_second()) end
    if not self.quit then task.sleep(math.max(0, drawn + LEAST_SECONDS - time.now())) end
  end
end

---Takes the terminal and shows the model until somebody quits.
---@param source pgaf.watch.Feed
function Screen:run(source)
  self.source = source
  if not locale.is_utf8() then self.mark = "~" end
  local terminal <close> = tty.raw { enter = picture.ENTER, leave = picture.LEAVE }
  local group <close> = task.group()
  source:start(group)
  group:spawn_named("keys", take_keys, self, terminal)
  group:spawn_named("sizes of the terminal", take_sizes, self)
  draw_until_quit(self, terminal)
  group:cancel()
end

return screen

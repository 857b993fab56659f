-- The moving part of a report: it fits the terminal, replaces itself, leaves nothing behind, and gets along with
-- whatever else writes to the terminal.
local Live = require "pgaf.play.report.live"
local Screen = require "pgaf.play.report.screen"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local test = require "pgaf.test"
local text = require "pgaf.play.report.text"
local lu = test.lu

local T = {}

-- A terminal that knows what the screen uses: line feeds, cursor up, carriage return, erase below, colours. Lines that
-- are too long for a narrower one are broken, as most terminals do.
local function terminal(columns, rows)
  local self = { columns = columns, rows = rows, lines = { "" }, row = 1, column = 0, buffer = {} }
  local function put(data)
    local at = 1
    while at <= #data do
      local number, command, last = data:match("^\27%[([%d;]*)(%a)()", at)
      if command then
        if command == "A" then self.row = math.max(1, self.row - tonumber(number)) end
        if command == "J" then
          for row = #self.lines, self.row, -1 do self.lines[row] = row == self.row and "" or nil end
        end
        at = last
      else
        local c = data:match("^[%z\1-\127\194-\253][\128-\191]*", at)
        at = at + #c
        if c == "\n" then
          self.row, self.column = self.row + 1, 0
          self.lines[self.row] = self.lines[self.row] or ""
        elseif c == "\r" then
          self.column = 0
        else
          self.lines[self.row] = self.lines[self.row] .. c
        end
      end
    end
  end
  self.screen = Screen.new {
    write = function(data) self.buffer[#self.buffer + 1] = data end,
    flush = function()
      put(table.concat(self.buffer))
      self.buffer = {}
    end,
    size = function() return self.columns, self.rows end,
  }
  -- somebody else's line: the buffer goes first, as with the log and with print
  function self.other(line)
    self.screen.flush()
    put(line .. "\n")
  end
  function self.narrow(to)
    local broken = {}
    for _, line in ipairs(self.lines) do
      repeat
        broken[#broken + 1] = line:sub(1, to)
        line = line:sub(to + 1)
      until line == ""
    end
    self.row = self.row + #broken - #self.lines
    self.lines, self.columns = broken, to
  end
  function self.shown()
    local lines = table.move(self.lines, 1, #self.lines, 1, {})
    if lines[#lines] == "" then lines[#lines] = nil end
    return lines
  end
  return self
end

local function items_of(nodes, steps)
  local items = {}
  for _, node in ipairs(nodes) do
    local target, before = { name = node }, nil
    for _, step in ipairs(steps) do
      local item = { step = { step }, target = target, status = "pending", after = { before } }
      items[#items + 1], before = item, item
    end
  end
  return items
end

local function new(columns, rows, items, options)
  local on = terminal(columns, rows)
  local clock = { now = 100 }
  options = options or {}
  local live = Live.new {
    screen = on.screen, unicode = options.unicode or false, colours = options.colours,
    now = function() return clock.now end,
  }
  live:begin({ title = "trial", items = items }, {})
  return live, on, clock
end

local function start(live, item)
  item.status = "running"
  live:started(item)
end

local function finish(live, item, status)
  item.status = status
  live:finished(item)
end

function T.test_each_node_has_a_line_with_its_steps_and_their_time()
  local items = items_of({ "n1", "n2" }, { "packages", "settings" })
  local live, on, clock = new(80, 24, items)
  start(live, items[1])
  clock.now = clock.now + 3.25
  live:still_running()
  lu.assertEquals(on.shown(), { "/ n1  packages 3.2 s", "  n2  waits", "  0 of 4, 3.2 s" })
  finish(live, items[1], "changed")
  start(live, items[3])
  finish(live, items[3], "failed")
  live:still_running()
  lu.assertEquals(on.shown(),
    { "  n1  waits", "! n2  failed in packages", "  2 of 4, 1 changed, 1 failed, 3.2 s" })
end

function T.test_a_node_that_waits_says_for_what()
  local items = items_of({ "n1", "n2" }, { "one" })
  items[2].after = { items[1] }
  local live, on = new(80, 24, items)
  start(live, items[1])
  live:still_running()
  lu.assertEquals(on.shown()[2], "  n2  waits for one on n1")
end

function T.test_a_node_that_waits_for_all_of_a_step_says_for_whom()
  local items = items_of({ "n1", "n2" }, { "one" })
  items[1].status = "ok"
  items[2].after = { { gate = true, status = "pending", after = { items[1], items_of({ "n3" }, { "two" })[1] } } }
  local live, on = new(80, 24, items)
  live:still_running()
  lu.assertEquals(on.shown()[2], "  n2  waits for two on n3")
end

function T.test_progress_shows_as_a_bar()
  local items = items_of({ "n1" }, { "packages" })
  local live, on = new(80, 24, items)
  start(live, items[1])
  live:progress(items[1], "libpq5\n15.6", 0.5)
  live:still_running()
  lu.assertEquals(on.shown()[1], "/ n1  packages 50% 0.0 s  ########........  libpq5 15.6")
  live:progress(items[1], "unpacking", 7)
  live:still_running()
  lu.assertStrContains(on.shown()[1], "packages 100% 0.0 s  ################  unpacking")
  live:progress(items[1], "unpacking")
  live:retrying(items[1], 1)
  live:still_running()
  lu.assertEquals(on.shown()[1], "\\ n1  packages 0.0 s attempt 2")
end

function T.test_permanent_lines_stay_above_and_the_frame_is_there_once()
  local items = items_of({ "n1" }, { "packages" })
  local live, on = new(80, 24, items)
  live:print "before anything was painted"
  start(live, items[1])
  for i = 1, 5 do
    live:still_running()
    live:print("line " .. i)
  end
  lu.assertEquals(on.shown(), {
    "before anything was painted", "line 1", "line 2", "line 3", "line 4", "line 5", "/ n1  packages 0.0 s",
    "  0 of 1, 0.0 s",
  })
  finish(live, items[1], "ok")
  live:finish()
  lu.assertEquals(#on.shown(), 6)
  live:print "recap"
  lu.assertEquals(on.shown()[7], "recap")
end

function T.test_lines_of_others_stay_whole_and_do_not_double_the_frame()
  local items = items_of({ "n1", "n2" }, { "packages" })
  local live, on = new(80, 24, items)
  start(live, items[1])
  live:still_running()
  on.other "warning: somebody else"
  on.other "and again"
  live:still_running()
  live:print "ours"
  local shown = on.shown()
  lu.assertEquals(table.concat(shown, "|", 1, 3), "warning: somebody else|and again|ours")
  lu.assertEquals(#shown, 6)
  live:interrupted()
  lu.assertEquals(#on.shown(), 3)
end

function T.test_the_end_of_the_program_takes_the_frame_away()
  local items = items_of({ "n1" }, { "packages" })
  local live, on = new(80, 24, items)
  start(live, items[1])
  live:still_running()
  lu.assertEquals(#on.shown(), 2)
  on.screen.flush() -- what exit does
  lu.assertEquals(on.shown(), {})
end

function T.test_nothing_is_painted_while_somebody_is_asked()
  local tty, prompt = require "pgafrun.tty", require "pgaf.prompt"
  local items = items_of({ "n1" }, { "packages" })
  local live, on = new(80, 24, items)
  start(live, items[1])
  live:still_running()
  local read_line, seen = tty.read_line, nil
  local _ <close> = setmetatable({}, { __close = function() tty.read_line = read_line end })
  function tty.read_line()
    on.other "Vault password:" -- standard output is flushed before
    live:still_running()
    live:print "a line"
    seen = on.shown()
    return "typed"
  end
  lu.assertEquals(prompt.read_line(), "typed")
  lu.assertEquals(seen, { "Vault password:", "a line" })
  lu.assertFalse(prompt.is_asking())
  live:still_running()
  lu.assertEquals(#on.shown(), 4)
end

function T.test_nothing_is_painted_during_a_run_that_is_over_at_once()
  local items = items_of({ "n1" }, { "packages" })
  local live, on = new(80, 24, items)
  start(live, items[1])
  live:print "changed"
  lu.assertEquals(on.shown(), { "changed" })
end

function T.test_no_line_is_as_wide_as_the_terminal_and_no_frame_as_high()
  local nodes = {}
  for i = 1, 30 do nodes[i] = ("node-with-a-näme-%03d"):format(i) end
  local items = items_of(nodes, { "a step with a rather long name ✓ 日本語", "another" })
  local sizes = { { 200, 60 }, { 80, 24 }, { 40, 20 }, { 20, 10 }, { 10, 5 }, { 5, 3 }, { 2, 1 }, { 1, 1 } }
  for _, unicode in ipairs { true, false } do
    for _, size in ipairs(sizes) do
      local live, _, clock = new(size[1], size[2], items, { unicode = unicode })
      for _, item in ipairs(items) do
        start(live, item)
        live:progress(item, "something that is said at length, with 漢字 too", 0.3)
      end
      clock.now = clock.now + 5000
      local lines, widths = live:frame(size[1], size[2])
      lu.assertTrue(#lines <= math.max(1, size[2] - 4), ("%d lines of %d"):format(#lines, size[2]))
      for i, line in ipairs(lines) do
        lu.assertTrue(text.width(line) < size[1], ("%q on %d columns"):format(line, size[1]))
        lu.assertEquals(widths[i], text.width(line))
        lu.assertTrue(utf8.len(line) ~= nil)
      end
    end
  end
end

function T.test_colours_do_not_count_as_width()
  local items = items_of({ "n1" }, { "packages" })
  local live = new(80, 24, items, { colours = true })
  start(live, items[1])
  local lines, widths = live:frame(80, 24)
  lu.assertStrContains(lines[1], "\27[1m")
  lu.assertEquals(widths[1], #"| n1  packages 0.0 s")
end

function T.test_many_nodes_are_summed_up_and_the_longest_at_work_shown()
  local nodes = {}
  for i = 1, 100 do nodes[i] = ("n%03d"):format(i) end
  local items = items_of(nodes, { "one" })
  local live, _, clock = new(80, 14, items)
  for i = 40, 1, -1 do
    start(live, items[i])
    clock.now = clock.now + 1
  end
  for i = 41, 50 do finish(live, items[i], "ok") end
  finish(live, items[51], "unreachable")
  local lines = live:frame(80, 14)
  lu.assertEquals(#lines, 10)
  lu.assertEquals(lines[1], "| n040  one 40 s")
  lu.assertEquals(lines[8], "| n033  one 33 s")
  lu.assertEquals(lines[9], "  32 more nodes at work, 49 wait, 10 done, 1 failed")
end

function T.test_a_narrower_terminal_keeps_no_remains()
  local items = items_of({ "n1", "n2" }, { "a step with a long name that is broken" })
  local live, on = new(80, 24, items)
  start(live, items[1])
  start(live, items[2])
  live:still_running()
  on.narrow(30)
  live:still_running()
  lu.assertEquals(#on.shown(), 3)
  live:finish()
  lu.assertEquals(on.shown(), {})
end

-- ----------------------------------------------------------------------------------------- a real pseudo-terminal

local PLAY = [[
local play, report, task = require "pgaf.play", require "pgaf.play.report", require "pgafrun.task"
local log = require "pgafrun.log"
local p = play.new { title = "trial", targets = { { name = "n1" }, { name = "n2" } } }
local done = {}
p:step {
  "slow", probe = function(target) return not done[target] and "differs" or nil end,
  apply = function(target)
    task.sleep(0.25)
    log.warn("a line of the log")
    print "a line of the script"
    task.sleep(0.25)
    done[target] = true
  end,
}
p:plan():run(report.new())
]]

local INTERRUPTED = [[
local play, report, task = require "pgaf.play", require "pgaf.play.report", require "pgafrun.task"
local process = require "pgafrun.process"
local p = play.new { title = "trial", targets = { { name = "n1" } } }
p:step {
  "slow", probe = function() return "differs" end,
  apply = function()
    task.sleep(0.25)
    process.kill(process.self().pid, "INT")
    task.sleep(60)
  end,
}
p:plan():run(report.new())
]]

-- What the program writes to a terminal of its own.
local function on_terminal(environment, script, status)
  local folder = fs.mkdtemp "pgafrun-live"
  local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
  fs.write(folder .. "/play.lua", script or PLAY)
  local result = process.run {
    "script", "-qec", ("stty cols 60 rows 20; %s %s/play.lua"):format(process.getenv "PGAFRUN_TEST_BINARY", folder),
    folder .. "/typescript", extend_env = environment,
  }
  lu.assertEquals(result.code, status or 0, result.stdout .. result.stderr)
  return (result.stdout:gsub("\r\n", "\n"))
end

local function painted_on(columns, rows, data)
  local on = terminal(columns, rows)
  on.screen.write(data)
  on.screen.flush()
  return on.shown()
end

function T.test_the_program_on_a_terminal()
  local data = on_terminal { TERM = "xterm", LC_ALL = "C.UTF-8", NO_COLOR = "" }
  lu.assertStrContains(data, "\27[3A\r\27[J")
  lu.assertStrContains(data, "slow")
  lu.assertNil(data:find "\27%[%?") -- no mode is changed, the cursor not hidden
  local shown = table.concat(painted_on(60, 20, data), "\n")
  local _, logged = shown:gsub("warning: a line of the log\n", "")
  local _, printed = shown:gsub("a line of the script\n", "")
  lu.assertEquals({ logged, printed }, { 2, 2 })
  lu.assertNotStrContains(shown, " of 2, ")
  lu.assertStrContains(shown, "n1  changed 1")
  lu.assertStrMatches(shown, ".*\n2 changes in %d+%.%d+ s")
end

function T.test_an_interruption_leaves_a_clean_terminal()
  local data = on_terminal({ TERM = "xterm", LC_ALL = "C.UTF-8", NO_COLOR = "1" }, INTERRUPTED, 130)
  lu.assertStrContains(data, "\27[2A\r\27[J")
  lu.assertNil(data:find "\27%[%?")
  local shown = painted_on(60, 20, data)
  lu.assertStrContains(shown[1], "interrupted in: slow on n1. The same run again goes on from there.")
  lu.assertStrContains(shown[2], "error: ")
  lu.assertNotStrContains(table.concat(shown, "\n"), " of 1, ")
end

function T.test_no_colours_where_they_are_not_wanted_and_no_escapes_on_a_dumb_terminal()
  local data = on_terminal { TERM = "xterm", LC_ALL = "C", NO_COLOR = "1" }
  lu.assertNil(data:find "\27%[[%d;]*m")
  lu.assertStrContains(data, "\27[3A")
  lu.assertNil(data:find "[\128-\255]")
  lu.assertNil(on_terminal({ TERM = "dumb", NO_COLOR = "" }):find "\27")
end

test.run("play_report_live", T)

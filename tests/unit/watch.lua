-- Watching: what becomes of what monitor, servers and provider say, and what it looks like on screens of any size.
local error = require "pgafrun.error"
local export = require "pgaf.watch.export"
local feeds = require "pgaf.watch.feed"
local json = require "pgafrun.json"
local keys = require "pgaf.watch.keys"
local look = require "pgaf.watch.look"
local models = require "pgaf.watch.model"
local pictures = require "pgaf.watch.picture"
local style = require "pgaf.watch.style"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local text = require "pgaf.play.report.text"
local view = require "pgaf.watch.view"
local lu = test.lu

local T = {}

local INVENTORY = {
  formation = "orders", formation_id = "default", monitor = { name = "mon" },
  nodes = { { name = "n1" }, { name = "n2" } },
}

local function row(id, name, reported, goal, health)
  return {
    nodeid = id, name = name, reported = reported, goal = goal or reported, health = health or 1,
    host = "10.0.0." .. id, port = 5432, groupid = 0, report_age = 0.5, check_age = 0.2, state_age = 60,
    timeline = 3, lsn = "0/5000000", running = true, replication = "", candidate_priority = 50,
    replication_quorum = true,
  }
end

local function polled(at, ...)
  return { at = at, known = true, id = "default", number_sync_standbys = 0, nodes = { ... } }
end

local function primary_says(at, standby, timeline)
  return {
    at = at, recovering = false, read_only = false, timeline = timeline or 3, lsn = "0/5001000",
    standbys = { pgautofailover_standby_2 = standby },
  }
end

local function standby_says(at, timeline)
  return {
    at = at, recovering = true, read_only = true, timeline = timeline or 3, lsn = "0/5001000", replayed = "0/5000800",
    replay_age = 3.2,
  }
end

local STREAMS = { state = "streaming", sync = "quorum", lag_bytes = 2048, lag_seconds = 0.4 }

-- A whole formation at 100; `changes` has what is told from then on.
local function whole()
  local model, changes = models.new(INVENTORY), {}
  model:sink().polled(polled(100, row(1, "n1", "primary"), row(2, "n2", "secondary")))
  for _, name in ipairs { "n1", "n2", "mon" } do model:machine(name, 100, "running") end
  model:answered("n1", primary_says(100, STREAMS))
  model:answered("n2", standby_says(100))
  model.on_change = function(change) changes[#changes + 1] = change end
  return model, changes
end

local function shown(model, now, options)
  local how = { columns = 120, rows = 20, now = now, wall = 1000 + now, how = "none" }
  for name, value in pairs(options or {}) do how[name] = value end
  return view.screen(model, how)
end

local function line_with(lines, what)
  for _, line in ipairs(lines) do
    if line:find(what, 1, true) then return line end
  end
  return lu.fail("no line has " .. what .. " in\n" .. table.concat(lines, "\n"))
end

-- The line of a node in a table.
local function node_line(lines, name)
  for _, line in ipairs(lines) do
    if line:find("^" .. name .. " ") then return line end
  end
  return lu.fail("no line of " .. name .. " in\n" .. table.concat(lines, "\n"))
end

local function told(changes)
  local says = {}
  for i, change in ipairs(changes) do
    says[i] = ("%s %s: %s -> %s"):format(change.node or "-", change.what, change.before, change.after)
  end
  return says
end

-- ------------------------------------------------------------------------------------------------------------ model

function T.test_what_becomes_known_is_no_change_and_what_changes_is_told_once()
  local model, changes = whole()
  model:notified(101, { name = "n2", reported = "secondary", goal = "prepare_promotion", health = "good" })
  model:notified(101, { name = "n2", reported = "secondary", goal = "prepare_promotion", health = "good" })
  model:notified(102, { name = "n1", reported = "primary", goal = "draining", health = "bad" })
  model:machine("n1", 102, "stopped")
  lu.assertEquals(told(changes), {
    "n2 state: secondary -> secondary -> secondary -> prepare_promotion",
    "n1 state: primary -> primary -> primary -> draining",
    "n1 health: good -> bad", "n1 container: running -> stopped",
  })
end

function T.test_promotion_as_the_server_tells_it()
  local model, changes = whole()
  local promoted = { at = 103, recovering = false, read_only = true, timeline = 4, lsn = "0/6000000", standbys = {} }
  model:silent("n1", 102, "connection refused")
  model:silent("n1", 102.5, "timeout")
  model:answered("n2", promoted)
  lu.assertEquals(told(changes), {
    "n1 reachable: true -> false", "n2 role: standby -> read-only", "n2 timeline: 3 -> 4",
    "n1 sync: primary -> none", "n2 sync: quorum -> primary",
  })
  lu.assertEquals(model:node("n1").silent, { since = 102, reason = "timeout" })
  lu.assertEquals(model:leader(103).name, "n2")
  lu.assertStrContains(shown(model, 103)[1], "n2 is promoted, still read-only")
end

function T.test_of_two_that_take_writes_the_higher_timeline_leads()
  local model = whole()
  model:answered("n2", primary_says(101, nil, 4))
  lu.assertEquals(model:leader(101).name, "n2")
end

function T.test_a_servers_word_gets_old()
  local model = whole()
  lu.assertEquals(model:leader(100).name, "n1")
  lu.assertNil(model:leader(100 + models.OWN_FRESH_SECONDS))
  lu.assertEquals(model:standing(model:node("n2"), 200), {})
end

function T.test_how_a_standby_stands_to_its_primary()
  local model = whole()
  local n1, n2 = model:node("n1"), model:node("n2")
  lu.assertEquals(model:standing(n1, 100), { leads = true })
  lu.assertEquals(model:standing(n2, 100),
    { sync = "quorum", state = "streaming", lag_bytes = 2048, lag_seconds = 0.4 })
  -- it has gone
  model:answered("n1", primary_says(101, nil))
  lu.assertEquals(model:standing(n2, 101), { sync = "none", state = "not connected" })
  -- the role may not see more than that it is there: then the LSNs that both tell
  model:answered("n1", primary_says(102, {}))
  model:answered("n2", standby_says(102))
  lu.assertEquals(model:standing(n2, 102), { lag_bytes = 0x800, lag_seconds = 3.2 })
  -- on another timeline LSNs cannot be compared
  model:answered("n2", standby_says(103, 2))
  lu.assertEquals(model:standing(n2, 103).lag_bytes, nil)
end

function T.test_a_node_that_only_the_monitor_knows()
  local model = whole()
  model:polled(polled(101, row(1, "n1", "primary"), row(2, "n2", "secondary"), row(7, "n7", "catchingup")))
  lu.assertEquals(#model.nodes, 3)
  line_with(shown(model, 101), "n7")
  model:polled(polled(102, row(1, "n1", "primary")))
  lu.assertEquals(#model.nodes, 2)
  -- one of the inventory that is registered no more stays, and says so
  lu.assertStrContains(node_line(shown(model, 102), "n2"), " -  ")
  line_with(shown(model, 102), "n2 is in the inventory and not registered at the monitor")
end

function T.test_the_monitor_away_and_back()
  local model, changes = whole()
  local sink = model:sink()
  sink.lost(110, "cannot reach the monitor mon: connection refused")
  local lines = shown(model, 151)
  lu.assertStrContains(lines[1], "state unknown")
  lu.assertStrContains(lines[2], os.date("away since %H:%M:%S (41 s)", 1110))
  lu.assertStrContains(lines[3], "connection refused")
  -- the servers' own word is still there
  model:answered("n1", primary_says(150, STREAMS))
  lines = shown(model, 151)
  lu.assertStrContains(lines[1], "writes go to n1")
  lu.assertStrContains(node_line(lines, "n2"), "2.0 kB 0.4 s")
  sink.polled(polled(160, row(1, "n1", "primary"), row(2, "n2", "secondary")))
  sink.found(160)
  lu.assertStrContains(shown(model, 161)[1], "whole")
  lu.assertEquals(told(changes), { "- monitor: true -> false", "- monitor: false -> true" })
end

function T.test_events_in_order_of_their_time_and_not_for_ever()
  local model = models.new(INVENTORY)
  model:event(20, { name = "n2", description = "second" })
  model:event(10, { name = "n1", description = "first" })
  lu.assertEquals(model.events[1].text, "first")
  model:event(10.1, { name = "n2", description = "first" })
  lu.assertEquals(model.events[1].nodes, { "n1", "n2" })
  for i = 1, 500 do model:event(100 + i, { name = "n1", reported = "primary", goal = "primary" }) end
  lu.assertTrue(#model.events <= 200)
  lu.assertEquals(model.events[#model.events].text, "primary -> primary")
end

function T.test_the_provider_away()
  local model = whole()
  model:provider_told(100)
  model:provider_told(105, "connection refused")
  lu.assertStrContains(node_line(shown(model, 106), "n1"), "unknown")
  line_with(shown(model, 106), "provider away since")
  model:provider_told(107)
  lu.assertEquals(#model.events, 2)
end

-- ------------------------------------------------------------------------------------------------------------- view

function T.test_a_wide_screen()
  local lines = shown(whole(), 101)
  lu.assertEquals(#lines, 20)
  lu.assertStrContains(lines[1], "orders  whole, writes go to n1  number_sync_standbys 0")
  lu.assertEquals(lines[1]:sub(-8), os.date("%H:%M:%S", 1101))
  lu.assertEquals(lines[2], "monitor mon  reached, it is running")
  lu.assertEquals(lines[4]:gsub("%s+", " "), "NODE REPORTED GOAL HEALTH TLI LSN LAG SYNC NODE IS")
  lu.assertEquals(lines[5]:gsub("%s+", " "), "n1 primary primary good 3 0/5001000 - primary running")
  lu.assertEquals(lines[6]:gsub("%s+", " "), "n2 secondary secondary good 3 0/5001000 2.0 kB 0.4 s quorum running")
end

function T.test_nothing_is_cut_where_one_line_fits()
  local model = whole()
  for columns = 100, 130 do
    local line = node_line(shown(model, 101, { columns = columns }), "n1")
    -- two lines a node below that
    lu.assertEquals(line:find("…", 1, true), nil)
  end
end

function T.test_what_is_not_known_is_unknown()
  local lines = shown(models.new(INVENTORY), 1)
  lu.assertStrContains(lines[1], "asking")
  lu.assertStrContains(lines[2], "not reached yet, it is unknown")
  lu.assertEquals(lines[5]:gsub("%s+", " "), "n1" .. (" unknown"):rep(8))
end

function T.test_every_screen_fits_and_small_ones_can_be_read()
  local model = whole()
  model:notified(101, { name = "n2", reported = "stop_replication", goal = "wait_primary", health = "unknown" })
  model:event(101, { name = "n2", description = 'Setting goal state of node 2 "n2" (10.0.0.2:5432) to wait_primary' })
  model:silent("n1", 101, ("a reason that is very long, "):rep(9))
  for _, columns in ipairs { 20, 59, 60, 80, 100, 105, 112, 113, 120, 200 } do
    for _, rows in ipairs { 3, 8, 10, 24, 50 } do
      for _, how in ipairs { {}, { chosen = "n2", detail = true }, { help = true } } do
        how.columns, how.rows = columns, rows
        local lines = shown(model, 102, how)
        lu.assertEquals(#lines, rows)
        for _, line in ipairs(lines) do lu.assertTrue(text.width(line) < columns, line) end
        lu.assertStrContains(lines[rows], "q quit")
      end
    end
  end
  local narrow = table.concat(shown(model, 102, { columns = 60, rows = 24 }), "\n")
  for _, word in ipairs { "n1 ", "stop_replication -> wait_primary", "unknown", "running  tli 3  0/5001000", "changing",
    "Setting goal state of n2 to wait_primary" } do
    lu.assertStrContains(narrow, word)
  end
end

-- Names of one family are told apart by their ends.
function T.test_long_names_are_cut_in_their_middle()
  lu.assertEquals(text.cut_middle("pgaf-production-1", 12), "pga…uction-1")
  lu.assertEquals(text.cut_middle("pgaf-production-1", 12, "~"), "pga~uction-1")
  lu.assertEquals(text.cut_middle("pgaf-1", 12), "pgaf-1")
  local inventory = { formation = "long", formation_id = "default", monitor = { name = "mon" }, nodes = {} }
  for i = 1, 2 do inventory.nodes[i] = { name = ("a-very-long-name-of-a-node-%d"):format(i) } end
  local narrow = table.concat(shown(models.new(inventory), 1, { columns = 60, rows = 24 }), "\n")
  lu.assertStrContains(narrow, "node-1 ")
  lu.assertStrContains(narrow, "node-2 ")
end

function T.test_more_nodes_than_rows()
  local inventory = { formation = "big", formation_id = "default", monitor = { name = "mon" }, nodes = {} }
  for i = 1, 40 do inventory.nodes[i] = { name = ("node-%02d"):format(i) } end
  local lines = shown(models.new(inventory), 1, { rows = 24, chosen = "node-30" })
  line_with(lines, "node-30")
  line_with(lines, "more nodes")
  line_with(lines, "EVENTS")
end

function T.test_what_changed_lights_up_for_some_seconds()
  local model = whole()
  model:notified(101, { name = "n2", reported = "secondary", goal = "prepare_promotion", health = "good" })
  line_with(shown(model, 102, { how = "colours" }), "\27[30;43mprepare_promotion\27[0m")
  line_with(shown(model, 102, { how = "plain" }), "\27[7mprepare_promotion\27[0m")
  line_with(shown(model, 110, { how = "colours" }), "\27[33mprepare_promotion\27[0m")
  for _, line in ipairs(shown(model, 102, { how = "none" })) do lu.assertNil(line:find "\27") end
  for _, line in ipairs(shown(model, 110, { how = "plain" })) do lu.assertNil(line:find "\27%[3") end
end

function T.test_a_dead_keeper_is_silent_whatever_its_row_says()
  local model = whole()
  local dead = row(1, "n1", "primary")
  dead.report_age = 30
  model:polled(polled(101, dead, row(2, "n2", "secondary")))
  lu.assertStrContains(node_line(shown(model, 101), "n1"), "silent")
  line_with(shown(model, 101), "n1 was last heard of 30 s ago")
end

function T.test_order()
  local model = whole()
  model:polled(polled(101, row(1, "n1", "secondary"), row(2, "n2", "primary")))
  model:answered("n1", standby_says(101))
  local function order(sort)
    local names = {}
    for i, one in ipairs(view.sorted(model, 101, sort)) do names[i] = one.node.name end
    return table.concat(names, " ")
  end
  lu.assertEquals(order "inventory", "n1 n2")
  lu.assertEquals(order "state", "n2 n1")
  for _, sort in ipairs(view.SORT_ORDER) do lu.assertNotNil(order(sort)) end
end

function T.test_one_node_in_detail()
  local model = whole()
  model:machine_event("n2", 99, "instance-started", "root")
  model:event(99.5, { name = "n1", description = "of another node" })
  local lines = shown(model, 101, { chosen = "n2", detail = true, rows = 30 })
  line_with(lines, "n2  10.0.0.2:5432, node 2, group 0")
  line_with(lines, "secondary -> secondary for 60 s, health good")
  line_with(lines, "standby, timeline 3, received 0/5001000, replayed 0/5000800")
  line_with(lines, "streaming, sync quorum, behind: 2.0 kB, 0.4 s")
  line_with(lines, "last instance-started at")
  lu.assertNil(table.concat(lines, "\n"):find("of another node", 1, true))
end

function T.test_what_others_wrote_cannot_speak_to_the_terminal()
  local model = whole()
  model:event(101, { name = "n1", description = "bad \27[2J text" })
  lu.assertStrContains(line_with(shown(model, 101), "bad"), "bad \\e[2J text")
end

function T.test_the_plain_table()
  local lines = view.plain(whole(), { columns = 200, rows = math.maxinteger, now = 101, wall = 1101, how = "none" })
  lu.assertStrContains(lines[1], "orders  whole")
  lu.assertEquals(#lines, 6)
end

-- ---------------------------------------------------------------------------------------------------------- sources

-- Sources that refuse until they are told not to.
local function sources()
  local here = { broken = true, asked = 0 }
  local function refuse()
    here.asked = here.asked + 1
    if here.broken then
      error.raise { kind = "network", message = "cannot reach it: why", cause = { message = "why" } }
    end
  end
  local events = { next = function(_, seconds) task.sleep(seconds) end, close = function() end }
  here.provider = { kind = "local", events = function() refuse() return events end }
  function here.provider:node() return { status = function() return "running" end } end
  here.reach = { monitor = function() error.raise { kind = "network", message = "away" } end }
  function here.reach:node()
    refuse()
    local answers = setmetatable({}, { __close = function() end })
    function answers.query() return { rows = { { recovering = false, read_only = false, timeline = 9 } } } end
    return answers
  end
  return here
end

function T.test_each_source_that_fails_is_told_and_tried_again()
  local here, model = sources(), models.new(INVENTORY)
  local group <close> = task.group { deadline = 30 }
  local changes = 0
  local source = feeds.new(here.provider, here.reach, INVENTORY, model, function() changes = changes + 1 end)
  source:start(group)
  local function wait_for(what)
    while not what() do task.sleep(0.01) end
  end
  wait_for(function() return model:node("n2").silent and model.provider.reason and model.monitor.reason end)
  lu.assertEquals({ model:node("n1").silent.reason, model.provider.reason, model.monitor.reason },
    { "why", "why", "away" })
  here.broken = false
  source:refresh()
  wait_for(function() return model:node("n2").own and not model:node("n2").silent and model.provider.reached end)
  lu.assertEquals(model:node("n1").container, "running")
  lu.assertTrue(changes > 5)
  group:cancel()
end

function T.test_a_mistake_in_a_source_is_no_loss()
  local here = sources()
  function here.reach.node() return nil + 1 end
  local function follow()
    local group <close> = task.group()
    feeds.new(here.provider, here.reach, INVENTORY, models.new(INVENTORY)):start(group)
    task.sleep(10)
  end
  lu.assertErrorMsgContains("arithmetic on a nil value", follow)
end

-- ------------------------------------------------------------------------------------------------ what it is made of

function T.test_a_frame_has_only_what_differs()
  local picture = pictures.new()
  local first = picture:frame({ "one", "two", "three" }, 80, 24)
  lu.assertStrContains(first, "\27[2J")
  lu.assertStrContains(first, "\27[1;1Hone\27[0m\27[K")
  lu.assertNil(picture:frame({ "one", "two", "three" }, 80, 24))
  local second = picture:frame({ "one", "2", "three" }, 80, 24)
  lu.assertEquals(second, "\27[?2026h\27[2;1H2\27[0m\27[K\27[?2026l")
  lu.assertStrContains(picture:frame({ "one" }, 80, 24), "\27[3;1H\27[0m\27[K")
  lu.assertStrContains(picture:frame({ "one" }, 79, 24), "\27[2J") -- another size
  picture:forget()
  lu.assertStrContains(picture:frame({ "one" }, 79, 24), "\27[2J")
end

function T.test_keys()
  lu.assertEquals(keys.read "q", { "q" })
  lu.assertEquals(keys.read "jk\r", { "j", "k", "enter" })
  lu.assertEquals(keys.read "\27[A\27OB\27[1;5C\27", { "up", "down", "right", "escape" })
  lu.assertEquals(keys.read "\27[5~\27[99~ä\12\1", { "pageup", "ä", "redraw" })
  lu.assertEquals(keys.read "\255", { "\255" })
end

function T.test_a_line_is_cut_where_the_screen_ends()
  local pieces = { { "one ", "good" }, { "two", "lit" }, { " three" } }
  lu.assertEquals(style.line(pieces, 6, "none", "~"), "one t~")
  lu.assertEquals(style.line(pieces, 100, "plain"), "one \27[7mtwo\27[0m three")
  lu.assertEquals(style.line({ { "trailing" }, { "   " } }, 100, "none"), "trailing")
end

function T.test_positions()
  lu.assertEquals(models.position "1/A0", 0x1000000A0)
  lu.assertNil(models.position "nonsense")
  lu.assertNil(models.position(nil))
end

function T.test_standbys_that_the_role_may_or_may_not_see()
  lu.assertEquals(look.standbys(nil), {})
  lu.assertEquals(look.standbys '{"a": {"state": null, "sync": null, "bytes": null, "seconds": null}}', { a = {} })
  lu.assertEquals(look.standbys '{"a": {"state": "streaming", "sync": "sync", "bytes": 0, "seconds": null}}',
    { a = { state = "streaming", sync = "sync", lag_bytes = 0, lag_seconds = 0 } })
end

function T.test_as_json()
  local model, changes = whole()
  local how = { now = 101, wall = 1101 }
  local all = json.decode(json.encode(export.formation(model, how)))
  lu.assertEquals({ all.formation, all.whole, all.writes_go_to, all.at },
    { "orders", true, "n1", "1970-01-01T00:18:21.000Z" })
  lu.assertEquals({ all.nodes[2].name, all.nodes[2].sync, all.nodes[2].lag_bytes, all.nodes[2].server.role },
    { "n2", "quorum", 2048, "standby" })
  model:polled(polled(101, row(1, "n1", "primary")))
  lu.assertIs(export.formation(model, how).whole, false)
  model:monitor_lost(101, "away")
  lu.assertEquals(export.formation(model, how).whole, json.null)
  local unknown = json.decode(json.encode(export.formation(models.new(INVENTORY), how)))
  lu.assertEquals({ unknown.whole, unknown.nodes[1].reported, unknown.nodes[1].lag_bytes },
    { json.null, json.null, json.null })
  model:machine("n1", 100.5, "stopped")
  lu.assertEquals(json.decode(json.encode(export.change(changes[#changes], how))), {
    what = "container", at = "1970-01-01T00:18:20.500Z", node = "n1", before = "running", after = "stopped",
  })
end

test.run("watch", T)

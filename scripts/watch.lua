-- Follows the formation on a live screen: states, lag, standing and machines, as they change.

local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local export = require "pgaf.watch.export"
local feed = require "pgaf.watch.feed"
local json = require "pgafrun.json"
local judge = require "pgaf.drill.judge"
local log = require "pgafrun.log"
local models = require "pgaf.watch.model"
local once = require "pgaf.watch.once"
local program = require "pgafrun.program"
local providers = require "pgaf.provider"
local screen = require "pgaf.watch.screen"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local tty = require "pgafrun.tty"
local view = require "pgaf.watch.view"

local STDOUT = 1

local SPEC = {
  name = "watch",
  description = "Follow the formation on a live screen: states, health, LSN and lag, standing, machines, events.",
  epilog = [[
Keys: q quit, s sort, j and k choose a node, Enter its detail, r ask now, ? more.
It goes on when the monitor is away, says since when, and shows what the servers say of themselves.

Without a terminal on standard output, --once or --json is wanted.

Exit codes:
  0    quit; with --once: the formation is whole
  1    with --once: it is not
  3    with --once: the monitor cannot be reached; or a tool or a permission is missing
  64   usage, or a mistake in the inventory
  130  Ctrl-C]],
}

local function declare(parser)
  parser:mutex(
    parser:flag("--once", "Look once, print a table, and end."),
    parser:flag("--json", "One JSON object a line: the formation, then one for each change."))
  parser:option("--sort", "How the nodes are ordered."):choices(view.SORT_ORDER):default "inventory"
  parser:flag("--ascii", "No characters beyond ASCII on the screen.")
end

-- First everything, then what changes, until nobody reads the pipe any more.
local function follow_json(source, model)
  local began, gone = time.now(), task.condition()
  local function tell(value)
    io.stdout:write(json.encode(value), "\n")
    if not io.stdout:flush() then gone:notify() end
  end
  local function look() return { now = time.now(), wall = time.wall() } end
  once.ask(source)
  tell(export.formation(model, look()))
  model.on_change = function(change) tell(export.change(change, look())) end
  model.on_event = function(event)
    if event.at >= began then tell(export.event(event, look())) end
  end
  local group <close> = task.group()
  source:start(group)
  gone:wait()
  group:cancel()
end

local function show_once(source, model, args)
  once.ask(source)
  local columns = tty.size(STDOUT)
  for _, line in ipairs(once.lines(model, columns, args.sort)) do print(line) end
  return once.exit_code(model)
end

local function run(args, inventory)
  local provider <close> = providers.open(inventory)
  provider:check()
  local reach <close> = connect.open(provider, inventory)
  local model = models.new(inventory)
  if args.once then return show_once(feed.new(provider, reach, inventory, model), model, args) end
  if args.json then return follow_json(feed.new(provider, reach, inventory, model), model) end
  local drawn = screen.new(model, { sort = args.sort, ascii = args.ascii })
  local source = feed.new(provider, reach, inventory, model, function() drawn:changed() end)
  drawn:run(source)
  return judge.PASSED
end

local args, inventory = cli.parse(SPEC, declare, ...)
if not args.once then program.run_on() end
if not (args.once or args.json or tty.is_terminal(STDOUT)) then
  log.error "watch: standard output is no terminal: --once prints a table, --json an object for each change"
  return judge.USAGE
end
local ok, result = pcall(run, args, inventory)
if ok then return result end
once.check_interrupted()
if not error.is(result) then error.raise { kind = "internal", message = tostring(result) } end
log.error(tostring(result))
return judge.MISSING

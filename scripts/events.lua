-- Shows what the monitor has noted of a formation: each change of a node's state, with its reason.
--
--     pgafrun -i INVENTORY events -n 50
--     pgafrun -i INVENTORY events pgaf-2 --follow

local cli = require "pgaf.cli"
local error = require "pgafrun.error"
local events = require "pgaf.operate.events"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local operate = require "pgaf.operate"
local time = require "pgafrun.time"

local function object(event)
  return {
    id = event.eventid, at = time.iso(event.wall), node = event.name, reported = event.reported, goal = event.goal,
    timeline = event.timeline, lsn = event.lsn, description = event.description,
  }
end

local function print_line(text)
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

return operate.script({
  name = "events", description = "Show the last events of the formation, in the order in which they happened.",
  epilog = "With --follow and --json: one object a line, as they come. Ctrl-C ends it.",
}, function(parser)
  parser:argument("node", "Only this node's."):args "?"
  parser:option("-n --lines", "How many."):default("20"):convert(cli.count):argname "N"
  parser:flag("-f --follow", "Go on with each as it comes.")
end, function(context, args)
  local problem = events.unknown(context)
  if problem then
    error.raise { kind = "missing", operation = "events", message = problem, hint = "pgafrun postgres_ha makes it" }
  end
  if args.follow then
    events.follow(context, args.lines, args.node, function(event)
      print_line(args.json and json.encode(object(event)) or events.line(event))
    end, log.warn)
  end
  local found, lines = json.as_array(), {}
  for i, event in ipairs(events.last(context, args.lines, args.node)) do
    found[i], lines[i] = object(event), events.line(event)
  end
  return { events = found, lines = lines }
end, ...)

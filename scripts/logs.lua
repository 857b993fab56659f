-- Shows what pg_autoctl, or PostgreSQL, says on one node or on all, in the order in which it was written.
--
--     pgafrun -i INVENTORY logs                    the last lines of all nodes, by time
--     pgafrun -i INVENTORY logs pgaf-1 -n 200
--     pgafrun -i INVENTORY logs --follow           all nodes as they write, until Ctrl-C
--     pgafrun -i INVENTORY logs --postgres         the servers' own logs

local cli = require "pgaf.cli"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local logs = require "pgaf.operate.logs"
local operate = require "pgaf.operate"
local time = require "pgafrun.time"

local function width_of(names)
  local width = 0
  for _, name in ipairs(names) do width = math.max(width, #name) end
  return #names > 1 and width or 0
end

local function warn(problems)
  local found = false
  for name, problem in pairs(problems) do
    found = true
    log.warn(("the log of %s cannot be read"):format(name), { why = problem })
  end
  return found and operate.FAILED or nil
end

return operate.script({
  name = "logs", description = "Show the last lines of the nodes' logs.",
  epilog = "With --follow and --json: one object a line, as they come. Ctrl-C ends it.",
}, function(parser)
  parser:argument("nodes", "Which; default: the monitor and all data nodes."):args "*"
  parser:option("-n --lines", "How many of each."):default("20"):convert(cli.count):argname "N"
  parser:flag("-f --follow", "Go on with each line as it is written.")
  parser:flag("--postgres", "PostgreSQL's own log instead of pg_autoctl's.")
end, function(context, args)
  local names = logs.nodes(context, args.nodes)
  local width = width_of(names)
  if args.follow then
    logs.follow(context, names, args.lines, function(name, text)
      io.stdout:write(args.json and logs.json_line(name, text) or logs.line(name, width, text), "\n")
      io.stdout:flush()
    end, args.postgres)
  end
  local entries, problems = logs.last(context, names, args.lines, args.postgres)
  local found, lines = json.as_array(), {}
  for i, entry in ipairs(entries) do
    found[i] = { node = entry.node, at = time.iso(entry.at), text = entry.text }
    lines[i] = logs.line(entry.node, width, entry.text)
  end
  return { entries = found, unread = problems, lines = lines, code = warn(problems) }
end, ...)

-- What begins with a colon at the prompt. One that is not here may be the session's own (see pgaf.repl.session).

local throw = error
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local help = require "pgaf.repl.help"
local inspect = require "pgaf.repl.inspect"
local log = require "pgafrun.log"
local rows = require "pgaf.repl.rows"
local suggest = require "pgaf.suggest"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local commands = { all = {} }

---@class pgaf.repl.Command
---@field usage string "EXPR": what it takes, for the list; "" for nothing
---@field summary string
---@field run fun(session: pgaf.repl.Session, rest: string) may wait; raises what went wrong
---@field complete? fun(session: pgaf.repl.Session, rest: string): string[], integer

local function usage(name, message)
  error.raise { kind = "usage", operation = ":" .. name, message = message }
end

local function words(...)
  local list = { ... }
  return function(_, rest)
    local found = {}
    for _, word in ipairs(list) do
      if word:sub(1, #rest) == rest then found[#found + 1] = word end
    end
    return found, 1
  end
end

-- ------------------------------------------------------------------------------------------------------------- help

---Reads the annotations, which takes a moment, so that completion knows them too. Waits.
---@param session pgaf.repl.Session
---@return pgaf.repl.Help
function commands.load_help(session)
  if not session.help then session.help = help.load() end
  return session.help
end

local function list_commands(session)
  local names = {}
  for name in pairs(commands.all) do names[name] = true end
  for name in pairs(session.commands) do names[name] = true end
  local sorted = {}
  for name in pairs(names) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  local lines = { "An expression shows its value; `_` is the last one, `_err` the last error. Ctrl-C ends a call.", "" }
  for _, name in ipairs(sorted) do
    local one = session.commands[name]
    lines[#lines + 1] = ("  %-18s %s"):format((":%s %s"):format(name, one.usage), one.summary)
  end
  for _, line in ipairs(session.about or {}) do lines[#lines + 1] = line end
  return table.concat(lines, "\n")
end

local function run_help(session, rest)
  if rest == "" then return session:say(list_commands(session)) end
  local one = session.commands[rest:gsub("^:", "")]
  if one and rest:sub(1, 1) == ":" then
    return session:say(("%s %s\n  %s"):format(rest, one.usage, one.summary))
  end
  local index = commands.load_help(session)
  -- what a call or an index returns is not known: its method's name has to do
  local name = rest:match "[%])]%s*[.:]%s*([%w_]+)" or rest:gsub("%(.*$", "")
  local found = index:find(name)
  if #found == 0 then
    local near = index:near(name:match "[%w_]+$" or name)
    return usage("help", ("nothing is known of %s%s"):format(name,
      #near > 0 and "; there are: " .. table.concat(near, ", ") or ""))
  end
  local texts = {}
  for i, entry in ipairs(found) do texts[i] = help.text(entry) end
  session:say(inspect.plain(table.concat(texts, "\n\n")))
end

local function complete_help(session, rest)
  local found, list = {}, {}
  for _, entry in ipairs(session.help and session.help.entries or {}) do
    if entry.name:sub(1, #rest) == rest and not found[entry.name] then
      found[entry.name] = true
      list[#list + 1] = entry.name
    end
  end
  table.sort(list)
  return list, 1
end

commands.all.help = {
  usage = "[NAME]", summary = "what a function or class does, from its annotation; or this list", run = run_help,
  complete = complete_help,
}

-- ------------------------------------------------------------------------------------------------- tasks and handles

-- { label, children } as indented lines.
local function tree_lines(nodes, level, lines, describe)
  for _, node in ipairs(nodes) do
    lines[#lines + 1] = ("  "):rep(level) .. describe(node)
    if node.children then tree_lines(node.children, level + 1, lines, describe) end
  end
  return lines
end

local function task_text(one)
  local text = ("%s: %s"):format(one.name ~= "" and one.name or "task " .. tostring(one.id), one.status)
  if one.waiting_for then text = ("%s for %s"):format(text, one.waiting_for) end
  if one.since then text = ("%s, since %.1f s"):format(text, math.max(0, time.now() - one.since)) end
  if one.deadline then text = ("%s, %.0f s left"):format(text, one.deadline) end
  if one.cancelled then text = text .. ", asked to end" end
  return one.where and text .. ", at " .. one.where or text
end

local function run_tasks(session)
  session:say(inspect.plain(table.concat(tree_lines(task.tree(), 0, {}, task_text), "\n")))
end

commands.all.tasks = { usage = "", summary = "all tasks: what each waits for, since when", run = run_tasks }

local function run_handles(session)
  local list = task.handles()
  for _, handle in ipairs(list) do
    handle.state = handle.closing and "closing" or not handle.active and "idle" or handle.referenced and "waits" or
      "watches"
  end
  session:say(table.concat(rows.aligned({ "type", "state", "about" }, list), "\n"))
end

commands.all.handles = {
  usage = "", summary = "what the event loop has open: sockets, timers, processes", run = run_handles,
}

-- ------------------------------------------------------------------------------------------------------ the others

commands.all.time = {
  usage = "EXPR", summary = "runs it and tells how long it took",
  run = function(session, rest)
    local chunk, message = session:compile(rest)
    if not chunk then return usage("time", message) end
    local began = time.now()
    local outcome = session:run(chunk)
    session:say(("%.3f ms"):format((time.now() - began) * 1000))
    session.failed = outcome == "error"
  end,
}

commands.all.load = {
  usage = "FILE", summary = "runs a file as if it were typed; its globals stay",
  run = function(session, rest)
    if rest == "" then usage("load", "which file?") end
    local chunk, message = load(fs.read(rest), "@" .. rest, "t", session.globals)
    if not chunk then return usage("load", message) end
    session:run(chunk)
  end,
}

commands.all.log = {
  usage = "[LEVEL]", summary = "what is logged from now on: debug, info, warn, error", complete = words(
    "debug", "error", "info", "warn"),
  run = function(session, rest)
    local levels = { debug = true, info = true, warn = true, error = true }
    if rest == "" then return session:say(log.level()) end
    if not levels[rest] then usage("log", ("no level %s: debug, info, warn or error"):format(rest)) end
    log.set_level(rest)
  end,
}

commands.all.events = {
  usage = "on|off", summary = "shows the formation's events as they come", complete = words("off", "on"),
  run = function(session, rest)
    local events = session.events
    if not events then usage("events", "there is no formation: start with -i INVENTORY") end
    if rest ~= "on" and rest ~= "off" then usage("events", "on or off?") end
    if rest == "on" then events:start(session) else events:stop() end
  end,
}

commands.all.quit = {
  usage = "", summary = "ends the session, as Ctrl-D does",
  run = function() error.raise { kind = "exit", message = "exit" } end,
}

-- -------------------------------------------------------------------------------------------------------- running

local function unknown(session, name)
  local names = {}
  for key in pairs(commands.all) do names[#names + 1] = key end
  for key in pairs(session.commands) do names[#names + 1] = key end
  local meant = suggest(name, names)
  usage(name, ("no such command%s; :help lists them"):format(meant and ": did you mean :" .. meant .. "?" or ""))
end

---Runs a command's line. What goes wrong is shown, as with other inputs; kind "exit" goes up.
---@param session pgaf.repl.Session
---@param line string
---@return "done"|"error"
function commands.run(session, line)
  local name, rest = line:match "^%s*:([%a?]+)%s*(.-)%s*$"
  if name == "?" then name = "help" end
  local one = session.commands[name]
  local ok, raised = pcall(session.call, session, function()
    if not one then unknown(session, name) end
    one.run(session, rest)
  end)
  if ok then return session.failed and "error" or "done" end
  if error.is(raised, "exit") then throw(raised, 0) end
  task.check()
  if error.is(raised, "cancelled") then
    session.failed = true
    session:say("interrupted")
    return "error"
  end
  return session:fail(raised)
end

return commands

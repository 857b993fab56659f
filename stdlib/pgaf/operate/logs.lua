-- What pg_autoctl, or PostgreSQL itself, says on the nodes, of several nodes in one.

local throw = error
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local json = require "pgafrun.json"
local mask = require "pgafrun.mask"
local operate = require "pgaf.operate"
local server_log = require "pgaf.operate.server_log"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

-- From the end of a log until it is looked for again, and what of it is told then.
local AGAIN_SECONDS = 1
local AGAIN_LINES = 5

local logs = {}

---@class pgaf.operate.LogEntry
---@field node string
---@field at number wall clock, seconds since the epoch, by the node's own clock
---@field text string

---All nodes of the inventory, the monitor first, or those that are named.
---@param context pgaf.operate.Context
---@param names string[]
---@return string[]
function logs.nodes(context, names)
  local list = {}
  for i, name in ipairs(names) do list[i] = operate.entry(context, name).name end
  if #list > 0 then return list end
  return { context.inventory.monitor.name, table.unpack(operate.names(context)) }
end

-- JSON is UTF-8, a log may be anything.
local function clean(text)
  text = mask.apply(text)
  return utf8.len(text) and text or (text:gsub("[\128-\255]", "?"))
end

---Entries in the order in which they were written; those of one node stay in theirs.
---@param lists pgaf.operate.LogEntry[][]
---@return pgaf.operate.LogEntry[]
function logs.merge(lists)
  local merged, at = {}, {}
  for i in ipairs(lists) do at[i] = 1 end
  while true do
    local first
    for i, list in ipairs(lists) do
      local entry = list[at[i]]
      if entry and (not first or entry.at < lists[first][at[first]].at) then first = i end
    end
    if not first then return merged end
    merged[#merged + 1] = lists[first][at[first]]
    at[first] = at[first] + 1
  end
end

-- The node, as whose log it is: of one that does not run there is none to be read.
local function member(context, name)
  local status = context.provider:node(name):status()
  if status == "running" then return formations.open(context.provider, context.inventory).by_name[name] end
  return error.raise { kind = "state", operation = "log of " .. name, message = ("%s is %s"):format(name, status) }
end

local function read(context, name, lines, postgres)
  local target = member(context, name)
  local entries = postgres and server_log.dated(server_log.tail(target, lines)) or target.node:service():entries(lines)
  for _, entry in ipairs(entries) do entry.node, entry.text = name, clean(entry.text) end
  return entries
end

---The last lines of each node.
---@param context pgaf.operate.Context
---@param names string[]
---@param lines integer of each
---@param postgres? boolean PostgreSQL's own log
---@return pgaf.operate.LogEntry[] entries, table<string, string> problems of nodes that could not be read, by name
function logs.last(context, names, lines, postgres)
  local lists, problems = {}, {}
  do
    local group <close> = task.group { name = "logs" }
    for i, name in ipairs(names) do
      lists[i] = {}
      group:spawn_named("log of " .. name, function()
        local ok, entries = pcall(read, context, name, lines, postgres)
        task.check()
        if ok then lists[i] = entries else problems[name] = tostring(entries) end
      end)
    end
    group:wait()
  end
  return logs.merge(lists), problems
end

-- What a node writes, as long as it does.
local function follow_once(context, name, lines, tell, postgres)
  local target = member(context, name)
  local stream <close> = postgres and server_log.follow(target, lines) or target.node:service():follow(lines)
  for text in stream.next, stream do tell(name, clean(text)) end
end

-- A node that stops ends its log, and goes on with it when it is back.
local function follow_on(context, name, lines, tell, postgres)
  local told
  while true do
    local ok, problem = pcall(follow_once, context, name, lines, function(...)
      told = nil
      tell(...)
    end, postgres)
    task.check()
    if not ok and not error.is(problem) then throw(problem, 0) end
    local why = ok and "its log has ended" or problem.message
    if why ~= told then tell(name, ("-- %s; it is followed again when it goes on"):format(clean(why))) end
    told, lines = why, AGAIN_LINES
    task.sleep(AGAIN_SECONDS)
  end
end

---Tells each line as it is written, until the task is cancelled. What a node says while it is away is told when it is
---back, with some lines of before.
---@param context pgaf.operate.Context
---@param names string[]
---@param lines integer of each that were written before
---@param tell fun(name: string, text: string)
---@param postgres? boolean PostgreSQL's own log
function logs.follow(context, names, lines, tell, postgres)
  local group <close> = task.group { name = "logs" }
  for _, name in ipairs(names) do
    group:spawn_named("log of " .. name, follow_on, context, name, lines, tell, postgres)
  end
  group:wait()
end

---A line for people, or for programs.
---@param name string
---@param width integer of the longest name; 0: without names
---@param text string
---@return string
function logs.line(name, width, text)
  return width == 0 and text or ("%-" .. width .. "s | %s"):format(name, text)
end

---@param name string
---@param text string
---@return string
function logs.json_line(name, text)
  return json.encode { node = name, at = time.iso(), text = text }
end

return logs

-- PostgreSQL's own log on a node: the files of its logging collector, in PGDATA/log. A restarted server begins another.

local formations = require "pgaf.autofailover.formation"
local log_stream = require "pgaf.provider.log_stream"
local quote = require "pgaf.quote"
local task = require "pgafrun.task"

local LOOK_SECONDS = 1

local server_log = {}

-- The end of the newest files together: one that was begun just now says little.
local TAIL = [[
cd %s/log 2>/dev/null || exit 0
ls -tr | tail -n 4 | tr '\n' '\0' | xargs -0 cat -- | tail -n %d]]

-- "NAME SIZE" of the newest file, and what came since "$old" had "$at" bytes.
local NEWS = [[
cd %s/log 2>/dev/null || exit 0
new=$(ls -t | head -n 1); [ -n "$new" ] || exit 0
size=$(stat -c %%s -- "$new")
echo "$new $size"
[ -n "$old" ] || exit 0
if [ "$old" != "$new" ]; then
  [ ! -e "$old" ] || tail -c "+$((at + 1))" -- "$old"
  at=0
fi
head -c "$size" -- "$new" | tail -c "+$((at + 1))"]]

local function run(target, script, env) return formations.run(target, script, { env = env }).stdout end

---The last lines.
---@param target pgaf.Member
---@param lines integer
---@return string
function server_log.tail(target, lines) return run(target, TAIL:format(quote.sh(target.paths.pgdata), lines)) end

local DATE = "^(%d%d%d%d)%-(%d%d)%-(%d%d) (%d%d):(%d%d):(%d%d)%.(%d+) (%S+)"

-- log_timezone is the machine's, which is UTC where it says so; else it is taken for ours.
local function time_of(text)
  local year, month, day, hour, minute, second, fraction, zone = text:match(DATE)
  if not year then return nil end
  local function number(word) return math.tointeger(tonumber(word)) end
  local fields = {
    year = number(year), month = number(month), day = number(day), hour = number(hour), min = number(minute),
    sec = number(second),
  }
  local at = os.time(fields)
  if zone == "UTC" or zone == "GMT" or zone == "Etc" then
    fields.isdst = nil
    local there = os.date("!*t", at)
    there.isdst = os.date("*t", at).isdst
    at = at + os.difftime(at, os.time(there))
  end
  return at + tonumber("0." .. fraction)
end

---The last lines with when each was written; what has no time of its own belongs to the line before it.
---@param text string
---@return { at: number, text: string }[]
function server_log.dated(text)
  local entries, at = {}, 0
  for line in text:gmatch "[^\n]+" do
    at = time_of(line) or at
    entries[#entries + 1] = { at = at, text = line }
  end
  return entries
end

---The last lines, and then each within a second of its being written.
---@param target pgaf.Member
---@param lines integer
---@return pgaf.LogStream
function server_log.follow(target, lines)
  local script, first = NEWS:format(quote.sh(target.paths.pgdata)), true
  local old, at = "", "0"
  local function news()
    local name, size, rest = run(target, script, { old = old, at = at }):match "^([^\n]+) (%d+)\n(.*)$"
    if name then old, at = name, size end
    return rest or ""
  end
  return log_stream.new(function()
    if first then
      first = false
      news()
      return server_log.tail(target, lines)
    end
    while true do
      local text = news()
      if text ~= "" then return text end
      task.sleep(LOOK_SECONDS)
    end
  end, function() end)
end

return server_log

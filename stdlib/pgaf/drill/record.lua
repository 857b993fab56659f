-- What is left of a drill, beside its journal, in the run's folder. Nothing but files, each readable with what every
-- machine has:
--
--   result.json     all that was found, with the verdict
--   report.html     the same for a browser
--   events.jsonl    the timeline, one event a line, in seconds from the fault on
--   writes.csv      the ledger: each write with its fate and when it was sent and settled
--   settings.json   of the formation and of the drill
--   versions.json   of pgafrun, and of PostgreSQL and pg_auto_failover on each node

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local page = require "pgaf.drill.page"
local task = require "pgafrun.task"

-- What a drill of some minutes leaves, and a little more; of a long campaign, a part tells enough.
local ROOM_MEGABYTES = 4
local ROOM_RUNS = 32
local KEEP_SECONDS = 60

local record = {}

local function pretty(value) return json.encode(value, { indent = 2 }) .. "\n" end

local function cell(value)
  local text = tostring(value)
  if text:find '[",\r\n]' then text = '"' .. text:gsub('"', '""') .. '"' end
  return text
end

---The ledger as CSV.
---@param ledger pgaf.Ledger
---@param zero number time.now() of the fault
---@return string
function record.writes(ledger, zero)
  local lines = { "id,client,server,sent,settled,fate,reason" }
  for id = 1, ledger.count do
    local settled = ledger.settled[id]
    lines[id + 1] = ("%d,%s,%s,%.6f,%s,%s,%s"):format(id, cell(ledger.writer[id]), cell(ledger.host[id] or ""),
      ledger.sent[id] - zero, settled and ("%.6f"):format(settled - zero) or "", ledger.fate[id],
      cell(ledger.reason[id] or ""))
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

---@param timeline { seconds: number, source: string, node: string?, text: string }[] as pgaf.Timeline exports it
---@return string
function record.events(timeline)
  local lines = {}
  for i, entry in ipairs(timeline) do lines[i] = json.encode(entry) end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

-- By name; each is made when its turn comes, so that what cannot be made leaves the others there.
local FILES = {
  { "writes.csv", function(drill)
    return drill.workload and record.writes(drill.workload.ledger, drill.result.zero or 0)
  end },
  { "events.jsonl", function(drill) return drill.result.timeline and record.events(drill.result.timeline) end },
  { "settings.json", function(drill)
    local result = drill.result
    return pretty { formation = result.settings, monitor = result.timers, drill = result.options,
      synchronous_commit = result.synchronous_commit, prediction = result.prediction }
  end },
  { "versions.json", function(drill)
    return pretty { pgafrun = drill.result.version, nodes = drill.result.versions }
  end },
  { "report.html", function(drill) return page.render(drill.result) end },
  -- the last one: who reads the history takes a run without it for one that has not ended
  { "result.json", function(drill) return pretty(drill.result) end },
}

local function keep(drill, folder)
  for _, file in ipairs(FILES) do
    local ok, problem = pcall(function()
      local text = file[2](drill)
      if text then fs.write(("%s/%s"):format(folder, file[1]), text) end
    end)
    if not ok then
      log.error("what the drill found could not be kept", { file = folder .. "/" .. file[1], why = tostring(problem) })
    end
  end
end

---Writes them. What cannot be written is told, and changes nothing about the verdict. Out of reach of cancellation.
---@param drill pgaf.Drill judged
function record.keep(drill) task.shield(KEEP_SECONDS, keep, drill, drill.journal.folder) end

---Copies what a run left to another folder, which is made.
---@param from string
---@param to string
function record.copy(from, to)
  fs.mkdir(to)
  for _, name in ipairs(fs.list(from)) do
    if fs.stat(("%s/%s"):format(from, name)).type == "file" then
      fs.write(("%s/%s"):format(to, name), fs.read(("%s/%s"):format(from, name)))
    end
  end
end

---Raises kind "file" when a drill's results would not fit into a folder, or may not be written there: before anything
---is broken, and not when it is over. The folder is made.
---@param folder string
---@param runs? integer default 1
function record.check_room(folder, runs)
  local trial, megabytes = folder .. "/.pgafrun-room", math.min(runs or 1, ROOM_RUNS) * ROOM_MEGABYTES
  local ok, problem = pcall(function()
    fs.mkdir(folder)
    local _ <close> = setmetatable({}, { __close = function() fs.remove(trial) end })
    local chunk = ("\0"):rep(1024 * 1024)
    for _ = 1, megabytes do fs.append(trial, chunk, { sync = false }) end
  end)
  if ok then return end
  task.check()
  error.raise {
    kind = "file", operation = "drill", code = error.is(problem) and problem.code or nil, cause = problem,
    message = ("what it finds cannot be kept in %s"):format(folder),
    hint = ("%d MB are wanted there; nothing was touched"):format(megabytes),
  }
end

return record

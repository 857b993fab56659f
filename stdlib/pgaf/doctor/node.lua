-- What a node is: there and running, its clock, room, certificates, and the versions of what is installed and of what
-- runs. What comparing nodes needs is kept in a table of facts.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local program = require "pgafrun.program"
local quote = require "pgaf.quote"
local task = require "pgafrun.task"
local thresholds = require "pgaf.doctor.thresholds"
local time = require "pgafrun.time"

local node = {}

local LIMIT = 20
local COMMAND_SECONDS = 10
local CLOCK_TRIES = 5
-- postgres_ha replaces a server's certificate so long before its end (pgaf.autofailover.pki).
local RENEWAL_DAYS = 90

---What the nodes are compared by.
---@class pgaf.doctor.NodeFacts
---@field status? string of the node
---@field installed? string version of PostgreSQL
---@field running? string version of PostgreSQL
---@field autoctl? string version
---@field clock? pgaf.doctor.Clock

local function script(name) return ("pgafrun -i %s %s"):format(program.inventory or "INVENTORY", name) end

local START = {
  stopped = "incus start %s, unless it was stopped for a reason", frozen = "incus resume %s",
}

local function look_at_status(page, target, facts)
  facts.status = target:status()
  if facts.status == "running" or facts.status == "absent" then return end
  if facts.status == "foreign" then
    return page:problem("the name is taken by something that is not of this formation",
      "give the node another name in the inventory, or remove that yourself")
  end
  local mend = target.provider.kind == "incus" and START[facts.status] or "pgafrun -i %s postgres_ha starts it"
  page:problem("it is " .. facts.status,
    mend:format(target.provider.kind == "incus" and target.name or program.inventory or "INVENTORY"))
end

-- The quickest of some answers is the surest: the truth is within half of its round trip.
---@param target pgaf.Node
---@return pgaf.doctor.Clock
function node.measure_clock(target)
  local best
  for _ = 1, CLOCK_TRIES do
    local wall, before = time.wall(), time.now()
    local answer = target:run("date +%s.%N", { timeout = COMMAND_SECONDS }).stdout
    local trip = time.now() - before
    local theirs = tonumber(answer:match "%d+%.%d+")
    if theirs and (not best or trip / 2 < best.uncertainty) then
      best = { offset = theirs - (wall + trip / 2), uncertainty = trip / 2 }
    end
  end
  return best
end

local PROBE = [[
export LC_ALL=C
folder=$1
while [ ! -d "$folder" ]; do folder=${folder%/*}; folder=${folder:-/}; done
for one in "$folder" /; do
  df -Pk -- "$one" | sed -n '2s/^/disk /p'
done
"$2/postgres" --version 2>/dev/null | sed 's/^/postgres /'
PATH=$2:$PATH pg_autoctl version 2>/dev/null | sed -n '1s/^/autoctl /p']]

---@class pgaf.doctor.Disk
---@field total number bytes
---@field free number bytes
---@field place string where it is mounted

---Reads what PROBE printed.
---@param text string
---@return { disks: pgaf.doctor.Disk[], installed?: string, autoctl?: string }
function node.read_probe(text)
  local read, seen = { disks = {} }, {}
  for total, free, place in text:gmatch "disk %S+%s+(%d+)%s+%d+%s+(%d+)%s+%S+%s+([^\n]+)" do
    if not seen[place] then
      seen[place] = true
      table.insert(read.disks, { total = tonumber(total) * 1024, free = tonumber(free) * 1024, place = place })
    end
  end
  read.installed = text:match "postgres postgres %(PostgreSQL%) (%S+)"
  read.autoctl = text:match "autoctl pg_autoctl version (%S+)"
  return read
end

local function look_inside(page, target, facts)
  local paths = target:paths()
  -- $1 and $2 of the script, whatever the provider's shell is
  local arguments = ("set -- %s %s\n"):format(quote.sh(paths.pgdata), quote.sh(paths.bindir))
  local read = node.read_probe(target:run(arguments .. PROBE, { timeout = COMMAND_SECONDS }).stdout)
  for i, disk in ipairs(read.disks) do
    thresholds.disk(page, (i == 1 and "the data's disk (%s)" or "the disk of %s"):format(disk.place), disk.total,
      disk.free, "make room: old logs, packages (apt-get clean), slots that nobody reads (pg_replication_slots)")
  end
  facts.installed, facts.autoctl = read.installed, read.autoctl
  if not read.installed or not read.autoctl then
    page:missing(read.installed and "pg_autoctl is not installed" or ("no PostgreSQL is in " .. paths.bindir),
      script "postgres_ha")
  end
end

local function look_at_clock(page, target, facts)
  facts.clock = node.measure_clock(target)
  if facts.clock then thresholds.clock(page, facts.clock) else page:unknown "its clock cannot be read" end
end

local function look_at_certificate(page, target, what, path, mend)
  local pem = target:pull(path)
  if not pem then return page:problem(("there is no %s at %s"):format(what, path), script "postgres_ha") end
  local ok, certificate = pcall(crypto.certificate, pem)
  if not ok then return page:problem(("%s holds no certificate"):format(path), script "postgres_ha") end
  thresholds.certificate(page, "the " .. what, certificate.not_after, RENEWAL_DAYS, mend)
end

local function look_at_certificates(page, target, is_monitor)
  local paths = target:paths()
  look_at_certificate(page, target, "server's certificate", paths.server_crt,
    script "postgres_ha" .. " makes another one")
  if not is_monitor then return end
  local folder = paths.ca or paths.base .. "/ca"
  look_at_certificate(page, target, "formation's authority", paths.ca_crt,
    ("move %s on %s away; %s makes another one and certifies all nodes anew"):format(folder, target.name,
      script "postgres_ha"))
end

local SERVER_SQL = [[
select split_part(current_setting('server_version'), ' ', 1) as version, pg_is_in_recovery() as standby]]

local function look_at_server(page, target, facts, reach)
  local connection <close> = reach:node(target.name, "doctor")
  local row = connection:query(SERVER_SQL, nil, { timeout = COMMAND_SECONDS }).rows[1]
  facts.running = row.version
  page:ok(("PostgreSQL %s answers, %s"):format(row.version, row.standby and "a standby" or "it takes writes"))
end

---Is the node there, and does it run?
---@param target pgaf.Node
---@param facts pgaf.doctor.NodeFacts is filled in
---@return pgaf.doctor.Check
function node.status_check(target, facts)
  return {
    about = target.name, check = "state", limit = LIMIT,
    look = function(page) look_at_status(page, target, facts) end,
  }
end

---For one that runs.
---@param target pgaf.Node
---@param facts pgaf.doctor.NodeFacts is filled in
---@param options { monitor: boolean, reach: pgaf.Reach }
---@return pgaf.doctor.Check[]
function node.checks(target, facts, options)
  local function check(name, look)
    return { about = target.name, check = name, limit = LIMIT, look = look }
  end
  local checks = {
    check("disks", function(page) look_inside(page, target, facts) end),
    check("clock", function(page) look_at_clock(page, target, facts) end),
    check("certificates", function(page) look_at_certificates(page, target, options.monitor) end),
  }
  if not options.monitor then
    checks[#checks + 1] = check("server", function(page)
      local ok, problem = pcall(look_at_server, page, target, facts, options.reach)
      task.check()
      if not ok then
        if not error.is(problem) then return page:raised(problem) end
        page:problem(problem.message, problem.hint or
          ("journalctl -u pgautofailover on %s tells why; %s"):format(target.name, script "state"))
      end
    end)
  end
  return checks
end

return node

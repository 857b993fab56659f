-- Clients that write all through a drill, as an application would: over the URI with all hosts, read-write only, one
-- write in flight each, at a fixed pace; after an error they connect again and go on with the next write.
--
-- The drill's rows are in a table of their own in the probe role's schema, dropped when the drill is over.

local throw = error
local error = require "pgafrun.error"
local pg = require "pgafrun.pg"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local ledger = require "pgaf.drill.ledger"

local SCHEMA = "pgaf_probe"
-- A write without an answer for so long has fate unknown, and its connection is given up.
local WRITE_TIMEOUT = 2
-- From the start of one attempt to connect to the start of the next: one costs about 15 ms of processor time here.
local RETRY_SECONDS = 0.05

---@class pgaf.Workload
---@field ledger pgaf.Ledger
---@field writers string[]
local Workload = {}
Workload.__index = Workload

local workload = { SCHEMA = SCHEMA }

---@param reach pgaf.Reach
---@param table_name string
---@param options { writers: integer, interval: number, statement?: string } interval: seconds between two writes of a
---writer; statement: a write of its own, given its id as $1, that needs no table
---@return pgaf.Workload
function workload.new(reach, table_name, options)
  local self = setmetatable({
    reach = reach, ledger = ledger.new(), writers = {}, tasks = {}, interval = options.interval,
    attempts = 0, expected = {}, all_back = task.condition(), table_name = SCHEMA .. "." .. pg.quote_ident(table_name),
  }, Workload)
  self.insert = options.statement or ("insert into %s (id) values ($1)"):format(self.table_name)
  for i = 1, options.writers do self.writers[i] = "client " .. i end
  return self
end

--- Makes the table, and has it on the standbys too, whatever the role's own commits wait for: writes may be lost, their
--- table may not. `at` and the server's address let the gap be derived from the data itself as well.
---@param connection pgafrun.pg.Connection
function Workload:create_table(connection)
  connection:query "set synchronous_commit = on"
  connection:query(([[create table %s (id bigint not null, at timestamptz not null default clock_timestamp(),
    server inet default inet_server_addr(), port integer default inet_server_port())]]):format(self.table_name))
end

--- Writes once and enters it in the ledger. The error is returned, not raised, unless this task was cancelled.
---@param connection pgafrun.pg.Connection
---@param writer string
---@return boolean acknowledged, any problem
function Workload:write(connection, writer)
  local book = self.ledger
  local id = book:send(writer, connection.host)
  local ok, problem = pcall(connection.query, connection, self.insert, { id }, {
    timeout = WRITE_TIMEOUT, mutates = true,
  })
  if ok then
    book:settle(id, "acknowledged")
    if self.expected[writer] and connection.host ~= self.old_host then
      self.expected[writer] = nil
      if not next(self.expected) then self.all_back:notify() end
    end
    return true
  end
  book:settle(id, ledger.fate_of(problem), tostring(problem))
  task.check()
  if not error.is(problem) then throw(problem, 0) end
  return false, problem
end

local function write_until_broken(self, connection, writer)
  local next_write = time.now()
  while not self.stopping and connection:is_open() do
    self:write(connection, writer)
    next_write = math.max(next_write + self.interval, time.now())
    task.sleep(next_write - time.now())
  end
end

local function run(self, writer)
  while not self.stopping do
    local began = time.now()
    local ok, connection = pcall(self.reach.primary, self.reach, "drill " .. writer)
    task.check()
    if ok then
      local _ <close> = connection
      write_until_broken(self, connection, writer)
    elseif not error.is(connection) then
      throw(connection, 0)
    else
      self.attempts = self.attempts + 1
      self.last_refusal = tostring(connection)
    end
    if not self.stopping then task.sleep(math.max(0, began + RETRY_SECONDS - time.now())) end
  end
end

---@param group pgafrun.Group
function Workload:start(group)
  for _, writer in ipairs(self.writers) do
    self.tasks[#self.tasks + 1] = group:spawn_named(writer, run, self, writer)
  end
end

--- From now on it is waited for that each client's write is acknowledged by another server than this one.
---@param old_host string
function Workload:expect_failover(old_host)
  self.old_host = old_host
  for _, writer in ipairs(self.writers) do self.expected[writer] = true end
end

--- Waits for it.
---@param seconds number
---@return boolean back false when the time passed first
function Workload:wait_back(seconds)
  if next(self.expected) then self.all_back:wait(seconds) end
  return not next(self.expected)
end

--- Lets every writer finish the write it is at, and waits for that.
function Workload:stop()
  self.stopping = true
  for _, writer in ipairs(self.tasks) do writer:wait() end
end

--- The client that felt the fail-over for longest; nil when one of them has had no acknowledged write since.
---@param since number
---@param old_host string
---@return pgaf.Gap?, string? writer
function Workload:worst_gap(since, old_host)
  local worst, who
  for _, writer in ipairs(self.writers) do
    local gap = self.ledger:gap(writer, since, old_host)
    if not gap then return nil, writer end
    if not worst or gap.seconds > worst.seconds then worst, who = gap, writer end
  end
  return worst, who
end

return workload

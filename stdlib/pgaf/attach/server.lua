-- What makes a run attachable: a socket of its user alone, and a session for each who comes. Nothing that they do or
-- leave undone keeps the run waiting.

local throw = error
local debugger = require "pgaf.debugger"
local error = require "pgafrun.error"
local fronts = require "pgaf.attach.front"
local log = require "pgafrun.log"
local net = require "pgafrun.net"
local overview = require "pgaf.attach.overview"
local printer = require "pgaf.debugger.print"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local runs = require "pgaf.attach.runs"
local session = require "pgaf.repl.session"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local wire = require "pgaf.attach.wire"

local server = {}

local CLIENTS = 8
local REFUSAL_SECONDS = 5
local RETRY_SECONDS = 1
local BYE_SECONDS = 1

local function refuse(connection, reason)
  pcall(task.timeout, REFUSAL_SECONDS, connection.write, connection, wire.encode { type = "refused", message = reason })
end

-- The folder lets nobody else in; this holds even where that was changed.
local function reason_to_refuse(self, peer)
  if peer.uid ~= self.me.uid then
    return ("this run is user %d's, and is not to be attached to by user %d"):format(self.me.uid, peer.uid)
  end
  if self.clients >= CLIENTS then return ("%d are attached already, and no more are let in"):format(CLIENTS) end
end

local function hello(self)
  return {
    type = "hello", protocol = wire.PROTOCOL, version = program.version, pid = self.me.pid, script = self.script,
    inventory = program.inventory, started = self.started, greeting = overview.greeting(),
  }
end

local function environment(write)
  return setmetatable({ task = task, time = time, print = printer(write) }, { __index = program.exposed })
end

-- The session of one client, until it leaves.
local function converse(front)
  local function write(text) front:write(text) end
  local repl = session.new {
    environment = environment(write),
    write = write,
    columns = function() return front:columns() end,
    foreground = function(t) front:foreground(t) end,
    commands = overview.commands,
  }
  front:completes(repl)
  local unfinished = false
  while true do
    local line = front:read(unfinished and ".. " or "attached> ", repl.failed)
    if not line then return end
    local ok, outcome = pcall(repl.feed, repl, line)
    if not ok then
      task.check()
      if not error.is(outcome, "exit") then throw(outcome, 0) end
      return front:send { type = "bye", message = "the run goes on" }
    end
    unfinished = outcome == "more"
  end
end

local function receive_all(front, connection)
  local from = wire.new(connection)
  while true do
    local message = from:receive()
    if not message then return end
    front:receive(message)
  end
end

local function say_bye(connection)
  connection:write(wire.encode { type = "bye", message = "the run has ended" })
end

-- One client's tasks, of which the first to end ends the others.
local function attend(self, connection)
  local front = fronts.new(connection)
  local _ <close> = setmetatable({}, { __close = function()
    debugger.withdraw(front)
    if not front.closed then pcall(task.shield, BYE_SECONDS, say_bye, connection) end
    front:close()
  end })
  front:send(hello(self))
  local group <close> = task.group { name = "attached" }
  local over = task.condition()
  local function part(name, f, ...)
    local arguments = table.pack(...)
    group:spawn_named(name, function()
      local ok, problem = pcall(f, table.unpack(arguments, 1, arguments.n))
      task.check()
      if not ok then log.debug("attached: " .. name .. ": " .. tostring(problem)) end
      over:notify()
    end)
  end
  part("what is shown", front.deliver, front)
  part("what is typed", receive_all, front, connection)
  local conversation = group:spawn_named("session", function()
    local ok, problem = pcall(converse, front)
    task.check()
    if not ok and not error.is(problem, "exit") then log.debug("attached: " .. tostring(problem)) end
    over:notify()
  end)
  debugger.offer(front)
  over:wait()
  if conversation:status() == "done" then
    front:drain()
    front:close()
  end
  group:cancel()
end

local function welcome(self, connection)
  local _ <close> = connection
  local reason = reason_to_refuse(self, connection:peer())
  if reason then
    log.warn("somebody who wanted to attach was refused: " .. reason)
    return refuse(connection, reason)
  end
  self.clients = self.clients + 1
  local _ <close> = setmetatable({}, { __close = function() self.clients = self.clients - 1 end })
  attend(self, connection)
end

local function serve(self)
  local listener <close> = self.listener
  local group <close> = task.group { name = "attached" }
  while true do
    local ok, connection = pcall(listener.accept, listener)
    task.check()
    if ok then
      group:spawn_named("attached client", function()
        local fine, problem = pcall(welcome, self, connection)
        task.check()
        if not fine then log.debug("an attached prompt ended: " .. tostring(problem)) end
      end)
    else
      log.debug("nobody can be let in: " .. tostring(connection))
      task.sleep(RETRY_SECONDS)
    end
  end
end

---Makes this run attachable, from now until its script has ended.
function server.start()
  for _, run in ipairs(runs.list()) do runs.remove_stale(run) end
  local path = runs.path(runs.folder(), program.script)
  local self = {
    me = process.self(), script = program.script, started = time.iso(), clients = 0,
    listener = net.listen(path, { background = true }),
  }
  task.service("attach", serve, self)
  log.debug("attachable", { socket = path })
end

return server

-- The processes that live in a folder: found by their working folder, whatever their parent or session is.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local tree = {}

-- /proc files are read at once: they never block.
local function first_line(path)
  local file = io.open(path)
  if not file then return nil end
  local line = file:read("l")
  file:close()
  return line
end

--- Alive: there, and no zombie.
---@param pid integer
---@return boolean
function tree.is_alive(pid)
  local stat = first_line(("/proc/%d/stat"):format(pid))
  local state = stat and stat:match("^%d+ %(.*%) (%a)")
  return state ~= nil and state ~= "Z" and state ~= "X"
end

local function is_below(folder, path) return path == folder or path:sub(1, #folder + 1) == folder .. "/" end

--- Is it alive, and one of the folder's? A pid in a file may long be somebody else's.
---@param pid integer
---@param folder string
function tree.lives_in(pid, folder)
  local ok, cwd = pcall(fs.realpath, ("/proc/%d/cwd"):format(pid))
  return ok and is_below(fs.realpath(folder), cwd) and tree.is_alive(pid)
end

--- Pids whose working folder is in `folder`.
---@param folder string
---@return integer[]
function tree.pids(folder)
  local found = {}
  if not fs.stat(folder) then return found end
  local real = fs.realpath(folder)
  local me = process.self()
  for _, name in ipairs(fs.list("/proc")) do
    local pid = math.tointeger(tonumber(name))
    if pid and pid ~= me.pid then
      local ok, cwd = pcall(fs.realpath, ("/proc/%d/cwd"):format(pid))
      if ok and is_below(real, cwd) and tree.is_alive(pid) then
        found[#found + 1] = pid
      end
    end
  end
  return found
end

---@param pid integer
---@return string? name of its program, cut to 15 characters
function tree.program(pid) return first_line(("/proc/%d/comm"):format(pid)) end

---The words of its command line.
---@param pid integer
---@return string[] none for a process that is gone
function tree.words(pid)
  local file = io.open(("/proc/%d/cmdline"):format(pid))
  local words = {}
  if not file then return words end
  -- gone between the opening and the reading: nil
  for word in (file:read "a" or ""):gmatch "[^\0]+" do words[#words + 1] = word end
  file:close()
  return words
end

---@param folder string
---@param signal string
function tree.signal(folder, signal)
  for _, pid in ipairs(tree.pids(folder)) do process.kill(pid, signal) end
end

local function of_programs(pids, programs)
  local found = {}
  for _, pid in ipairs(pids) do
    if not programs or programs[tree.program(pid)] then found[#found + 1] = pid end
  end
  return found
end

--- Kills all, looks again until nothing is left: a process may have forked in between.
---@param folder string
---@param programs? table<string, boolean> only these
function tree.kill(folder, programs)
  for _ = 1, 50 do
    local pids = of_programs(tree.pids(folder), programs)
    if #pids == 0 then return end
    for _, pid in ipairs(pids) do process.kill(pid, "KILL") end
    for _ = 1, 40 do
      local alive = false
      for _, pid in ipairs(pids) do alive = alive or tree.is_alive(pid) end
      if not alive then break end
      task.sleep(0.005)
    end
  end
  error.raise {
    kind = "process", operation = "kill",
    message = "processes in " .. folder .. " survive SIGKILL: " .. table.concat(tree.pids(folder), " "),
    hint = "they may hang in the kernel (ps -o pid,stat,wchan); try again later",
  }
end

--- The pid in the first line of a pid file; nil without one.
---@param path string
---@return integer?
function tree.read_pid(path)
  local line = first_line(path)
  return line and math.tointeger(tonumber(line:match("^%s*(%d+)")))
end

--- Returns a function that waits until the postmaster of pgdata is gone and tells when (time.now()).
---@param folder string
---@param pgdata string
function tree.watch(folder, pgdata)
  local postmaster = tree.read_pid(pgdata .. "/postmaster.pid")
  return function()
    while postmaster and tree.is_alive(postmaster) do task.sleep(0.005) end
    return time.now()
  end
end

return tree

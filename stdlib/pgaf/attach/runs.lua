-- Where the sockets of runs are that can be attached to: a folder that belongs to one user alone, a socket each.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local net = require "pgafrun.net"
local process = require "pgafrun.process"

local runs = {}

local PRIVATE = tonumber("700", 8)
local NAME_BYTES = 40   -- of a script's name in that of its socket
local FOLDER_BYTES = 45 -- of what the folder is in: the path of a socket has 107 at most

---@class pgaf.attach.Run
---@field name string the script's
---@field pid integer
---@field path string of its socket

local function belongs_to(path, uid)
  local found = fs.stat(path)
  return found and found.type == "directory" and found.uid == uid, found
end

-- The one to use first; a run and who looks for it may have been started with different environments.
local function candidates()
  local me, list = process.self(), {}
  local runtime = process.getenv "XDG_RUNTIME_DIR"
  local usable = runtime and runtime:sub(1, 1) == "/" and #runtime <= FOLDER_BYTES
  if usable and belongs_to(runtime, me.uid) then list[1] = runtime .. "/pgafrun" end
  list[#list + 1] = ("/tmp/pgafrun-%d"):format(me.uid)
  return list, me.uid
end

local function is_private(path, uid)
  local ours, found = belongs_to(path, uid)
  return ours and found.mode == PRIVATE, found
end

-- What somebody else could have put there is refused: they would be asked what is typed.
local function check(path, uid)
  local private, found = is_private(path, uid)
  if private then return end
  error.raise {
    kind = "config", operation = "attach", code = "folder",
    message = not found and ("%s is not there"):format(path) or
      ("%s is to be a folder of user %d alone, and is a %s of user %d with mode %04o"):format(path, uid, found.type,
        found.uid, found.mode),
    hint = "have a look at who made it, and remove it",
  }
end

---The folder for a new socket: made if it is not there, and refused unless it is this user's alone.
---@return string path
function runs.folder()
  local list, uid = candidates()
  if not fs.stat(list[1]) then fs.mkdir(list[1], PRIVATE) end
  check(list[1], uid)
  return list[1]
end

---The path of this run's socket.
---@param folder string
---@param script? string
---@return string
function runs.path(folder, script)
  local name = (script or "pgafrun"):match "[^/]*$":gsub("%.lua$", ""):gsub("[^%w_-]", "_"):sub(1, NAME_BYTES)
  return ("%s/%s-%d.sock"):format(folder, name, process.self().pid)
end

---The sockets that are there, whether somebody listens or not. A folder that is not this user's alone has none.
---@return pgaf.attach.Run[]
function runs.list()
  local list, folders, uid = {}, candidates()
  for _, folder in ipairs(folders) do
    if is_private(folder, uid) then
      for _, entry in ipairs(fs.list(folder)) do
        local name, pid = entry:match "^(.*)%-(%d+)%.sock$"
        if name then list[#list + 1] = { name = name, pid = math.tointeger(pid), path = folder .. "/" .. entry } end
      end
    end
  end
  return list
end

---Removes the socket of a process that is gone. One that somebody listens at stays.
---@param run pgaf.attach.Run
---@return boolean removed
function runs.remove_stale(run)
  if process.start_time(run.pid) then return false end
  local ok, e = pcall(net.connect, run.path)
  if ok then
    e:close()
    return false
  end
  if error.is(e, "network", "ECONNREFUSED") then fs.remove(run.path) end
  return error.is(e, "network", "ECONNREFUSED") or error.is(e, "network", "ENOENT")
end

return runs

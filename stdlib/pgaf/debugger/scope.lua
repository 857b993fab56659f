-- The functions that a coroutine which stands still is in, and their variables by name, to be read and set.

local scope = {}

-- No stack of a task that still works is deeper than a person would read.
local MOST_FRAMES = 200

---@class pgaf.debugger.Frame
---@field level integer for the functions of `debug`
---@field what string "Lua", "C", "main"
---@field name? string as the caller calls it
---@field where? string "file:line" it is at; nil in C
---@field library boolean a function of pgafrun's own library
---@field line integer where the function begins; -1 in C
---@field func function

---The functions on the stack, the innermost first.
---@param co thread must stand still as long as the frames are used
---@param from integer level of the innermost that is of interest
---@return pgaf.debugger.Frame[]
function scope.frames(co, from)
  local frames = {}
  for level = from, from + MOST_FRAMES do
    local info = debug.getinfo(co, level, "Slnf")
    if not info then break end
    frames[#frames + 1] = {
      level = level, what = info.what, name = info.name, func = info.func, line = info.linedefined,
      where = info.currentline > 0 and ("%s:%d"):format(info.short_src, info.currentline) or nil,
      library = info.source:find("/stdlib/pgaf/", 1, true) ~= nil,
    }
  end
  return frames
end

---Which of them a person wants to see first: the innermost of a script's own, else the innermost in Lua.
---@param frames pgaf.debugger.Frame[]
---@return integer? index
function scope.nearest(frames)
  local any
  for i, frame in ipairs(frames) do
    if frame.where and not frame.library then return i end
    any = any or (frame.where and i)
  end
  return any
end

-- Names in brackets are Lua's own: temporaries, the state of a loop.
local function is_named(name) return name:sub(1, 1) ~= "(" end

-- The innermost local of that name: of two, the later one hides the earlier.
local function find_local(co, frame, wanted)
  local found
  for i = 1, math.huge do
    local name = debug.getlocal(co, frame.level, i)
    if not name then return found end
    if name == wanted then found = i end
  end
end

local function find_upvalue(frame, wanted)
  for i = 1, math.huge do
    local name = debug.getupvalue(frame.func, i)
    if not name then return nil end
    if name == wanted then return i end
  end
end

---All variables of a function that have a name: locals in the order they were declared, then upvalues.
---@param co thread
---@param frame pgaf.debugger.Frame
---@return { name: string, value: any, kind: "local"|"upvalue" }[]
function scope.variables(co, frame)
  local list, at = {}, {}
  for i = 1, math.huge do
    local name, value = debug.getlocal(co, frame.level, i)
    if not name then break end
    if is_named(name) then
      at[name] = at[name] or #list + 1
      list[at[name]] = { name = name, value = value, kind = "local" }
    end
  end
  for i = 1, math.huge do
    local name, value = debug.getupvalue(frame.func, i)
    if not name then break end
    if name ~= "_ENV" and name ~= "" and is_named(name) and not at[name] then
      list[#list + 1] = { name = name, value = value, kind = "upvalue" }
    end
  end
  return list
end

---A table in which names stand for the variables of a function; what it does not have is in `rest`.
---@param co thread
---@param current fun(): pgaf.debugger.Frame? the function that is looked at
---@param rest table
---@return table
function scope.environment(co, current, rest)
  local meta = {}

  function meta.__index(_, name)
    local frame = current()
    if frame and type(name) == "string" then
      local i = find_local(co, frame, name)
      if i then return (select(2, debug.getlocal(co, frame.level, i))) end
      i = find_upvalue(frame, name)
      if i then return (select(2, debug.getupvalue(frame.func, i))) end
    end
    return rest[name]
  end

  function meta.__newindex(_, name, value)
    local frame = current()
    if frame and type(name) == "string" then
      local i = find_local(co, frame, name)
      if i then
        debug.setlocal(co, frame.level, i, value)
        return
      end
      i = find_upvalue(frame, name)
      if i then
        debug.setupvalue(frame.func, i, value)
        return
      end
    end
    rest[name] = value
  end

  -- For completion: the names that are in sight.
  function meta.__names()
    local names, frame = {}, current()
    for name in pairs(rest) do names[#names + 1] = name end
    for _, variable in ipairs(frame and scope.variables(co, frame) or {}) do names[#names + 1] = variable.name end
    return names
  end

  return setmetatable({}, meta)
end

return scope

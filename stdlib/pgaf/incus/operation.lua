-- Background operations of the server: waiting for them without ever being misled.
--
-- Before 6.0.5 a wait for an operation that failed or is not over answers HTTP 200 with an error inside and no
-- operation, and a finished operation is forgotten after 5 s. So the operation is read by itself whenever a wait tells
-- of anything but its end, and one that is gone has an unknown outcome: the caller looks at the object itself.

local rethrow = error
local error = require "pgafrun.error"
local log = require "pgafrun.log"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local operation = {}

-- The server sends the answer's head at once and the body at the end; a slice bounds how long a lost connection
-- stays unnoticed.
local SLICE = 10
local GRACE = 5
local FINAL = 200
local SUCCESS = 200
local NOTHING_LEARNT = 0.2
-- Failures of a wait that say nothing about the operation.
local BEARABLE = { incus = true, timeout = true, network = true }

---The operation's id out of its URL. The URL itself is of no use: in a cluster it may end in `?project=`.
---@param url string?
---@return string
function operation.id(url)
  local id = url and url:match "^/1%.0/operations/([%w-]+)"
  if not id then
    error.raise {
      kind = "protocol", operation = "incus.operation", outcome = "unknown",
      message = "the server named no operation to wait for: " .. tostring(url),
    }
  end
  return id
end

local function path_of(id) return "/1.0/operations/" .. id end

local function is_final(object)
  return type(object) == "table" and math.type(object.status_code) == "integer" and object.status_code >= FINAL
end

-- One wait of at most `seconds`; the operation, or nil when nothing final was learnt. gone: it no longer exists.
local function wait_once(client, id, seconds)
  local slice = math.max(1, math.min(SLICE, math.ceil(seconds)))
  local ok, answer = pcall(client.call, client, {
    path = path_of(id) .. "/wait", query = { timeout = slice }, timeout = math.min(slice + GRACE, seconds),
    scoped = false,
  })
  if ok and is_final(answer.metadata) then return answer.metadata end
  if not ok and not BEARABLE[error.is(answer) and answer.kind] then rethrow(answer, 0) end
  task.check()
  local object = client:find(path_of(id))
  if object == nil then return nil, true end
  if is_final(object) then return object end
  if not ok then task.sleep(math.min(NOTHING_LEARNT, seconds)) end
  return nil, false
end

local function wait_until(client, id, deadline)
  while true do
    local left = deadline - time.now()
    if left <= 0 then return nil, false end
    local object, gone = wait_once(client, id, left)
    if object or gone then return object, gone end
  end
end

-- Nobody waits any longer. What can be stopped at the server is (a download); the rest goes on there, and is told.
local function abandon(client, id, what)
  local _, stopped = pcall(task.shield, 3, function()
    local object = client:find(path_of(id))
    if not object or is_final(object) then return true end
    if not object.may_cancel then return false end
    return (pcall(client.call, client, { method = "DELETE", path = path_of(id), scoped = false }))
  end)
  if stopped ~= true then
    log.warn("an operation goes on at the server, though nobody waits for it", { operation = id, what = what })
  end
end

---Waits for the end of an operation, whatever end.
---Raises kind "timeout" when `timeout` passes; the operation goes on, or is cancelled where the server can do that.
---@param client pgaf.incus.Client
---@param id string
---@param options { what: string, timeout: number } what: for errors, "start pgaf-1"
---@return table? operation nil: it is gone, and how it ended is unknown
function operation.await(client, id, options)
  local ok, object, gone = pcall(wait_until, client, id, time.now() + options.timeout)
  if ok and (object or gone) then return object end
  abandon(client, id, options.what)
  if not ok then
    if error.is(object) then object.outcome = "unknown" end
    rethrow(object, 0)
  end
  error.raise {
    kind = "timeout", operation = options.what, code = "operation", outcome = "unknown", retryable = true,
    message = ("the server had not finished after %g s"):format(options.timeout),
    hint = "look at it with: incus operation show " .. id,
  }
end

---Raises kind "incus" (code = status code of the operation) unless it succeeded.
---@param object table
---@param what string
function operation.check(object, what)
  if object.status_code == SUCCESS then return object end
  local text = type(object.err) == "string" and object.err ~= "" and object.err or "the server gave no reason"
  error.raise { kind = "incus", operation = what, code = tostring(object.status_code), message = text }
end

---Sends a request that starts an operation and waits for its success.
---@param client pgaf.incus.Client
---@param request pgaf.incus.Request
---@param options { what: string, timeout: number }
---@return table? operation nil: it is gone and its outcome unknown; look at the object
function operation.run(client, request, options)
  local answer = client:call(request)
  if answer.type == "sync" then return answer.metadata end
  local object = operation.await(client, operation.id(answer.operation), options)
  return object and operation.check(object, options.what)
end

return operation

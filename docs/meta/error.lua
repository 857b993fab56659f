---@meta pgafrun.error
-- The structured error that every module raises when something goes wrong in operation.
-- (A wrong argument is a plain Lua argument error: a mistake in the script, not in the world.)

---@class pgafrun.Error
---@field kind "network"|"timeout"|"tls"|"cancelled"|"protocol"|"limit"|"postgres"|"closed"|"process"|"file"|"data"|"memory"|"system"|string
---@field operation string the call that failed: "http.request", "pg.query", "incus.exec" ...
---@field code string? the source's own code: SQLSTATE, errno name, HTTP status ...
---@field message string one sentence for people
---@field cause any? the error beneath
---@field retryable boolean
---@field outcome "unknown"? a change was sent and its result is not known: re-read before acting again
---@field where string? "file:line" of the call
---@field hint string? what to do next
---@field traceback string? filled in when a task ended with it
local Error = {}

local error = {}

---Makes an error (does not raise it). `where` is filled in with the caller's place.
---@param fields { kind: string, operation?: string, code?: string, message: string, cause?: any, retryable?: boolean, outcome?: string, hint?: string }
---@return pgafrun.Error
function error.new(fields) end

---Makes and raises.
---@param fields table
function error.raise(fields) end

---True for a structured error (of that kind, if given; and of that code, if given).
---@param value any
---@param kind? string
---@param code? string
---@return boolean
function error.is(value, kind, code) end

return error

---@meta pgafrun.pg
-- libpq, never blocking: host names are resolved by the event loop, each host has its own connect timeout.
local pg = {}

---@type lightuserdata SQL NULL as a parameter (a nil parameter works too where the list's length is given by `n`)
pg.null = nil

---@class pgafrun.pg.Connection
---@field host string host that was reached
---@field port string
local Connection = {}

---@class pgafrun.pg.Result
---@field rows table<string, any>[] NULLs are absent. bool -> boolean; int2/4/8, oid -> integer; float4/8 -> number; json/jsonb -> text; the rest (numeric, timestamps ...) -> string
---@field fields string[] column names in order
---@field count integer rows affected or returned
---@field command string "SELECT 1", "INSERT 0 1" ...

---Connects. `conninfo` is a URI, a keyword string or a table of libpq keywords; several hosts (with hostaddr, port lists) are tried in
---order, each with connect_timeout seconds (default 5, fractions allowed in a table), and target_session_attrs is honoured.
---password may be a function returning a string (called once), so that a secret is never in a table.
---Raises kind network, timeout, tls or postgres (code = SQLSTATE) with the reason for each host in the message.
---@param conninfo string|table
---@param options? { timeout?: number } of the whole, default 30
---@return pgafrun.pg.Connection
function pg.connect(conninfo, options) end

---@param sql string one statement, $1.. parameters
---@param parameters? any[] string, number, boolean, nil/pg.null; `n` overrides the length
---@param options? { timeout?: number, mutates?: boolean } default 60 s. On timeout or cancellation the server is asked to cancel and the connection is CLOSED (outcome unknown)
---@return pgafrun.pg.Result
---Raises kind postgres: code = SQLSTATE, plus fields detail, hint, severity, position; kind network when the connection broke (outcome "unknown" unless nothing was sent).
function Connection:query(sql, parameters, options) end

---A script of several statements without parameters (simple protocol); returns the last result.
---@param sql string
---@param options? { timeout?: number }
---@return pgafrun.pg.Result
function Connection:exec(sql, options) end

---Sends all statements in pipeline mode, each its own transaction (sync after each) unless options.atomic. Returns one entry a statement: a Result or an Error value.
---@param statements { [1]: string, [2]: any[]? }[]
---@param options? { timeout?: number, atomic?: boolean }
---@return (pgafrun.pg.Result|pgafrun.Error)[]
function Connection:pipeline(statements, options) end

---@param channel string
function Connection:listen(channel) end

---The next notification; nil when `seconds` passed. Notifications are stamped (time.now()) when they arrive, also during queries.
---Raises kind network when the connection breaks.
---@param seconds? number
---@return { channel: string, payload: string, pid: integer, at: number }?
function Connection:notification(seconds) end

---@return boolean
function Connection:is_open() end

---Idempotent, does not wait. Also __close and __gc.
function Connection:close() end

---Quote as an identifier / as a literal (client encoding UTF-8).
---@param text string
---@return string
function pg.quote_ident(text) end
---@param text string
---@return string
function pg.quote_literal(text) end

---The SCRAM-SHA-256 verifier of a password, made locally, for ALTER ROLE ... PASSWORD: the server never sees the password itself.
---@param password string
---@param user string
---@return string
function pg.scram_verifier(password, user) end

---Keywords of a conninfo string or URI. Raises kind data.
---@param conninfo string
---@return table<string,string>
function pg.parse_conninfo(conninfo) end

return pg

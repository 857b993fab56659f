---@meta pgafrun.pg
-- PostgreSQL by libpq, never blocking: host names are resolved by the event loop, each host has its own connect timeout.
-- The socket is watched also when nothing is asked, so a broken connection and a notification are known when they come.
local pg = {}

---@type lightuserdata SQL NULL as a parameter; the same value as json.null. A nil parameter works too where the list's length is given by `n`
pg.null = nil

---@class pgafrun.pg.Connection
---One query at a time; beside it one other task may wait for notifications. Hold it in a `local c <close>` variable:
---one that the collector finds open is closed, and logged with the place that made it.
---@field host string host that was reached
---@field port string
---@field pid integer of the server process
---@field server_version integer 150004
---@field encrypted boolean TLS is in use
local Connection = {}

---@class pgafrun.pg.Result
---@field rows table<string, any>[] NULLs are absent; of columns with the same name the last counts. bool -> boolean; int2/4/8, oid -> integer; float4/8 -> number; json/jsonb -> text; the rest (numeric, timestamps, arrays ...) -> string as the server writes it
---@field fields string[] column names in order
---@field count integer rows affected or returned
---@field command string "SELECT 1", "INSERT 0 1" ...; "" for an empty statement
---@field notices { severity: string, code: string, message: string }[]? what the server said beside it, if anything. A commit whose synchronous replication was given up says so here only: WARNING 57014 or 01000

---@class pgafrun.pg.Error: pgafrun.Error
---What the server answered: kind "postgres", code = SQLSTATE, hint = the server's.
---@field severity string "ERROR", or "FATAL" and "PANIC", which end the connection
---@field primary string the server's message alone
---@field detail string?
---@field position integer? character in the statement, from 1
---@field schema string?
---@field table string?
---@field constraint string?

---Connects. `conninfo` is a URI, a keyword string or a table of libpq keywords; PGHOST and so on, ~/.pgpass and PGSERVICE hold
---as in every libpq program. Several hosts (with hostaddr and port lists) are tried in order, each of their addresses for
---connect_timeout seconds (default 5, fractions allowed, 0 for no limit), and target_session_attrs is honoured.
---password may be a function returning a string (called once, before the time limit runs; it may wait), so that a secret is never in a table.
---client_encoding is UTF8 and gssencmode "disable" unless given.
---Raises kind network, timeout, tls, protocol or postgres with the reason for each host in the message; kind and code are those
---of the host that got furthest. code is a SQLSTATE, an errno name where known, "connect_timeout", or "target_session_attrs" when
---the server had the wrong role. Kind data: keywords or values that libpq does not know.
---@param conninfo string|table<string, string|number|boolean|function>
---@param options? { timeout?: number } of the whole, default 30
---@return pgafrun.pg.Connection
function pg.connect(conninfo, options) end

---Raises a pgafrun.pg.Error when the server refuses, kind network or protocol when the connection broke, kind closed when it was
---closed before. Every query counts as a change unless mutates is false: one that broke, was cancelled or timed out has outcome "unknown",
---unless nothing was sent. An ERROR of the server is a definite no; only a confirmed end of the transaction is a yes.
---@param sql string one statement, $1.. parameters. COPY is refused and closes the connection
---@param parameters? any[] string, number, boolean, nil/pg.null; `n` overrides the length
---@param options? { timeout?: number, mutates?: boolean } default 60 s. On timeout or cancellation the server is asked to cancel and the connection is CLOSED
---@return pgafrun.pg.Result
function Connection:query(sql, parameters, options) end

---A script of several statements without parameters (simple protocol), one transaction unless it says otherwise; returns the last result.
---@param sql string
---@param options? { timeout?: number, mutates?: boolean }
---@return pgafrun.pg.Result
function Connection:exec(sql, options) end

---Sends all statements in pipeline mode, each its own transaction (sync after each) unless options.atomic: then one transaction, of which
---nothing is kept if any entry is an Error. Returns one entry a statement: a Result or an Error value. When the connection breaks, what was
---confirmed before stays a Result, and the rest are Errors of kind network. All results are held until the end: about 2.5 kB each and what is in them.
---@param statements { [1]: string, [2]: any[]? }[]
---@param options? { timeout?: number, atomic?: boolean, mutates?: boolean }
---@return (pgafrun.pg.Result|pgafrun.pg.Error)[]
function Connection:pipeline(statements, options) end

---@param channel string as it is written here, also in upper case; at most 63 bytes
function Connection:listen(channel) end

---The next notification; nil when `seconds` passed. Notifications are stamped (time.now()) when they arrive, also during queries.
---Raises why the connection ended (kind network ...) once those that came before have been taken. 65536 unread ones end the connection.
---@param seconds? number without it, waits until there is one (or the task's deadline)
---@return { channel: string, payload: string, pid: integer, at: number }?
function Connection:notification(seconds) end

---@return boolean
function Connection:is_open() end

---Idempotent, does not wait. Also __close and __gc. What other tasks wait for on it raises kind closed.
function Connection:close() end

---Quote as an identifier / as a literal (client encoding UTF-8).
---@param text string
---@return string
function pg.quote_ident(text) end
---@param text string
---@return string
function pg.quote_literal(text) end

---The SCRAM-SHA-256 verifier of a password, made locally, for ALTER ROLE ... PASSWORD: the server never sees the password itself.
---Raises kind data for a password that is not printable ASCII.
---@param password string
---@param user string the verifier does not depend on it
---@return string
function pg.scram_verifier(password, user) end

---Keywords of a conninfo string or URI. Raises kind data, without showing the text where it may hold a password.
---@param conninfo string
---@return table<string,string>
function pg.parse_conninfo(conninfo) end

return pg

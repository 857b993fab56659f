-- A PostgreSQL server on a node, as resources see it: asked with the node's facts, changed by psql as the cluster's
-- owner over its socket.
--
-- What such resources have in common is here too: server.resource makes one of a comparison, whose differences are what
-- probe tells, what --diff shows, and what apply sends.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local parameter = require "pgaf.resource.parameter"
local psql = require "pgaf.postgres.psql"
local quote = require "pgaf.quote"
local schema = require "pgaf.schema"
local task = require "pgafrun.task"

local server = {}

local SOCKET_DIRECTORY, PORT = "/var/run/postgresql", 5432
local RELOAD_SECONDS = 10
local COMMAND_SECONDS = 120

---Which server: for the annotations of the resources' options.
---@class pgaf.PgServerOptions
---@field port? integer default the node's own server's
---@field socket? string folder of the server's socket, default the node's own server's; a cluster of the distribution
---has "/var/run/postgresql"

---Those options, and more, as parameters of a resource.
---@param more table<string, pgaf.resource.Parameter>
---@return table<string, pgaf.resource.Parameter>
function server.parameters(more)
  more.port = { schema.integer(1, 65535) }
  more.socket = { parameter.path }
  return more
end

---The name of something in a database: what PostgreSQL takes as an identifier.
server.identifier = schema.text { pattern = "[^%c]+", max = 63, what = "a name of at most 63 bytes" }

-- -------------------------------------------------------------------------------------------------------- questions

---@param options pgaf.PgServerOptions
---@param database string
---@param query string one JSON value
---@param before? string lines for psql, whose variables the query uses
---@return pgaf.facts.Request
function server.question(options, database, query, before)
  -- the same question of two resources is asked once
  local place = ("%s:%s/%s"):format(options.socket or "", options.port or "", database)
  return {
    "sql", "pg " .. crypto.sha256(("%s\n%s\n%s"):format(place, before or "", query)):sub(1, 32), database = database,
    query = query, before = before, socket = options.socket, port = options.port,
  }
end

-- The server itself tells whole seconds of a file's change, and a second has room for a load and a change after it.
local CHANGED = [[
select %s as file \gset
\set changed `stat -c %%.6Y -- :'file'`]]

---Lines for psql before a question that has server.STALE in it.
---@param file string SQL: the path of a configuration file
---@return string
function server.looks_at(file) return CHANGED:format(file) end

---SQL: that file was changed after the server last loaded its configuration.
server.STALE = "coalesce(pg_conf_load_time() < to_timestamp(nullif(:'changed', '')::float8), false)"

---What every resource wants to know of its server.
---@class pgaf.PgServerState
---@field standby boolean
---@field version integer 150004
---@field databases string[]
local ABOUT = [[
select json_build_object('standby', pg_is_in_recovery(), 'version', current_setting('server_version_num')::int,
  'databases', (select json_agg(datname) from pg_database where datallowconn))]]

---@param target pgaf.Target
---@param options pgaf.PgServerOptions
---@return string socket's folder
---@return integer port
local function place(target, options)
  local node = target.node
  return options.socket or node.paths and node:paths().run or SOCKET_DIRECTORY,
    options.port or target.facts and target.facts.port or PORT
end

local function refuse(resource, target, kind, message, hint)
  error.raise {
    kind = kind, operation = ("%s %s on %s"):format(resource.kind, resource.name, target.name), message = message,
    hint = hint,
  }
end

---Raises that a resource cannot be as it is wanted.
---@param resource pgaf.Resource
---@param target pgaf.Target
---@param message string
---@param hint? string
function server.refuse(resource, target, message, hint) refuse(resource, target, "config", message, hint) end

local function contains(list, wanted)
  for _, one in ipairs(list) do
    if one == wanted then return true end
  end
  return false
end

-- An answer that did not come says nothing about what was asked: it is told why there is none.
local function answer(resource, target, options, about, request, value)
  if value ~= false and value ~= nil then return value end
  if not about then
    local socket, port = place(target, options)
    refuse(resource, target, "postgres", ("PostgreSQL does not answer on %s/.s.PGSQL.%d"):format(socket, port),
      "does the server run? `socket` and `port` say which one is meant")
  end
  if not contains(about.databases, request.database) then
    refuse(resource, target, "missing", ("there is no database %q"):format(request.database),
      "make it in a step before: resource.pg_database")
  end
  return refuse(resource, target, "postgres", ("the question to the database %q was not answered: %s"):format(
    request.database, request.query:match "^[^\n]*"), "the server's log tells why")
end

-- ---------------------------------------------------------------------------------------------------------- changes

-- A secret in a statement stays out of the server's log.
local QUIET = [[
\set ON_ERROR_STOP 1
\set VERBOSITY verbose
\set SHOW_CONTEXT never
set log_statement = 'none'; set log_min_error_statement = 'panic'; set log_min_duration_statement = -1;
]]

-- What to do where the server does not say it.
local HINTS = {
  ["2BP01"] = "REASSIGN OWNED and DROP OWNED, in each database, take from a role what depends on it",
}

-- The server's words in psql's: "psql:<stdin>:3: ERROR:  42704: role "x" does not exist", then DETAIL, HINT, LOCATION.
local function read_error(stderr)
  local code, message = stderr:match "[A-Z]+:  (%w%w%w%w%w): ([^\n]*)"
  local detail, hint = stderr:match "\nDETAIL:  ([^\n]*)", stderr:match "\nHINT:  ([^\n]*)"
  if not code then return nil, stderr:match "^%s*(.-)%s*$" end
  return code, detail and ("%s (%s)"):format(message, detail) or message, hint
end
server.read_error = read_error

---Runs a command as the cluster's owner; psql finds the server there.
---@param target pgaf.Target
---@param options pgaf.PgServerOptions
---@param command string
---@param stdin? string
---@return { code: integer, stdout: string, stderr: string }
function server.as_owner(target, options, command, stdin)
  local socket, port = place(target, options)
  return target.node:run(psql.AS_OWNER .. "\nas_owner " .. command, {
    user = "root", env = { PGHOST = socket, PGPORT = tostring(port) }, stdin = stdin, check = false,
    timeout = COMMAND_SECONDS,
  })
end

---Sends statements to a database, as the cluster's owner. Raises kind "postgres" with the server's code and words.
---@param resource pgaf.Resource
---@param target pgaf.Target
---@param options pgaf.PgServerOptions
---@param database string
---@param sql string statements; a transaction of its own each, unless they say otherwise
---@return string output
function server.run(resource, target, options, database, sql)
  local result = server.as_owner(target, options, ("psql -XAtq -d %s -f -"):format(quote.sh(database)),
    QUIET .. sql .. "\n")
  if result.code == 0 then return result.stdout end
  local code, message, hint = read_error(result.stderr)
  return error.raise {
    kind = "postgres", operation = ("%s %s on %s"):format(resource.kind, resource.name, target.name), code = code,
    message = message ~= "" and message or ("psql ended with status %s"):format(tostring(result.code)),
    hint = hint or HINTS[code],
  }
end

local LOADED = "select pg_conf_load_time();"

---SQL: the lines for which the server loads none of its settings; what waits for a restart is none of them.
server.WRONG_LINES = [[
select string_agg(concat_ws(':', sourcefile, sourceline) || ': ' || error, '; ') from pg_file_settings file
where error is not null and not exists (select from pg_settings where name = file.name and pending_restart)]]

---Lets the server read its configuration files again, and waits until it has.
---@param resource pgaf.Resource
---@param target pgaf.Target
---@param options pgaf.PgServerOptions
function server.reload(resource, target, options)
  local before = server.run(resource, target, options, "postgres", LOADED .. " select pg_reload_conf();")
    :match "^[^\n]+"
  local ok = pcall(task.timeout, RELOAD_SECONDS, function()
    -- it is a signal to the server, and what counts is what a new session finds
    while server.run(resource, target, options, "postgres", LOADED):match "^[^\n]+" == before do task.sleep(0.02) end
  end)
  task.check()
  if ok then return end
  local wrong = server.run(resource, target, options, "postgres", server.WRONG_LINES .. ";"):match "^[^\n]+"
  refuse(resource, target, wrong and "config" or "timeout",
    ("the server has not read its configuration again within %d s%s"):format(RELOAD_SECONDS,
      wrong and ": " .. wrong or ""), wrong and "mend that line: until then it loads none" or "its log tells why")
end

-- --------------------------------------------------------------------------------------------------------- resources

---One thing that is not as wanted.
---@class pgaf.PgDifference
---@field says string in one line
---@field done? string what was done about it, when that is not plain from `says`
---@field what string for --diff
---@field before? string
---@field after? string
---@field secret? boolean
---@field sql? string|fun(): string the statement that mends it
---@field database? string where it is sent, default "postgres"

---@class pgaf.PgResource
---@field options pgaf.PgServerOptions|{ on_primary?: boolean }
---@field subject? string "role app": what the differences are told of
---@field questions pgaf.facts.Request[]
---@field compare fun(self, target: pgaf.Target, answers: any[], about: pgaf.PgServerState): pgaf.PgDifference[]
---@field on_standby? boolean it is each server's own, and may be changed on a standby
---@field apply? fun(self, target: pgaf.Target, found: pgaf.PgDifference[]): string? instead of sending sql

-- Statements in their order; those that follow each other in one database go together.
local function send(resource, target, options, found)
  local database, statements = nil, {}
  local function flush()
    if #statements > 0 then
      server.run(resource, target, options, database, table.concat(statements, ";\n") .. ";")
    end
    statements = {}
  end
  for _, difference in ipairs(found) do
    local where = difference.database or "postgres"
    if where ~= database then flush() end
    database = where
    local sql = difference.sql
    statements[#statements + 1] = type(sql) == "function" and sql() or sql
  end
  flush()
end

---A resource of what is in a server.
---@param spec pgaf.PgResource
---@return pgaf.Resource
function server.resource(spec)
  local options = spec.options
  local about_question = server.question(options, "postgres", ABOUT)
  local resource = { reads = table.move(spec.questions, 1, #spec.questions, 2, { about_question }) }

  local function differing(self, target, facts)
    local about = facts.sql[about_question[2]]
    answer(self, target, options, about, about_question, about)
    -- what the primary has, its standbys have
    if about.standby and options.on_primary then return {}, about end
    local answers = {}
    for i, request in ipairs(spec.questions) do
      answers[i] = answer(self, target, options, about, request, facts.sql[request[2]])
    end
    return spec.compare(self, target, answers, about), about
  end

  local function tell(found, field)
    local words = {}
    for i, difference in ipairs(found) do words[i] = difference[field] or difference.says end
    return #words > 0 and (spec.subject and spec.subject .. ": " or "") .. table.concat(words, "; ") or nil
  end

  function resource:probe(target, facts) return tell((differing(self, target, facts)), "says") end

  function resource:changes(target, facts)
    local changes = {}
    for i, difference in ipairs((differing(self, target, facts))) do
      changes[i] = {
        what = difference.what, before = difference.before, after = difference.after, secret = difference.secret,
      }
    end
    return changes
  end

  function resource:apply(target, _, facts)
    local found, about = differing(self, target, facts)
    if about.standby and not spec.on_standby then
      refuse(self, target, "config", ("%s is a standby: ask the primary"):format(target.name),
        "`on` the primary only, or on_primary = true on all nodes: it is then done where the primary is")
    end
    if spec.apply then return spec.apply(self, target, found) or tell(found, "done") end
    send(self, target, options, found)
    return tell(found, "done")
  end

  return resource
end

return server

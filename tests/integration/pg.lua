-- PostgreSQL as scripts see it, against a real server.

local fs = require "pgafrun.fs"
local is = require("pgafrun.error").is
local pg = require "pgafrun.pg"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local test = require "pgaf.test"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local postgres = dofile(here .. "/support/postgres.lua")
local lu = test.lu

local server = postgres.cluster {
  hba = [[
local   all all            trust
hostssl all onlytls all    trust
host    all onlytls all    reject
host    all careful all    scram-sha-256
host    all all     all    trust
host    replication all all trust
]],
  configure = function(folder)
    postgres.certificates(folder, "localhost")
    return ("ssl = on\nssl_cert_file = '%s/server.crt'\nssl_key_file = '%s/server.key'\n"):format(folder, folder)
  end,
}
local _ <close> = setmetatable({}, { __close = function() task.shield(30, server.remove, server) end })

local T = {}

local function connect(more) return pg.connect(server:keywords(more)) end

-- Runs f with a connection of its own.
local function connected(f, more)
  return function()
    local c <close> = connect(more)
    f(c)
  end
end

local function fails(kind, code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok, "it succeeded")
  lu.assertTrue(is(e, kind, code), tostring(e))
  return e
end

local function value(c, sql, parameters) return (c:query(sql, parameters).rows[1] or {}).v end

-- Sessions, but our own, that run this. Waits until there are so many.
local function wait_for_sessions(c, sql, wanted)
  for _ = 1, 500 do
    local n = value(c, "select count(*) as v from pg_stat_activity where query = $1 and state = 'active' " ..
      "and pid <> pg_backend_pid()", { sql })
    if n == wanted then return end
    task.sleep(0.01)
  end
  lu.fail(("never %d sessions that run %s"):format(wanted, sql))
end

-- What every change gets when nobody said how it ended.
local SLEEP = "select pg_sleep(60)"

--- queries

T.test_values_have_lua_types = connected(function(c)
  local r = c:query [[select true as b, false as f, 1::int2 as i2, -2::int4 as i4, 9223372036854775807 as i8,
    4294967295::oid as o, 0.25::float4 as f4, 'NaN'::float8 as nan, '-Infinity'::float8 as inf, 1.10::numeric as n,
    'é' as t, '{"a": 1}'::jsonb as j, null as nothing, array[1, 2] as a]]
  local row = r.rows[1]
  lu.assertEquals(r.fields,
    { "b", "f", "i2", "i4", "i8", "o", "f4", "nan", "inf", "n", "t", "j", "nothing", "a" })
  lu.assertEquals({ row.b, row.f, row.i2, row.i4, row.i8, row.o, row.f4 },
    { true, false, 1, -2, math.maxinteger, 4294967295, 0.25 })
  lu.assertEquals(math.type(row.i8), "integer")
  lu.assertNotEquals(row.nan, row.nan)
  lu.assertEquals(row.inf, -math.huge)
  lu.assertEquals({ row.n, row.t, row.j, row.a }, { "1.10", "é", '{"a": 1}', "{1,2}" })
  lu.assertNil(row.nothing)
  lu.assertEquals({ r.count, r.command, #r.rows }, { 1, "SELECT 1", 1 })
  lu.assertNil(r.notices)
end)

T.test_parameters_arrive_exactly = connected(function(c)
  for _, n in ipairs { math.maxinteger, math.mininteger, 0 } do
    lu.assertEquals(value(c, "select $1::int8 as v", { n }), n)
  end
  for _, n in ipairs { 0.1, 1e308, -2.5e-308, math.pi, math.huge, -math.huge } do
    lu.assertEquals(value(c, "select $1::float8 as v", { n }), n)
  end
  lu.assertEquals(value(c, "select $1::bool as v", { true }), true)
  lu.assertEquals(value(c, "select $1::bool as v", { false }), false)
  lu.assertEquals(value(c, "select $1::text as v", { "it's \\ é \" $1" }), "it's \\ é \" $1")
  lu.assertEquals(value(c, "select $1::text is null as v", { pg.null }), true)
  lu.assertEquals(value(c, "select $1 = 'a' and $2::text is null and $3 = 'x' as v", { "a", nil, "x", n = 3 }), true)
end)

function T.test_wrong_arguments_are_argument_errors()
  local c <close> = connect()
  for message, f in pairs {
    ["parameter $2 is a table"] = function() c:query("select $1, $2", { 1, {} }) end,
    ["zero byte"] = function() c:query "select 1\0" end,
    ["no option 'timout'"] = function() c:query("select 1", {}, { timout = 1 }) end,
    ["at most 63 bytes"] = function() c:listen(("x"):rep(64)) end,
    ["entry 2 is no table"] = function() c:pipeline { { "select 1" }, "select 2" } end,
    ["a statement must be a string"] = function() c:pipeline { { 1 } } end,
    ["string or table expected"] = function() pg.connect(7) end,
    ["keyword 'host' must be a string"] = function() pg.connect { host = {} } end,
    ["password function must return a string"] = function() pg.connect { password = function() end } end,
    ["keyword 'password' must be a string"] = function() pg.connect { password = {} } end,
  } do
    local ok, e = pcall(f)
    lu.assertFalse(ok, message)
    lu.assertStrContains(tostring(e), message)
  end
  lu.assertEquals(value(c, "select 1 as v"), 1)
  fails("data", nil, pg.connect, { hots = "x" })
end

T.test_commands_tell_how_many = connected(function(c)
  lu.assertEquals(c:query("create temp table t (n int)").command, "CREATE TABLE")
  local r = c:query("insert into t select generate_series(1, 5)")
  lu.assertEquals({ r.command, r.count, r.rows, r.fields }, { "INSERT 0 5", 5, {}, {} })
  lu.assertEquals(c:query("delete from t where n > $1", { 3 }).count, 2)
  lu.assertEquals(c:query("").command, "")
end)

T.test_an_error_has_all_the_server_said = connected(function(c)
  c:exec "create temp table t (n int constraint one primary key); insert into t values (1)"
  local e = fails("postgres", "23505", c.query, c, "insert into t values ($1)", { 1 })
  lu.assertEquals({ e.severity, e.detail, e.constraint, e.table, e.operation },
    { "ERROR", "Key (n)=(1) already exists.", "one", "t", "pg.query" })
  lu.assertStrContains(e.message, "127.0.0.1:" .. server.port)
  lu.assertStrContains(e.where, "pg.lua:")
  lu.assertNil(e.outcome)
  lu.assertFalse(e.retryable)
  e = fails("postgres", "42703", c.query, c, "select nothing from t")
  lu.assertEquals(e.position, 8)
  e = fails("postgres", "P0001", c.exec, c, "do $$ begin raise 'stop' using hint = 'go'; end $$")
  lu.assertEquals({ e.primary, e.hint }, { "stop", "go" })
  lu.assertTrue(c:is_open())
end)

T.test_notices_come_with_their_result = connected(function(c)
  local r = c:exec "do $$ begin raise warning 'mind %', 'this'; end $$"
  lu.assertEquals(r.notices, { { severity = "WARNING", code = "01000", message = "mind this" } })
end)

T.test_a_script_returns_its_last_result_and_stops_at_an_error = connected(function(c)
  local r = c:exec "create temp table t (n int); insert into t values (1), (2); select sum(n) as v from t"
  lu.assertEquals(r.rows, { { v = 3 } })
  fails("postgres", "22012", c.exec, c, "insert into t values (3); select 1/0; insert into t values (4)")
  lu.assertEquals(value(c, "select count(*) as v from t"), 2)
end)

T.test_copy_is_refused = connected(function(c)
  fails("protocol", "copy", c.exec, c, "copy pg_class to stdout")
  lu.assertFalse(c:is_open())
end)

function T.test_quoting_is_what_the_server_reads()
  for _, setting in ipairs { "on", "off" } do
    local c <close> = connect { options = "-c standard_conforming_strings=" .. setting }
    for _, text in ipairs { "it's", "\\", "a\\'b", "é\n", "", "'; drop table x; --" } do
      lu.assertEquals(value(c, "select" .. pg.quote_literal(text) .. " as v"), text)
      if text ~= "" then lu.assertEquals(c:query("select 1 as " .. pg.quote_ident(text)).fields, { text }) end
    end
  end
end

T.test_one_query_at_a_time = connected(function(c)
  local g <close> = task.group()
  local slow = g:spawn(c.query, c, "select pg_sleep(0.1), 7 as v")
  task.yield()
  local ok, e = pcall(c.query, c, "select 1")
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(e), "connection is busy")
  lu.assertEquals(slow:wait().rows[1].v, 7)
end)

--- giving up

T.test_a_timeout_cancels_at_the_server_and_closes = connected(function(c)
  local watcher <close> = connect()
  local e = fails("timeout", nil, c.query, c, SLEEP, nil, { timeout = 0.1 })
  lu.assertEquals(e.outcome, "unknown")
  lu.assertFalse(c:is_open())
  fails("closed", nil, c.query, c, "select 1")
  wait_for_sessions(watcher, SLEEP, 0)
end)

T.test_a_query_that_changes_nothing_has_no_unknown_outcome = connected(function(c)
  local e = fails("timeout", nil, c.query, c, SLEEP, nil, { timeout = 0.05, mutates = false })
  lu.assertNil(e.outcome)
end)

T.test_cancelling_the_task_cancels_at_the_server = connected(function(c)
  local watcher <close> = connect()
  local g <close> = task.group()
  local asking = g:spawn(c.query, c, SLEEP)
  wait_for_sessions(watcher, SLEEP, 1)
  asking:cancel()
  local e = fails("cancelled", nil, asking.wait, asking)
  lu.assertEquals(e.outcome, "unknown")
  wait_for_sessions(watcher, SLEEP, 0)
  lu.assertFalse(c:is_open())
end)

T.test_another_session_can_be_told_to_end = connected(function(c)
  local killer <close> = connect()
  local g <close> = task.group()
  local asking = g:spawn(pcall, c.query, c, SLEEP)
  wait_for_sessions(killer, SLEEP, 1)
  killer:query("select pg_terminate_backend($1)", { c.pid })
  local ok, e = asking:wait()
  lu.assertFalse(ok)
  lu.assertTrue(is(e, "postgres", "57P01"), tostring(e))
  lu.assertEquals({ e.outcome, e.severity, e.retryable }, { "unknown", "FATAL", true })
  lu.assertFalse(c:is_open())
end)

T.test_a_cancelled_statement_is_a_definite_no = connected(function(c)
  local killer <close> = connect()
  local g <close> = task.group()
  local asking = g:spawn(pcall, c.query, c, SLEEP)
  wait_for_sessions(killer, SLEEP, 1)
  killer:query("select pg_cancel_backend($1)", { c.pid })
  local _, e = asking:wait()
  lu.assertTrue(is(e, "postgres", "57014"), tostring(e))
  lu.assertNil(e.outcome)
  lu.assertTrue(c:is_open())
end)

--- pipelines

T.test_a_pipeline_keeps_order_and_goes_on_after_errors = connected(function(c)
  local statements = {}
  for i = 1, 1000 do
    statements[i] = i % 100 == 50 and { "select 1/0" } or { "select $1::int as v", { i } }
  end
  local results = c:pipeline(statements)
  lu.assertEquals(#results, 1000)
  for i, r in ipairs(results) do
    if i % 100 == 50 then lu.assertTrue(is(r, "postgres", "22012"), i)
    else lu.assertEquals(r.rows[1].v, i) end
  end
  lu.assertEquals(c:pipeline {}, {})
  lu.assertEquals(value(c, "select 1 as v"), 1)
end)

T.test_each_statement_of_a_pipeline_is_a_transaction = connected(function(c)
  c:exec "create temp table t (n int unique deferrable initially deferred)"
  local insert = "insert into t values ($1)"
  local r = c:pipeline { { insert, { 1 } }, { insert, { 1 } }, { insert, { 2 } } }
  lu.assertEquals(r[1].command, "INSERT 0 1")
  lu.assertTrue(is(r[2], "postgres", "23505"), "a commit that fails is an error, whatever the statement said")
  lu.assertEquals(r[3].command, "INSERT 0 1")
  lu.assertEquals(value(c, "select sum(n) as v from t"), 3)
end)

T.test_an_atomic_pipeline_is_one_transaction = connected(function(c)
  c:exec "create temp table t (n int)"
  local insert = "insert into t values ($1)"
  local r = c:pipeline({ { insert, { 1 } }, { "select 1/0" }, { insert, { 2 } } }, { atomic = true })
  lu.assertEquals({ r[2].code, r[3].code }, { "22012", "25P02" })
  lu.assertEquals(value(c, "select count(*) as v from t"), 0)
  r = c:pipeline({ { insert, { 1 } }, { insert, { 2 } } }, { atomic = true })
  lu.assertEquals({ r[1].count, r[2].count, value(c, "select count(*) as v from t") }, { 1, 1, 2 })
end)

-- More than all the buffers between: a client that wrote before it read would wait for ever.
local function large_pipeline(c)
  local statements, long = {}, ("x"):rep(4000)
  for i = 1, 3000 do statements[i] = { "select $1 || $2 as v", { long, tostring(i) } } end
  local results = c:pipeline(statements)
  for i, r in ipairs(results) do
    if r.rows[1].v ~= long .. i then lu.fail("wrong answer " .. i) end
  end
  lu.assertEquals(#results, 3000)
end

T.test_a_large_pipeline_does_not_deadlock = connected(large_pipeline, { sslmode = "disable" })
T.test_a_large_pipeline_does_not_deadlock_with_tls = connected(large_pipeline, { sslmode = "require" })

function T.test_a_pipeline_that_breaks_tells_what_is_certain()
  local c <close> = connect()
  local watcher <close> = connect()
  watcher:exec "drop table if exists breaks; create table breaks (n int)"
  local g <close> = task.group()
  local asking = g:spawn(c.pipeline, c, { { "insert into breaks values (1)" }, { SLEEP }, { "select 3" } })
  wait_for_sessions(watcher, SLEEP, 1)
  watcher:query("select pg_terminate_backend($1)", { c.pid })
  local r = asking:wait()
  lu.assertEquals(r[1].command, "INSERT 0 1")
  lu.assertTrue(is(r[2], "postgres", "57P01"), tostring(r[2]))
  lu.assertTrue(is(r[3], "network"), tostring(r[3]))
  lu.assertEquals({ r[2].outcome, r[3].outcome }, { "unknown", "unknown" })
  lu.assertEquals(value(watcher, "select count(*) as v from breaks"), 1)
end

-- The first answers are handed over while the server still works on the others.
function T.test_a_long_pipeline_that_breaks_keeps_what_was_answered()
  local c <close> = connect()
  local watcher <close> = connect()
  local g <close> = task.group()
  local statements = {}
  for i = 1, 300 do statements[i] = { "select $1::int as v", { i } } end
  statements[200] = { SLEEP }
  statements[100] = { "select 1/0" }
  local asking = g:spawn(c.pipeline, c, statements)
  wait_for_sessions(watcher, SLEEP, 1)
  watcher:query("select pg_terminate_backend($1)", { c.pid })
  local r = asking:wait()
  lu.assertEquals(#r, 300)
  for i, answer in ipairs(r) do
    if i == 100 then lu.assertTrue(is(answer, "postgres", "22012"), tostring(answer))
    elseif i < 200 then lu.assertEquals(answer.rows[1].v, i)
    elseif i == 200 then lu.assertTrue(is(answer, "postgres", "57P01"), tostring(answer))
    else lu.assertTrue(is(answer, "network"), tostring(answer)) end
  end
end

function T.test_a_long_pipeline_ends_in_time()
  local c <close> = connect()
  local statements = {}
  for i = 1, 300 do statements[i] = { "select 1" } end
  statements[200] = { SLEEP }
  local e = fails("timeout", nil, c.pipeline, c, statements, { timeout = 0.3 })
  lu.assertEquals(e.outcome, "unknown")
  lu.assertFalse(c:is_open())
end

--- notifications

T.test_notifications_are_stamped_when_they_come = connected(function(c)
  local sender <close> = connect()
  c:listen "Some Channel"
  lu.assertNil(c:notification(0.02))
  lu.assertNil(c:notification(0))
  local before = time.now()
  sender:query([[select pg_notify('Some Channel', $1)]], { "payload é" })
  task.sleep(0.05) -- it arrives while nobody waits for it
  local after = time.now()
  local n = c:notification(5)
  lu.assertEquals({ n.channel, n.payload, n.pid }, { "Some Channel", "payload é", sender.pid })
  lu.assertTrue(n.at > before and n.at < after)
  lu.assertNil(c:notification(0))
end)

T.test_a_query_runs_beside_the_wait_for_notifications = connected(function(c)
  c:listen "beside"
  local g <close> = task.group()
  local waiting = g:spawn(c.notification, c, 10)
  task.yield()
  local ok, e = pcall(c.notification, c, 1)
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(e), "another task waits")
  lu.assertEquals(value(c, "select 5 as v, pg_notify('beside', 'self')"), 5)
  lu.assertEquals(waiting:wait().payload, "self")
end)

T.test_a_broken_connection_ends_the_wait_for_notifications = connected(function(c)
  local killer <close> = connect()
  c:listen "broken"
  local g <close> = task.group()
  local waiting = g:spawn(c.notification, c, 10)
  task.yield()
  killer:exec "notify broken, 'last'"
  lu.assertEquals(waiting:wait().payload, "last")
  waiting = g:spawn(pcall, c.notification, c, 10)
  task.yield()
  killer:query("select pg_terminate_backend($1)", { c.pid })
  local _, e = waiting:wait()
  lu.assertTrue(is(e, "network", "57P01"), tostring(e))
  fails("network", "57P01", c.notification, c, 1) -- also for who asks later
  fails("closed", "57P01", c.query, c, "select 1")
end)

--- connecting

T.test_a_unix_socket = connected(function(c)
  lu.assertEquals(c.host, server.folder)
  lu.assertFalse(c.encrypted)
end, { host = server.folder })

function T.test_strings_and_uris()
  for _, text in ipairs {
    ("host=localhost port=%d user=postgres dbname=postgres connect_timeout=2.5"):format(server.port),
    ("postgres://postgres@127.0.0.1:%d/postgres?application_name=mine"):format(server.port),
  } do
    local c <close> = pg.connect(text, { timeout = 10 })
    lu.assertEquals(c.port, tostring(server.port))
    lu.assertTrue(c.server_version >= 140000)
  end
  lu.assertEquals(pg.parse_conninfo "postgres://u:p%20w@h1:1,h2:2/d",
    { host = "h1,h2", port = "1,2", user = "u", password = "p w", dbname = "d" })
end

local function alter_password(c, password)
  local verifier = pg.scram_verifier(password, "careful")
  c:exec "drop role if exists careful"
  c:exec("create role careful login password " .. pg.quote_literal(verifier))
  lu.assertEquals(value(c, "select rolpassword as v from pg_authid where rolname = 'careful'"), verifier)
end

T.test_a_local_verifier_lets_its_password_in = connected(function(c)
  local password = [[It's "quite" \ long, $1 ~]]
  alter_password(c, password)
  local calls = 0
  local login <close> = connect { user = "careful", password = function()
    calls = calls + 1
    task.sleep(0.01) -- it may fetch it from somewhere
    return password
  end }
  lu.assertEquals({ value(login, "select current_user::text as v"), calls }, { "careful", 1 })
  local e = fails("postgres", "28P01", connect, { user = "careful", password = "wrong" })
  lu.assertNotStrContains(tostring(e), "wrong")
  fails("postgres", "28P01", connect, { user = "careful", passfile = server.folder .. "/nothing" })
  fails("data", nil, pg.scram_verifier, "pässword", "careful")
end)

T.test_a_password_file = connected(function(c)
  alter_password(c, "from-a-file")
  local file = server.folder .. "/pgpass"
  fs.write(file, ("127.0.0.1:%d:*:careful:from-a-file\n"):format(server.port))
  local login <close> = connect { user = "careful", passfile = file }
  lu.assertTrue(login:is_open())
end)

T.test_whole_numbers_are_written_as_such = connected(function(c)
  lu.assertTrue(c:is_open())
end, { tcp_user_timeout = 5e3, connect_timeout = 2.5, keepalives_idle = 10 })

function T.test_refusals_name_their_reason()
  fails("postgres", "3D000", connect, { dbname = "nowhere" })
  fails("postgres", "28000", connect, { user = "nobody-there" })
  fails("network", "ECONNREFUSED", connect, { port = 1 })
  fails("network", "ENOENT", connect, { host = server.folder .. "/nowhere" })
end

T.test_tls_is_verified_against_the_name = connected(function(admin)
  admin:exec "drop role if exists onlytls; create role onlytls login"
  local ca, other = server.folder .. "/ca.crt", server.folder .. "/extra.crt"
  local function with(more)
    local keywords = { user = "onlytls", host = "localhost", hostaddr = "127.0.0.1", sslmode = "verify-full" }
    for name, v in pairs(more) do keywords[name] = v end
    return connect(keywords)
  end
  local c <close> = with { sslrootcert = ca }
  lu.assertTrue(c.encrypted)
  lu.assertEquals(value(c, "select ssl as v from pg_stat_ssl where pid = pg_backend_pid()"), true)
  local copy <close> = fs.in_memory(fs.read(ca))
  with({ sslrootcert = copy:path() }):close()
  fails("tls", nil, with, { sslrootcert = other })
  fails("tls", nil, with, { sslrootcert = server.folder .. "/nothing.crt" })
  fails("tls", nil, with, { sslrootcert = ca, host = "127.0.0.1" })
  fails("postgres", "28000", with, { sslmode = "disable" })
end)

function T.test_answers_of_every_size_arrive_through_tls()
  local c <close> = connect { sslmode = "require" }
  for size = 100, 66000, 397 do
    lu.assertEquals(#value(c, "select repeat('x', $1::int) as v", { size }), size)
  end
  lu.assertEquals(#value(c, "select repeat('x', 20000000) as v"), 20000000)
end

function T.test_the_host_that_can_be_written_is_found()
  local standby <close> = setmetatable({ cluster = postgres.standby(server) }, {
    __close = function(self) task.shield(30, self.cluster.remove, self.cluster) end,
  })
  local ports = ("1,%d,%d"):format(standby.cluster.port, server.port)
  local function among(target)
    local c <close> = connect { host = "127.0.0.1,127.0.0.1,localhost", port = ports, target_session_attrs = target }
    return c.port
  end
  lu.assertEquals(among "read-write", tostring(server.port))
  lu.assertEquals(among "primary", tostring(server.port))
  lu.assertEquals(among "standby", tostring(standby.cluster.port))
  lu.assertEquals(among "prefer-standby", tostring(standby.cluster.port))
  lu.assertEquals(among "any", tostring(standby.cluster.port))

  local only = { port = standby.cluster.port, target_session_attrs = "read-write" }
  local e = fails("postgres", "target_session_attrs", connect, only)
  lu.assertTrue(e.retryable)
  lu.assertStrContains(e.message, "is a standby")
  local c <close> = connect { port = standby.cluster.port }
  e = fails("postgres", "25006", c.query, c, "create table t (n int)")
  lu.assertTrue(e.retryable)

  e = fails("postgres", nil, connect,
    { host = "127.0.0.1,127.0.0.1", port = "1," .. standby.cluster.port, target_session_attrs = "primary" })
  lu.assertStrContains(e.message, "connection refused")
  lu.assertStrContains(e.message, "is a standby")
end

--- handles

function T.test_a_forgotten_connection_is_closed_and_named()
  local connect_here = ("pg.connect { host = %q, port = %d, user = 'postgres' }\n"):format(server.folder, server.port)
  local script = "local pg = require 'pgafrun.pg'\n" .. connect_here .. "collectgarbage()\n" ..
    "local c <close> = " .. connect_here
  local file = server.folder .. "/forgets.lua"
  fs.write(file, script)
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", file }
  lu.assertEquals(r.code, 0, r.stderr)
  lu.assertStrContains(r.stderr, "forgets.lua:2: the connection to " .. server.folder)
  lu.assertNotStrContains(r.stderr, "forgets.lua:4")
end

T.test_closing_wakes_who_waits = connected(function(c)
  local watcher <close> = connect()
  local g <close> = task.group()
  local asking, listening = g:spawn(pcall, c.query, c, SLEEP), g:spawn(pcall, c.notification, c)
  wait_for_sessions(watcher, SLEEP, 1)
  c:close()
  c:close()
  local _, e = asking:wait()
  lu.assertTrue(is(e, "closed"), tostring(e))
  lu.assertEquals(e.outcome, "unknown")
  _, e = listening:wait()
  lu.assertTrue(is(e, "closed"), tostring(e))
  wait_for_sessions(watcher, SLEEP, 0)
end)

-- The last one: it takes the server away.
function T.test_zz_a_server_that_crashes()
  local c <close> = connect()
  local idle <close> = connect()
  local g <close> = task.group()
  local asking = g:spawn(pcall, c.query, c, SLEEP)
  wait_for_sessions(idle, SLEEP, 1)
  server:stop "immediate"
  local _, e = asking:wait()
  lu.assertEquals(e.outcome, "unknown", tostring(e))
  while idle:is_open() do task.sleep(0.01) end
  e = fails("closed", nil, idle.query, idle, "select 1")
  lu.assertNil(e.outcome)
  server:start()
  local again <close> = connect()
  lu.assertEquals(value(again, "select 1 as v"), 1)
end

test.run("pg", T)

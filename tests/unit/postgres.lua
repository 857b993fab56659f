-- What is pure in the resources of PostgreSQL: values of settings, entries of pg_hba.conf, privileges, psql's errors,
-- and mistakes in parameters.
local acl = require "pgaf.postgres.acl"
local guc = require "pgaf.postgres.guc"
local hba = require "pgaf.postgres.hba"
local resource = require "pgaf.resource"
local secret = require "pgaf.secret"
local server = require "pgaf.postgres.server"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

-- ---------------------------------------------------------------------------------------------------------- settings

local MEMORY = { name = "shared_buffers", vartype = "integer", unit = "8kB", min = "16", max = "1073741823" }
local TIME = { name = "log_min_duration_statement", vartype = "integer", unit = "ms", min = "-1", max = "2147483647" }
local COUNT = { name = "max_connections", vartype = "integer", min = "1", max = "262143" }
local REAL = { name = "random_page_cost", vartype = "real", min = "0", max = "1e+308" }
local DELAY = { name = "vacuum_cost_delay", vartype = "real", unit = "ms", min = "0", max = "100" }
local BOOLEAN = { name = "autovacuum", vartype = "bool" }
local ENUM = {
  name = "synchronous_commit", vartype = "enum", enumvals = { "local", "remote_write", "remote_apply", "on", "off" },
}
local LIST = { name = "shared_preload_libraries", vartype = "string" }
local TEXT = { name = "log_line_prefix", vartype = "string" }

function T.test_a_setting_in_any_unit_is_one_number()
  for _, value in ipairs { "128MB", "131072kB", "134217728B", 16384, "16384", " 128 MB " } do
    lu.assertEquals(guc.canonical(MEMORY, value), 16384, tostring(value))
  end
  lu.assertEquals(guc.canonical(MEMORY, "1GB"), 131072)
  lu.assertEquals(guc.canonical(TIME, "1min"), 60000)
  lu.assertEquals(guc.canonical(TIME, "1.5s"), 1500)
  lu.assertEquals(guc.canonical(TIME, -1), -1)
  lu.assertEquals(guc.canonical(TIME, "2d"), 172800000)
  lu.assertEquals(guc.canonical(DELAY, "500us"), 0.5)
  lu.assertEquals(guc.canonical(REAL, "1.1"), 1.1)
  lu.assertEquals(guc.canonical(REAL, "11e-1"), 1.1)
end

function T.test_what_is_wrong_with_a_number_is_said()
  local function problem(row, value)
    local result, text = guc.canonical(row, value)
    lu.assertNil(result)
    return text
  end
  lu.assertStrContains(problem(MEMORY, "1 Gb"), "none of B, kB, MB, GB, TB")
  lu.assertStrContains(problem(MEMORY, "10ms"), "none of B, kB")
  lu.assertStrContains(problem(TIME, "10MB"), "none of us, ms, s, min, h, d")
  lu.assertStrContains(problem(COUNT, "10kB"), "no unit")
  lu.assertStrContains(problem(COUNT, 0), "from 1 to 262143")
  lu.assertStrContains(problem(MEMORY, "8kB"), "in units of 8kB")
  lu.assertStrContains(problem(COUNT, "many"), "number")
  lu.assertStrContains(problem(COUNT, true), "number")
end

function T.test_words_for_yes_and_no()
  for _, value in ipairs { true, "on", "ON", "yes", "1", "true" } do lu.assertIsTrue(guc.canonical(BOOLEAN, value)) end
  for _, value in ipairs { false, "off", "No", "0", "false" } do lu.assertIsFalse(guc.canonical(BOOLEAN, value)) end
  lu.assertEquals({ guc.canonical(BOOLEAN, "perhaps") }, { nil, "it is on or off" })
  lu.assertEquals(guc.canonical(ENUM, false), "off")
  lu.assertEquals(guc.canonical(ENUM, "yes"), "on")
  lu.assertEquals(guc.canonical(ENUM, "Remote_Apply"), "remote_apply")
  lu.assertStrContains(select(2, guc.canonical(ENUM, "remote_aply")), 'did you mean "remote_apply"')
end

function T.test_items_of_lists_are_quoted_one_by_one()
  local function literal(text) return "'" .. text .. "'" end
  lu.assertEquals(guc.canonical(LIST, { "a", "$libdir/b" }), 'a, "$libdir/b"')
  lu.assertEquals(guc.canonical(LIST, 'a,  "$libdir/b"'), 'a, "$libdir/b"')
  lu.assertEquals(guc.canonical(LIST, ""), "")
  lu.assertEquals(guc.expression("shared_preload_libraries", "a, b", literal), "'a', 'b'")
  lu.assertEquals(guc.expression("shared_preload_libraries", {}, literal), "''")
  lu.assertEquals(guc.expression("log_line_prefix", "%m, %p", literal), "'%m, %p'")
  lu.assertEquals(guc.expression("autovacuum", false, literal), "'off'")
  lu.assertEquals(guc.expression("max_connections", 20.0, literal), "'20'")
  lu.assertEquals(guc.canonical(TEXT, "%m, %p"), "%m, %p")
end

-- ------------------------------------------------------------------------------------------------------- pg_hba.conf

local function problems_of(entries)
  local list = {}
  hba.entries(entries, "entries", function(path, message) list[#list + 1] = path .. " " .. message end)
  return table.concat(list, "\n")
end

local function entry(fields)
  local one = { type = "hostssl", database = "app", user = "app", address = "10.0.0.0/8", method = "scram-sha-256" }
  for key, value in pairs(fields or {}) do one[key] = value or nil end
  return one
end

function T.test_entries_become_lines()
  lu.assertEquals(hba.line(entry()), "hostssl app             app             10.0.0.0/8         scram-sha-256")
  lu.assertEquals(hba.line { type = "local", database = { "all" }, user = { "a b", "+dba" }, method = "peer",
    options = { map = "people" } }, 'local   all             "a b",+dba                         peer map=people')
  lu.assertEquals(problems_of { entry() }, "")
end

function T.test_entries_that_are_refused()
  lu.assertStrContains(problems_of { entry { method = "trust" } }, "lets in whoever")
  lu.assertStrContains(problems_of { entry { method = "trust", address = "all" } }, "lets in whoever")
  lu.assertStrContains(problems_of { entry { method = "trust", address = "samenet" } }, "lets in whoever")
  lu.assertStrContains(problems_of { entry { method = "trust", address = "127.0.0.0/7" } }, "lets in whoever")
  lu.assertEquals(problems_of { entry { method = "trust", address = "127.0.0.1/32" } }, "")
  lu.assertEquals(problems_of { entry { method = "trust", address = "::1/128" } }, "")
  lu.assertStrContains(problems_of { entry { type = "host", method = "password" } }, "in clear")
  lu.assertStrContains(problems_of { entry { address = "10.0.0.1" } }, "10.0.0.1/32")
  lu.assertStrContains(problems_of { entry { address = "fe80::1" } }, "fe80::1/128")
  lu.assertStrContains(problems_of { entry { address = false } }, "address is missing")
  lu.assertStrContains(problems_of { entry { type = "local" } }, "has an address")
  lu.assertStrContains(problems_of { entry { method = "peer" } }, "local only")
  lu.assertStrContains(problems_of { entry { methd = "peer" } }, 'did you mean "method"')
  lu.assertStrContains(problems_of { entry { user = "a\nb" } }, "a name")
  lu.assertStrContains(problems_of {}, "at least 1")
end

function T.test_a_block_comes_and_goes_and_leaves_the_rest()
  local text = "# head\nlocal all all peer"
  local block = hba.block("a", { entry() })
  local first = hba.with_block(text, "a", block, "first")
  lu.assertEquals(first, block .. text .. "\n")
  lu.assertEquals(hba.with_block(text, "a", block, "last"), text .. "\n" .. block)
  lu.assertEquals({ hba.split(first, "a") }, { "", block, text .. "\n" })
  -- where it is, it stays
  local other = hba.block("a", { entry { user = "other" } })
  lu.assertEquals(hba.with_block(text .. "\n" .. block .. "# tail\n", "a", other, "first"),
    text .. "\n" .. other .. "# tail\n")
  lu.assertEquals(hba.with_block(first, "a", nil, "first"), text .. "\n")
  -- another name is another block; marks are whole lines
  lu.assertNil((select(2, hba.split(first, "b"))))
  lu.assertNil((select(2, hba.split("x # begin pgafrun: a\nlocal all all peer\n", "a"))))
  lu.assertErrorMsgContains("ends a block that no line began", hba.split, "x " .. block, "a")
  lu.assertErrorMsgContains("begins a block that no line", hba.split, "# begin pgafrun: a\nlocal all all peer\n", "a")
  lu.assertEquals(hba.with_block(first, "b", block:gsub(": a", ": b"), "first"):sub(1, 20), "# begin pgafrun: b\nh")
end

-- -------------------------------------------------------------------------------------------------------- privileges

local function wanted(privileges, fields)
  local one = {
    privileges = acl.meant("tables", privileges, 150000), grant_option = false, exact = false, absent = false,
  }
  for key, value in pairs(fields or {}) do one[key] = value end
  return one
end

function T.test_privileges_that_are_meant()
  lu.assertEquals(acl.meant("database", { "temp", "Connect" }, 150000), { TEMPORARY = true, CONNECT = true })
  lu.assertNil(acl.meant("tables", { "all" }, 160004).MAINTAIN)
  lu.assertTrue(acl.meant("tables", { "all" }, 170000).MAINTAIN)
end

function T.test_what_to_grant_and_to_revoke()
  lu.assertNil(acl.plan(wanted { "select" }, { SELECT = false, INSERT = true }))
  lu.assertEquals(acl.plan(wanted { "select", "update" }, { SELECT = false }),
    { grant = { "UPDATE" }, revoke = {}, revoke_option = {} })
  lu.assertEquals(acl.plan(wanted({ "select" }, { grant_option = true }), { SELECT = false }),
    { grant = { "SELECT" }, revoke = {}, revoke_option = {} })
  lu.assertEquals(acl.plan(wanted({ "select" }, { exact = true }), { SELECT = true, INSERT = false, DELETE = true }),
    { grant = {}, revoke = { "DELETE", "INSERT" }, revoke_option = { "SELECT" } })
  lu.assertNil(acl.plan(wanted({ "select" }, { exact = true }), { SELECT = true, INSERT = true }, true))
  lu.assertEquals(acl.plan(wanted({ "select", "insert" }, { absent = true }), { SELECT = false, UPDATE = false }),
    { grant = {}, revoke = { "SELECT" }, revoke_option = {} })
  lu.assertNil(acl.plan(wanted({ "insert" }, { absent = true }), { SELECT = false }))
end

function T.test_what_is_held_afterwards()
  local held = { SELECT = true, INSERT = false }
  local after = acl.after(held, { grant = { "UPDATE" }, revoke = { "INSERT" }, revoke_option = { "SELECT" } }, true)
  lu.assertEquals(acl.show(after), "select, update*")
  lu.assertEquals(acl.show {}, "none")
  lu.assertEquals(held, { SELECT = true, INSERT = false })
end

-- ------------------------------------------------------------------------------------------------------------ server

function T.test_errors_of_psql()
  lu.assertEquals({ server.read_error 'psql:<stdin>:5: ERROR:  42710: role "a" already exists\nLOCATION:  x.c:1\n' },
    { "42710", 'role "a" already exists' })
  lu.assertEquals({ server.read_error "ERROR:  2BP01: it cannot go\nDETAIL:  owner of b\nHINT:  do that\nLOCATION: x" },
    { "2BP01", "it cannot go (owner of b)", "do that" })
  lu.assertEquals({ server.read_error "psql: error: connection refused\n" }, { nil, "psql: error: connection refused" })
end

function T.test_the_same_question_is_one_fact()
  local options = { port = 5433 }
  local one, two = server.question(options, "a", "select 1"), server.question({ port = 5433 }, "a", "select 1")
  lu.assertEquals(one, two)
  lu.assertNotEquals(one[2], server.question({}, "a", "select 1")[2])
  lu.assertNotEquals(one[2], server.question(options, "b", "select 1")[2])
end

-- A server's answers, as facts would have them.
local function answering(made, ...)
  local sql, answers = {}, { ... }
  for i, request in ipairs(made.reads) do sql[request[2]] = answers[i] end
  return { sql = sql }
end

local PRIMARY = { standby = false, version = 150004, databases = { "postgres", "app" } }
local STANDBY = { standby = true, version = 150004, databases = { "postgres", "app" } }

local function target()
  return {
    name = "n1", node = { paths = function() return { run = "/run/x" } end, run = function() error "touched" end },
  }
end

-- A target whose server does whatever it is sent, and what that was: `sent.text`.
local function recording()
  local on, sent = target(), {}
  function on.node.run(_, _, options)
    sent.text = options.stdin
    return { code = 0, stdout = "", stderr = "" }
  end
  return on, sent
end

function T.test_no_answer_is_no_difference_but_an_error()
  local made = resource.pg_extension { name = "hstore", database = "gone" }
  local ok, raised = pcall(made.probe, made, target(), answering(made, false, false))
  lu.assertFalse(ok)
  lu.assertStrContains(raised.message, "/run/x/.s.PGSQL.5432")
  ok, raised = pcall(made.probe, made, target(), answering(made, PRIMARY, false))
  lu.assertFalse(ok)
  lu.assertEquals({ raised.kind, raised.message }, { "missing", 'there is no database "gone"' })
end

local MISSING = { exists = false }

function T.test_a_standby_is_left_alone()
  local made = resource.pg_role { name = "app" }
  lu.assertEquals(made:probe(target(), answering(made, STANDBY, MISSING)), "role app: it is missing")
  local ok, raised = pcall(made.apply, made, target(), "", answering(made, STANDBY, MISSING))
  lu.assertFalse(ok)
  lu.assertStrContains(raised.message, "ask the primary")
  made = resource.pg_role { name = "app", on_primary = true }
  lu.assertNil(made:probe(target(), answering(made, STANDBY, MISSING)))
  lu.assertIsString(made:probe(target(), answering(made, PRIMARY, MISSING)))
end

function T.test_a_password_is_in_no_change_and_no_statement()
  local on, sent = recording()
  local made = resource.pg_role { name = "app", password = secret.value "a-password-nobody-sees" }
  local snapshot = answering(made, PRIMARY, MISSING)
  local changes = made:changes(on, snapshot)
  lu.assertEquals(changes, { { what = "app", before = "missing", after = "there" } })
  made:apply(on, "", snapshot)
  lu.assertStrContains(sent.text, "password 'SCRAM-SHA-256$4096:")
  lu.assertNil(sent.text:find("nobody-sees", 1, true))
  lu.assertStrContains(sent.text, "set log_statement = 'none'")
end

function T.test_names_are_quoted()
  local on, sent = recording()
  local made = resource.pg_role { name = [[a"; drop table x; --]], member_of = { "b c" } }
  made:apply(on, "", answering(made, PRIMARY, MISSING))
  lu.assertStrContains(sent.text, [[create role "a""; drop table x; --" login]])
  lu.assertStrContains(sent.text, [[grant "b c" to "a""; drop table x; --"]])
end

-- What a resource says of a primary's answer, or raises.
local function says(made, reply)
  local ok, result = pcall(made.probe, made, target(), answering(made, PRIMARY, reply))
  return ok and result or result and result.message
end

function T.test_default_privileges_of_all_schemas_and_of_one()
  local parameters = {
    role = "public", database = "app", on = "functions", privileges = { "execute" }, default_of = "app",
    state = "absent",
  }
  local reply = { role = true, default_of = true, schema = true, defaults = { [""] = { EXECUTE = false } } }
  lu.assertStrContains(says(resource.pg_grant(parameters), reply), "cannot be revoked for schema public alone")
  parameters.default_in = "database"
  lu.assertStrContains(says(resource.pg_grant(parameters), reply), "later functions of app in database app")
  reply.defaults = { [""] = {}, other = { EXECUTE = false } }
  lu.assertStrContains(says(resource.pg_grant(parameters), reply), "later functions of app in schema other")
  parameters.default_in = nil
  lu.assertNil(says(resource.pg_grant(parameters), reply))
  parameters.state, reply.defaults = nil, { [""] = { EXECUTE = false } }
  lu.assertNil(says(resource.pg_grant(parameters), reply))
  parameters.default_of, parameters.default_in = nil, "schema"
  lu.assertStrContains(table.concat(resource.pg_grant(parameters).problems), "wants default_of")
end

function T.test_the_grantor_takes_back_what_it_gave()
  local on, sent = recording()
  local made = resource.pg_grant {
    role = "x", database = "app", on = "tables", privileges = { "all" }, state = "absent",
  }
  local reply = {
    role = true, default_of = true, schema = true, objects = {
      { name = "public.a", plain = "a", mine = false, held = { SELECT = false, INSERT = false },
        others = { ["the boss"] = { "SELECT" } } },
    },
  }
  lu.assertStrContains(says(made, reply), "has insert, select on table public.a (granted by the boss)")
  made:apply(on, "", answering(made, PRIMARY, reply))
  lu.assertStrContains(sent.text, 'revoke insert, select on table public.a from "x";\nset role "the boss";\n' ..
    'revoke select on table public.a from "x";\nreset role;')
end

function T.test_a_setting_of_this_session_is_not_the_servers()
  local function reply(fields)
    local row = { name = "work_mem", vartype = "integer", unit = "kB", source = "user", value = "1024", boot = "4096",
      context = "user" }
    local one = { row = row, formation = false, of_formation = false, stale = false, names = { "work_mem" } }
    for key, value in pairs(fields) do one[key] = value end
    return one
  end
  local function work_mem(value) return resource.pg_setting { name = "work_mem", value = value } end
  lu.assertEquals(says(work_mem "1MB", reply {}), "work_mem is 4096 kB, not 1024 kB")
  lu.assertNil(says(work_mem "4MB", reply {}))
  lu.assertNil(says(work_mem "8MB", reply { file = "8MB", files = "8MB" }))
  lu.assertNil(says(work_mem "8MB", reply { files = "8MB" }))
  lu.assertStrContains(says(work_mem "8MB", reply { file = "8MB", files = "8MB", stale = true }), "may not have loaded")
end

-- -------------------------------------------------------------------------------------------- mistakes in parameters

local function problem(made) return table.concat(made.problems or {}, "\n") end

function T.test_mistakes_are_told_together()
  local text = problem(resource.pg_role { nme = "x", password = "clear", connection_limit = "many", state = "gone" })
  for _, part in ipairs { 'did you mean "name"', "name is missing", "password wants a secret", "connection_limit",
    '"present" or "absent"' } do lu.assertStrContains(text, part) end
end

function T.test_what_cannot_be_meant()
  lu.assertStrContains(problem(resource.pg_role { name = "pg_x" }), "PostgreSQL's own")
  lu.assertStrContains(problem(resource.pg_role { name = "a", exact = true }), "member_of")
  lu.assertStrContains(problem(resource.pg_database { name = "a", state = "absent" }), "force = true")
  lu.assertStrContains(problem(resource.pg_database { name = "postgres", state = "absent", force = true }), "cluster")
  lu.assertStrContains(problem(resource.pg_setting { name = "work_mem" }), "either a value")
  lu.assertStrContains(problem(resource.pg_setting { name = "work_mem", value = 1, reset = true }), "either a value")
  lu.assertStrContains(problem(resource.pg_hba {}), "entries is missing")
  lu.assertStrContains(problem(resource.pg_grant { role = "a", database = "b", on = "schema", names = { "x" },
    privileges = { "usage" } }), "names is for tables")
  lu.assertStrContains(problem(resource.pg_grant { role = "a", database = "b", on = "schema",
    privileges = { "usgae" } }), 'did you mean "usage"')
  lu.assertStrContains(problem(resource.pgaf_monitor { formation = {} }), "wants a formation")
  lu.assertStrContains(problem(resource.pgaf_timers {}), "formation is missing")
  lu.assertEquals(problem(resource.pg_role { name = "a", password = secret.value "long-enough-1" }), "")
end

test.run("postgres", T)

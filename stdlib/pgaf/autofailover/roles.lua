-- The roles and the database of a formation: as SQL for a cluster that was never started, and compared with, and mended
-- in, one that runs.
--
-- pg_auto_failover would make its roles itself, without passwords and the replicator as a superuser. Made beforehand
-- they are left alone, and besides REPLICATION the replicator needs only the four functions that pg_rewind calls.

local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local passwords = require "pgaf.autofailover.passwords"
local pg = require "pgafrun.pg"
local scram = require "pgafrun.scram"
local secret = require "pgaf.secret"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local roles = {}

local PROBE = "pgaf_probe"
-- Without it a primary tells nobody how its standbys stand to it.
local STATISTICS = "pg_read_all_stats"
-- Fixed in pg_auto_failover's monitor; the role may log in from the monitor's address and own nothing.
local HEALTH_CHECK_PASSWORD = "pgautofailover_monitor"
local REWIND_FUNCTIONS = "pg_catalog.pg_ls_dir(text,boolean,boolean), pg_catalog.pg_stat_file(text,boolean), " ..
  "pg_catalog.pg_read_binary_file(text), pg_catalog.pg_read_binary_file(text,bigint,bigint,boolean)"

local ANSWER_SECONDS = 30

local ident, literal = pg.quote_ident, pg.quote_literal

---@class pgaf.RoleSpec
---@field name string
---@field attributes string
---@field member_of? string
---@field password fun(): string

---@param formation pgaf.Formation
---@return pgaf.RoleSpec[]
local function node_roles(formation)
  local application = formation.inventory.application
  return {
    {
      name = "pgautofailover_monitor", attributes = "login connection limit 1",
      password = function() return HEALTH_CHECK_PASSWORD end,
    },
    {
      name = "pgautofailover_replicator", attributes = "login replication",
      password = function() return secret.reveal(formation:password "replication") end,
    },
    {
      name = application.user, attributes = "login",
      password = function()
        return passwords.reveal(formation.inventory, application.password, "application.password")
      end,
    },
    {
      name = PROBE, attributes = "login", member_of = STATISTICS,
      password = function() return secret.reveal(formation:password "probe") end,
    },
  }
end

local function monitor_roles(formation)
  return {
    {
      name = "autoctl_node", attributes = "login",
      password = function() return secret.reveal(formation:password "monitor") end,
    },
  }
end

local function create_role(spec)
  return ("create role %s %s password %s%s"):format(
    ident(spec.name), spec.attributes, literal(pg.scram_verifier(spec.password(), spec.name)),
    spec.member_of and " in role " .. spec.member_of or "")
end

local function database_grants(application)
  local database = ident(application.database)
  return {
    ("revoke connect on database %s from public"):format(database),
    -- without it a joining node fails
    ("grant connect on database %s to pgautofailover_replicator, %s, %s"):format(
      database, ident(application.user), PROBE),
  }
end

local CREATE_SCHEMA = ("create schema %s authorization %s"):format(PROBE, PROBE)

---Statements for `postgres --single`, by the database they run in; in this order.
---@param formation pgaf.Formation
---@param role "monitor"|"node"
---@return { database: string, statements: string[] }[]
function roles.offline(formation, role)
  local statements = {}
  for _, spec in ipairs(role == "monitor" and monitor_roles(formation) or node_roles(formation)) do
    statements[#statements + 1] = create_role(spec)
  end
  if role == "monitor" then return { { database = "postgres", statements = statements } } end
  local application = formation.inventory.application
  statements[#statements + 1] = ("create database %s owner %s"):format(
    ident(application.database), ident(application.user))
  for _, grant in ipairs(database_grants(application)) do statements[#statements + 1] = grant end
  statements[#statements + 1] = ("grant execute on function %s to pgautofailover_replicator"):format(REWIND_FUNCTIONS)
  return {
    { database = "postgres", statements = statements },
    { database = application.database, statements = { CREATE_SCHEMA } },
  }
end

-- ------------------------------------------------------------------------------------------------ in a running server

local function quoted_names(specs)
  local names = {}
  for i, spec in ipairs(specs) do names[i] = literal(spec.name) end
  return table.concat(names, ", ")
end

local ROLES = [[
(select json_object_agg(rolname, json_build_object('super', rolsuper, 'login', rolcanlogin,
  'makes', rolcreaterole or rolcreatedb, 'replication', rolreplication, 'password', rolpassword,
  'member_of', (select json_agg(roleid::regrole::text) from pg_auth_members where member = pg_authid.oid)))
  from pg_authid where rolname in (%s))]]

-- Who may connect to the database: 0 is everybody.
local DATABASE = [[
(select json_build_object('owner', pg_get_userbyid(datdba), 'connect', (select json_agg(grantee::regrole::text)
  from aclexplode(coalesce(datacl, acldefault('d', datdba))) where privilege_type = 'CONNECT'))
  from pg_database where datname = %s)]]

local function monitor_fact(specs)
  return {
    "sql", "roles", database = "postgres",
    query = ("select json_build_object('roles', %s)"):format(ROLES:format(quoted_names(specs))),
  }
end

local function node_fact(specs, database)
  return {
    "sql", "roles", database = "postgres",
    query = ("select json_build_object('standby', pg_is_in_recovery(), 'roles', %s, 'database', %s)"):format(
      ROLES:format(quoted_names(specs)), DATABASE:format(literal(database))),
  }
end

-- What the server said; an answer that did not come is no statement about its roles. A server that this run has just
-- started gets some time.
local function answer(target, facts, fact)
  local deadline = (target.begun_at or -math.huge) + ANSWER_SECONDS
  local now = facts.sql.roles
  while not now and time.now() < deadline do
    task.sleep(0.2)
    target.facts:forget()
    now = target.facts:fetch({ fact }).sql.roles
  end
  if now then return now end
  return error.raise {
    kind = "postgres", operation = "roles on " .. target.name, message = "PostgreSQL on the node does not answer",
    hint = "pgafrun scripts/state.lua shows the formation; the node's log tells why",
  }
end

local function is_table(value) return type(value) == "table" end

---@class pgaf.RoleDifference
---@field says string
---@field change pgaf.Change
---@field statement string that mends it

-- The attributes that are compared, in SQL's words.
local function rights(login, replication, makes, super)
  local words = { login and "login" or "nologin", replication and "replication" or nil }
  if makes then words[#words + 1] = "createrole or createdb" end
  if super then words[#words + 1] = "superuser" end
  return table.concat(words, " ")
end

-- More than is wanted is somebody's own affair.
local function compare_membership(spec, now, differ)
  local is = is_table(now.member_of) and now.member_of or {}
  for _, name in ipairs(is) do
    if name == spec.member_of then return end
  end
  if not spec.member_of then return end
  differ(" is no member of " .. spec.member_of, ("grant %s to %s"):format(spec.member_of, ident(spec.name)), {
    what = ("role %s: member of"):format(spec.name), before = #is > 0 and table.concat(is, ", ") or "none",
    after = spec.member_of,
  })
end

-- Appends what is wrong with one role.
local function compare_role(spec, now, found)
  local what, name = "role " .. spec.name, ident(spec.name)
  local replicates = spec.attributes:find("replication", 1, true) ~= nil
  local wanted = rights(true, replicates)
  local function differ(says, statement, change)
    found[#found + 1] = { says = what .. says, statement = statement, change = change }
  end
  if not is_table(now) then
    return differ(" is missing", create_role(spec), { what = what, before = "missing", after = wanted })
  end
  local verifier = type(now.password) == "string" and now.password or ""
  if not scram.matches(verifier, spec.password()) then
    differ(" has another password",
      ("alter role %s password %s"):format(name, literal(pg.scram_verifier(spec.password(), spec.name))),
      { what = what .. ": password", before = "another", after = "the kept one", secret = true })
  end
  local is = rights(now.login, now.replication, now.makes, now.super)
  if is ~= wanted then
    differ(" has other rights",
      ("alter role %s login nosuperuser nocreatedb nocreaterole %s"):format(
        name, replicates and "replication" or "noreplication"),
      { what = what, before = is, after = wanted })
  end
  compare_membership(spec, now, differ)
end

---@return pgaf.RoleDifference[]
local function compare(specs, now)
  local found = {}
  for _, spec in ipairs(specs) do compare_role(spec, is_table(now.roles) and now.roles[spec.name], found) end
  return found
end

local function compare_database(application, now, found)
  local database = is_table(now.database) and now.database or {}
  local what = "database " .. application.database
  if database.owner ~= application.user then
    local missing = not database.owner
    found[#found + 1] = {
      says = what .. (missing and " is missing" or " belongs to " .. database.owner),
      statement = (missing and "create database %s owner %s" or "alter database %s owner to %s"):format(
        ident(application.database), ident(application.user)),
      change = { what = what .. ": owner", before = database.owner or "missing", after = application.user },
    }
  end
  local may, connect = {}, is_table(database.connect) and database.connect or {}
  for _, grantee in ipairs(connect) do may[grantee] = true end
  if may["-"] or not (may.pgautofailover_replicator and may[PROBE]) then
    table.sort(connect)
    found[#found + 1] = {
      says = "rights on " .. what,
      statement = table.concat(database_grants(application), ";\n"),
      change = {
        what = what .. ": connect", before = #connect == 0 and "nobody" or
          (table.concat(connect, ", "):gsub("^%-", "everybody")),
        after = table.concat({ application.user, PROBE, "pgautofailover_replicator" }, ", "),
      },
    }
  end
end

-- One field of all differences.
local function all(found, field)
  local list = {}
  for i, difference in ipairs(found) do list[i] = difference[field] end
  return list
end

local function say(found) return #found > 0 and table.concat(all(found, "says"), "; ") or nil end

local function mend(target, database, found)
  if #found > 0 then formations.sql(target, database, table.concat(all(found, "statement"), ";\n") .. ";") end
end

---The monitor's role for the nodes.
---@param formation pgaf.Formation
---@return pgaf.Resource
function roles.on_monitor(formation)
  local specs = monitor_roles(formation)
  local fact = monitor_fact(specs)
  local resource = { kind = "roles", name = "monitor", reads = { fact } }

  local function differing(target, facts) return compare(specs, answer(target, facts, fact)) end

  function resource:probe(target, facts) return say(differing(target, facts)) end

  function resource:changes(target, facts) return all(differing(target, facts), "change") end

  function resource:apply(target, _, facts) mend(target, "postgres", differing(target, facts)) end

  return resource
end

local function refuse_other_database(formation, target)
  local dbname = (formation:state() or {}).dbname
  local wanted = formation.inventory.application.database
  if not dbname or dbname == wanted then return end
  error.raise {
    kind = "config", operation = "application database on " .. target.name,
    message = ("the formation was made for the database %q, the inventory says %q"):format(dbname, wanted),
    hint = "pg_auto_failover cannot change it: put the old name back, or make a new formation",
  }
end

---The roles and the application's database, on whichever data node is primary.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function roles.on_primary(formation)
  return function()
    local application = formation.inventory.application
    local specs = node_roles(formation)
    local fact = node_fact(specs, application.database)
    local schema = {
      "sql", "probe_schema", database = application.database,
      query = ("select to_json(exists (select from pg_namespace where nspname = '%s'))"):format(PROBE),
    }
    local resource = { kind = "roles", name = application.database, reads = { fact, schema } }

    -- What differs in the cluster, and what in the application's database.
    local function differing(target, facts)
      local now = answer(target, facts, fact)
      if now.standby then return {}, {} end
      local found, inside = compare(specs, now), {}
      compare_database(application, now, found)
      if facts.sql.probe_schema ~= true then
        inside[1] = {
          says = "schema " .. PROBE .. " is missing", statement = CREATE_SCHEMA,
          change = {
            what = ("schema %s of %s"):format(PROBE, application.database), before = "missing", after = "there",
          },
        }
      end
      return found, inside
    end

    local function together(target, facts)
      local found, inside = differing(target, facts)
      return table.move(inside, 1, #inside, #found + 1, found)
    end

    function resource:probe(target, facts)
      refuse_other_database(formation, target)
      return say(together(target, facts))
    end

    function resource:changes(target, facts) return all(together(target, facts), "change") end

    function resource:apply(target, _, facts)
      local found, inside = differing(target, facts)
      mend(target, "postgres", found)
      mend(target, application.database, inside)
    end

    return resource
  end
end

return roles

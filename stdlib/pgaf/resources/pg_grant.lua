-- What a role may do with a database, a schema, or what is in it.
--
--     resource.pg_grant { role = "reporting", database = "app", on = "schema", privileges = { "usage" } }
--     resource.pg_grant { role = "reporting", database = "app", on = "tables", privileges = { "select" },
--                         default_of = "app" }
--     resource.pg_grant { role = "public", database = "app", on = "database", privileges = { "temporary" },
--                         state = "absent" }
--
--     resource.pg_grant { role = "public", database = "app", on = "functions", privileges = { "execute" },
--                         default_of = "app", default_in = "database", state = "absent" }
--
-- Privileges that are held beside these stay, unless exact = true. `default_of` also covers what that role will make
-- from now on. What everybody may do with it by PostgreSQL's own default (execute functions) cannot be taken away for
-- one schema: it is refused, and default_in = "database" takes it away for all of them.

local acl = require "pgaf.postgres.acl"
local parameter = require "pgaf.resource.parameter"
local pg = require "pgafrun.pg"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local server = require "pgaf.postgres.server"
local sorted_keys = require "pgaf.sorted_keys"
local suggest = require "pgaf.suggest"

local ident, literal = pg.quote_ident, pg.quote_literal

---@class pgaf.PgGrantOptions: pgaf.PgServerOptions
---@field role string who gets it; "public" is everybody
---@field database string
---@field on "database"|"schema"|"tables"|"sequences"|"functions"
---@field privileges string[] such as { "select", "insert" }; { "all" } is each that there is
---@field schema? string which, or in which; default "public"
---@field names? string[] which tables, sequences or functions ("f(integer, text)", or "f"); default: all in the schema
---@field grant_option? boolean the role may pass them on, default false
---@field default_of? string a role: also on the tables, sequences or functions that it makes later
---@field default_in? "schema"|"database" where it makes them: in that schema (default), or anywhere in the database
---@field exact? boolean true: no other privileges, default false
---@field on_primary? boolean true: nothing to do on a standby, default false: changing it there is refused
---@field state? "present"|"absent" absent: these are revoked; default "present"

-- Each gives name (for SQL), plain (for `names`), owner and acl.
local OBJECTS = {
  database = [[
select format('%%I', datname) as name, datname::text as plain, datdba as owner,
  coalesce(datacl, acldefault('d', datdba)) as acl from pg_database where datname = current_database()]],
  schema = [[
select format('%%I', nspname), nspname::text, nspowner, coalesce(nspacl, acldefault('n', nspowner))
from pg_namespace where nspname = %s]],
  tables = [[
select format('%%I.%%I', nspname, relname), relname::text, relowner, coalesce(relacl, acldefault('r', relowner))
from pg_class join pg_namespace n on n.oid = relnamespace
where nspname = %s and relkind in ('r', 'p', 'v', 'm', 'f')]],
  sequences = [[
select format('%%I.%%I', nspname, relname), relname::text, relowner, coalesce(relacl, acldefault('s', relowner))
from pg_class join pg_namespace n on n.oid = relnamespace where nspname = %s and relkind = 'S']],
  functions = [[
select format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)),
  format('%%s(%%s)', proname, oidvectortypes(proargtypes)), proowner, coalesce(proacl, acldefault('f', proowner))
from pg_proc p join pg_namespace n on n.oid = pronamespace where nspname = %s]],
}

-- Who holds what, and from whom: an object's owner, or others who may pass it on (`others`).
-- Default privileges are of a schema (`defaults`: schema -> held) or of the database ("": there is no schema of that
-- name). The latter stand in the place of the built-in ones; those of a schema are given beside them.
local QUERY = [[
with defaults as (
  select coalesce(nspname, '') as schema, privilege_type, is_grantable from (
    select defaclnamespace, defaclacl from pg_default_acl where defaclrole = %s and defaclobjtype = %s
    union all select 0, acldefault(%s, %s) where not exists (select from pg_default_acl
      where defaclrole = %s and defaclobjtype = %s and defaclnamespace = 0)) all_of_them (namespace, acl)
  left join pg_namespace n on n.oid = namespace, aclexplode(acl) where grantee = %s)
select json_build_object(
  'role', %s, 'default_of', %s, 'schema', exists (select from pg_namespace where nspname = %s),
  'objects', (select json_agg(json_build_object('name', name, 'plain', plain, 'mine', owner = %s, 'held',
    (select json_object_agg(privilege_type, passes_on) from (select privilege_type, bool_or(is_grantable) as passes_on
      from aclexplode(acl) where grantee = %s group by privilege_type) held), 'others',
    (select json_object_agg(grantor, privileges) from (select pg_get_userbyid(grantor) as grantor,
      json_agg(privilege_type) as privileges from aclexplode(acl) where grantee = %s and grantor <> owner
      group by grantor) others)) order by name)
    from (%s) objects (name, plain, owner, acl)),
  'defaults', (select json_object_agg(schema, held) from (select schema,
    json_object_agg(privilege_type, is_grantable) as held from defaults group by schema) schemas))]]

-- As pg_default_acl has them, and as acldefault() does.
local DEFAULT_TYPES = { tables = { "r", "r" }, sequences = { "S", "s" }, functions = { "f", "f" } }
local SQL_WORDS = {
  database = "database", schema = "schema", tables = "table", sequences = "sequence", functions = "routine",
}
local SHOWN_NAMES = 5

local function exists(role)
  return ("exists (select from pg_roles where rolname = %s)"):format(literal(role))
end

local function oid_of(role) return ("(select oid from pg_roles where rolname = %s)"):format(literal(role)) end

local function query(options)
  local where = literal(options.schema)
  local public = options.role == "public"
  local oid = public and "0" or oid_of(options.role)
  local default_of = options.default_of
  local types = default_of and DEFAULT_TYPES[options.on] or { "-", "r" }
  local maker, kind = default_of and oid_of(default_of) or "null::oid", literal(types[1])
  return QUERY:format(maker, kind, literal(types[2]), maker, maker, kind, oid,
    public and "true" or exists(options.role), default_of and exists(default_of) or "true", where,
    oid, oid, oid, OBJECTS[options.on]:format(where))
end

local function is_table(value) return type(value) == "table" and value or nil end

local function without_blanks(text) return (text:gsub("%s+", "")) end

-- The objects that are meant; a name that is not there is a mistake, or not made yet.
local function meant_objects(self, target, options, now)
  local objects = is_table(now.objects) or {}
  if not options.names then return objects end
  local by_name, plain = {}, {}
  for _, object in ipairs(objects) do
    plain[#plain + 1] = object.plain
    -- a function's name alone is all of that name
    for _, key in ipairs { without_blanks(object.plain), object.plain:match "^(.-)%(" } do
      by_name[key] = by_name[key] or {}
      table.insert(by_name[key], object)
    end
  end
  local list = {}
  for _, name in ipairs(options.names) do
    local found = by_name[without_blanks(name)]
    if not found then
      local near = suggest(name, plain)
      server.refuse(self, target, ("there is no %s %s in schema %s%s"):format(SQL_WORDS[options.on], name,
        options.schema, near and (", did you mean %q?"):format(near) or ""))
    end
    table.move(found, 1, #found, #list + 1, list)
  end
  return list
end

local function check_there(self, target, options, now)
  if not now.role then
    server.refuse(self, target, ("there is no role %q"):format(options.role),
      "make it in a step before: resource.pg_role")
  elseif not now.default_of then
    server.refuse(self, target, ("there is no role %q"):format(options.default_of))
  elseif options.on ~= "database" and not now.schema then
    server.refuse(self, target, ("there is no schema %q in database %s"):format(options.schema, options.database))
  end
end

local function grantee(options) return options.role == "public" and "public" or ident(options.role) end

-- Of these privileges, those that this grantor gave.
local function given_by(names, privileges)
  local list = {}
  for _, name in ipairs(names) do
    for _, one in ipairs(privileges) do
      if one == name then list[#list + 1] = name end
    end
  end
  return list
end

-- The statements of a plan, `on` being what follows ON. What somebody else than the owner gave, only they can take.
local function statements(options, plan, on, others)
  local list = {}
  local function add(format, names)
    if #names > 0 then
      list[#list + 1] = format:format(table.concat(names, ", "):lower(), on, grantee(options))
    end
  end
  add("grant %s on %s to %s" .. (options.grant_option and " with grant option" or ""), plan.grant)
  add("revoke %s on %s from %s", plan.revoke)
  add("revoke grant option for %s on %s from %s", plan.revoke_option)
  for _, grantor in ipairs(sorted_keys(others or {})) do
    local as = ("set role %s;\n"):format(ident(grantor))
    add(as .. "revoke %s on %s from %s;\nreset role", given_by(plan.revoke, others[grantor]))
    add(as .. "revoke grant option for %s on %s from %s;\nreset role", given_by(plan.revoke_option, others[grantor]))
  end
  return list
end

local function says(options, plan, label, others)
  local words = {}
  local function add(names, format)
    if #names > 0 then words[#words + 1] = format:format(table.concat(names, ", "):lower(), label) end
  end
  add(plan.grant, options.grant_option and "may not pass on %s on %s" or "has no %s on %s")
  add(plan.revoke, "has %s on %s")
  add(plan.revoke_option, "may pass on %s on %s")
  local grantors = {}
  for _, grantor in ipairs(sorted_keys(others or {})) do
    if #given_by(plan.revoke, others[grantor]) + #given_by(plan.revoke_option, others[grantor]) > 0 then
      grantors[#grantors + 1] = grantor
    end
  end
  if #grantors > 0 then
    words[#words] = ("%s (granted by %s)"):format(words[#words], table.concat(grantors, ", "))
  end
  return table.concat(words, ", ")
end

local function label(options, names)
  local shown = table.concat(names, ", ", 1, math.min(#names, SHOWN_NAMES))
  if #names > SHOWN_NAMES then shown = ("%s and %d more"):format(shown, #names - SHOWN_NAMES) end
  local kind = options.on
  return (#names == 1 and SQL_WORDS[kind] or kind) .. " " .. shown
end

-- Objects that need the same are told, and granted, together.
local function compare_objects(options, wanted, objects, found)
  local groups, order = {}, {}
  for _, object in ipairs(objects) do
    local held = is_table(object.held) or {}
    local plan = acl.plan(wanted, held, object.mine == true)
    if plan then
      local others = is_table(object.others) or {}
      local key = { acl.show(held), tostring(object.mine) }
      for _, grantor in ipairs(sorted_keys(others)) do
        table.sort(others[grantor])
        key[#key + 1] = grantor .. "=" .. table.concat(others[grantor], ",")
      end
      key = table.concat(key, "|")
      if not groups[key] then
        groups[key] = { plan = plan, held = held, others = others, names = {} }
        order[#order + 1] = groups[key]
      end
      table.insert(groups[key].names, object.name)
    end
  end
  for _, group in ipairs(order) do
    local what = label(options, group.names)
    local on = SQL_WORDS[options.on] .. " " .. table.concat(group.names, ", ")
    found[#found + 1] = {
      says = says(options, group.plan, what, group.others), what = ("%s on %s"):format(options.role, what),
      before = acl.show(group.held), after = acl.show(acl.after(group.held, group.plan, options.grant_option)),
      database = options.database, sql = table.concat(statements(options, group.plan, on, group.others), ";\n"),
    }
  end
end

-- `namespace` nil: of the whole database.
local function default_differs(options, plan, held, namespace, found)
  local where = namespace and "in schema " .. namespace or "in database " .. options.database
  local what = ("later %s of %s %s"):format(options.on, options.default_of, where)
  local prefix = ("alter default privileges for role %s %s"):format(ident(options.default_of),
    namespace and ("in schema %s "):format(ident(namespace)) or "")
  local list = statements(options, plan, options.on == "functions" and "routines" or options.on)
  for i, statement in ipairs(list) do list[i] = prefix .. statement end
  found[#found + 1] = {
    says = says(options, plan, what), what = ("%s on %s"):format(options.role, what), before = acl.show(held),
    after = acl.show(acl.after(held, plan, options.grant_option)), database = options.database,
    sql = table.concat(list, ";\n"),
  }
end

-- What all schemas have cannot be taken away for one of them.
local function refuse_partial(self, target, options, plan, everywhere)
  local names = {}
  for _, name in ipairs(plan.revoke) do
    if everywhere[name] ~= nil then names[#names + 1] = name:lower() end
  end
  for _, name in ipairs(plan.revoke_option) do
    if everywhere[name] then names[#names + 1] = "the right to pass on " .. name:lower() end
  end
  if #names == 0 then return end
  server.refuse(self, target, ("%s has %s on later %s of %s in every schema, by default: it cannot be revoked for " ..
    "schema %s alone"):format(options.role, table.concat(names, ", "), options.on, options.default_of, options.schema),
    'default_in = "database" revokes it for all of them')
end

local function compare_default(self, target, options, wanted, now, found)
  local defaults = is_table(now.defaults) or {}
  local everywhere = defaults[""] or {}
  local mine = options.role == options.default_of
  if options.default_in ~= "database" then
    local held = {}
    for _, one in ipairs { everywhere, defaults[options.schema] or {} } do
      for name, passes_on in pairs(one) do held[name] = held[name] or passes_on end
    end
    local plan = acl.plan(wanted, held, mine)
    if not plan then return end
    refuse_partial(self, target, options, plan, everywhere)
    return default_differs(options, plan, held, options.schema, found)
  end
  local plan = acl.plan(wanted, everywhere, mine)
  if plan then default_differs(options, plan, everywhere, nil, found) end
  -- what a schema gives beside them
  for _, schema_name in ipairs(sorted_keys(defaults)) do
    plan = schema_name ~= "" and acl.plan(wanted, defaults[schema_name], mine)
    if plan and #plan.revoke + #plan.revoke_option > 0 then
      plan.grant = {}
      default_differs(options, plan, defaults[schema_name], schema_name, found)
    end
  end
end

local function compare(options, self, target, now, about)
  check_there(self, target, options, now)
  local wanted = {
    privileges = acl.meant(options.on, options.privileges, about.version), grant_option = options.grant_option,
    exact = options.exact, absent = options.state == "absent",
  }
  local found = {}
  compare_objects(options, wanted, meant_objects(self, target, options, now), found)
  if options.default_of then compare_default(self, target, options, wanted, now, found) end
  return found
end

local function check_privileges(options, report)
  local names = acl.privileges(options.on)
  local known = { ALL = true, TEMP = options.on == "database" or nil }
  for _, name in ipairs(names) do known[name] = true end
  for _, name in ipairs(options.privileges) do
    if not known[name:upper()] then
      local near = suggest(name:upper(), names)
      report(("there is no privilege %q on %s%s; there are %s"):format(name, options.on,
        near and (", did you mean %q?"):format(near:lower()) or "", table.concat(names, ", "):lower()))
    end
  end
end

return resource.define {
  kind = "pg_grant",
  parameters = server.parameters {
    role = { server.identifier, required = true },
    database = { server.identifier, required = true },
    on = { schema.one_of("database", "schema", "tables", "sequences", "functions"), required = true },
    privileges = {
      schema.list(parameter.line, { min = 1, what = 'a list of privileges: { "select" }' }), required = true,
    },
    schema = { server.identifier, default = "public" },
    names = { schema.list(parameter.line, { min = 1 }) },
    grant_option = { schema.boolean(), default = false },
    default_of = { server.identifier },
    default_in = { schema.one_of("schema", "database") },
    exact = { schema.boolean(), default = false },
    on_primary = { schema.boolean(), default = false },
    state = { parameter.state(), default = "present" },
  },
  words = { privs = "privileges", db = "database", objs = "names", type = "on", roles = "role" },
  name = function(options)
    return ("%s on %s of %s"):format(options.role, options.on, options.database)
  end,
  check = function(options, report)
    check_privileges(options, report)
    local many = DEFAULT_TYPES[options.on] ~= nil
    local function refuse(wrong, message)
      if wrong then report(message) end
    end
    refuse(options.names and not many, "names is for tables, sequences and functions")
    refuse(options.default_of and not many, "default_of is for tables, sequences and functions")
    refuse(options.default_in and not options.default_of, "default_in wants default_of: whose they are")
    refuse(options.exact and options.state == "absent", "exact says what is held, absent what is not: one of them")
    refuse(options.role == "public" and options.grant_option, "everybody cannot be given the right to pass on")
  end,
  make = function(options)
    return server.resource {
      options = options, subject = "role " .. options.role,
      questions = { server.question(options, options.database, query(options)) },
      compare = function(self, target, answers, about) return compare(options, self, target, answers[1], about) end,
    }
  end,
}

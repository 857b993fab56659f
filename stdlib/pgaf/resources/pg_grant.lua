-- What a role may do with a database, a schema, or what is in it.
--
--     resource.pg_grant { role = "reporting", database = "app", on = "schema", privileges = { "usage" } }
--     resource.pg_grant { role = "reporting", database = "app", on = "tables", privileges = { "select" },
--                         default_of = "app" }
--     resource.pg_grant { role = "public", database = "app", on = "database", privileges = { "temporary" },
--                         state = "absent" }
--
-- Privileges that are held beside these stay, unless exact = true. `default_of` also covers what that role will make
-- in the schema from now on.

local acl = require "pgaf.postgres.acl"
local parameter = require "pgaf.resource.parameter"
local pg = require "pgafrun.pg"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local server = require "pgaf.postgres.server"
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

local QUERY = [[
select json_build_object(
  'role', %s, 'default_of', %s, 'schema', exists (select from pg_namespace where nspname = %s),
  'objects', (select json_agg(json_build_object('name', name, 'plain', plain, 'mine', owner = %s, 'held',
    (select json_object_agg(privilege_type, passes_on) from (select privilege_type, bool_or(is_grantable) as passes_on
      from aclexplode(acl) where grantee = %s group by privilege_type) held)) order by name)
    from (%s) objects (name, plain, owner, acl)),
  'default', (select json_object_agg(privilege_type, is_grantable) from pg_default_acl, aclexplode(defaclacl)
    where defaclrole = (select oid from pg_roles where rolname = %s) and defaclobjtype = %s
    and defaclnamespace = (select oid from pg_namespace where nspname = %s) and grantee = %s))]]

local DEFAULT_TYPES = { tables = "r", sequences = "S", functions = "f" }
local SQL_WORDS = {
  database = "database", schema = "schema", tables = "table", sequences = "sequence", functions = "routine",
}
local SHOWN_NAMES = 5

local function exists(role)
  return ("exists (select from pg_roles where rolname = %s)"):format(literal(role))
end

local function query(options)
  local role, where = literal(options.role), literal(options.schema)
  local public = options.role == "public"
  local oid = public and "0" or ("(select oid from pg_roles where rolname = %s)"):format(role)
  local default_of = options.default_of
  return QUERY:format(public and "true" or exists(options.role), default_of and exists(default_of) or "true", where,
    oid, oid, OBJECTS[options.on]:format(where), literal(default_of or ""),
    literal(DEFAULT_TYPES[options.on] or "-"), where, oid)
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

-- The statements of a plan, `on` being what follows ON.
local function statements(options, plan, on)
  local list = {}
  local function add(format, names)
    if #names > 0 then
      list[#list + 1] = format:format(table.concat(names, ", "):lower(), on, grantee(options))
    end
  end
  add("grant %s on %s to %s" .. (options.grant_option and " with grant option" or ""), plan.grant)
  add("revoke %s on %s from %s", plan.revoke)
  add("revoke grant option for %s on %s from %s", plan.revoke_option)
  return list
end

local function says(options, plan, label)
  local words = {}
  local function add(names, format)
    if #names > 0 then words[#words + 1] = format:format(table.concat(names, ", "):lower(), label) end
  end
  add(plan.grant, options.grant_option and "may not pass on %s on %s" or "has no %s on %s")
  add(plan.revoke, "has %s on %s")
  add(plan.revoke_option, "may pass on %s on %s")
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
      local key = acl.show(held) .. "|" .. tostring(object.mine)
      if not groups[key] then
        groups[key] = { plan = plan, held = held, names = {} }
        order[#order + 1] = groups[key]
      end
      table.insert(groups[key].names, object.name)
    end
  end
  for _, group in ipairs(order) do
    local what = label(options, group.names)
    local on = SQL_WORDS[options.on] .. " " .. table.concat(group.names, ", ")
    found[#found + 1] = {
      says = says(options, group.plan, what), what = ("%s on %s"):format(options.role, what),
      before = acl.show(group.held), after = acl.show(acl.after(group.held, group.plan, options.grant_option)),
      database = options.database, sql = table.concat(statements(options, group.plan, on), ";\n"),
    }
  end
end

local function compare_default(options, wanted, now, found)
  local held = is_table(now.default) or {}
  local plan = acl.plan(wanted, held)
  if not plan then return end
  local what = ("later %s of %s in schema %s"):format(options.on, options.default_of, options.schema)
  local prefix = ("alter default privileges for role %s in schema %s "):format(ident(options.default_of),
    ident(options.schema))
  local list = statements(options, plan, options.on == "functions" and "routines" or options.on)
  for i, statement in ipairs(list) do list[i] = prefix .. statement end
  found[#found + 1] = {
    says = says(options, plan, what), what = ("%s on %s"):format(options.role, what), before = acl.show(held),
    after = acl.show(acl.after(held, plan, options.grant_option)), database = options.database,
    sql = table.concat(list, ";\n"),
  }
end

local function compare(options, self, target, now, about)
  check_there(self, target, options, now)
  local wanted = {
    privileges = acl.meant(options.on, options.privileges, about.version), grant_option = options.grant_option,
    exact = options.exact, absent = options.state == "absent",
  }
  local found = {}
  compare_objects(options, wanted, meant_objects(self, target, options, now), found)
  if options.default_of then compare_default(options, wanted, now, found) end
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

-- An extension in a database.
--
--     resource.pg_extension { name = "pg_stat_statements", database = "app" }
--     resource.pg_extension { name = "postgis", database = "app", schema = "gis", version = "latest" }

local parameter = require "pgaf.resource.parameter"
local pg = require "pgafrun.pg"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local server = require "pgaf.postgres.server"

local ident, literal = pg.quote_ident, pg.quote_literal

---@class pgaf.PgExtensionOptions: pgaf.PgServerOptions
---@field name string
---@field database string
---@field schema? string the schema that its objects are in; not said: left as it is
---@field version? string "latest" is what the installed package offers; not said: any, and a new one is the latest
---@field cascade? boolean with the extensions that it needs; for absent: with what uses it. Default false
---@field on_primary? boolean true: nothing to do on a standby, default false: changing it there is refused
---@field state? "present"|"absent" default "present"

local QUERY = [[
select json_build_object('version', (select extversion from pg_extension where extname = %s),
  'schema', (select nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = %s),
  'relocatable', (select extrelocatable from pg_extension where extname = %s),
  'default', (select default_version from pg_available_extensions where name = %s),
  'versions', (select json_agg(version) from pg_available_extension_versions where name = %s),
  'schema_exists', exists (select from pg_namespace where nspname = %s))]]

local function query(options)
  local name = literal(options.name)
  return QUERY:format(name, name, name, name, name, literal(options.schema or "public"))
end

local function text(value) return type(value) == "string" and value or nil end

-- The version that is wanted; nil for any. Raises when the node does not have it.
local function wanted_version(options, self, target, now)
  if not text(now.default) then
    server.refuse(self, target, ("PostgreSQL on %s has no extension %q to offer"):format(target.name, options.name),
      "its package is not installed there: resource.package, in a step before")
  end
  if options.version == "latest" then return now.default end
  if not options.version or options.version == now.version then return options.version end
  for _, one in ipairs(now.versions) do
    if one == options.version then return one end
  end
  table.sort(now.versions)
  return server.refuse(self, target, ("version %s is not there; the node has %s"):format(
    options.version, table.concat(now.versions, ", ")))
end

local function create(options, version)
  return ("create extension %s%s%s%s"):format(ident(options.name),
    options.schema and " schema " .. ident(options.schema) or "",
    version and " version " .. literal(version) or "", options.cascade and " cascade" or "")
end

local function compare(options, self, target, now)
  local name, found = options.name, {}
  local is, where = text(now.version), text(now.schema)
  local function differ(says, what, before, after, sql)
    found[#found + 1] = {
      says = says, done = before == "missing" and "made" or after == "absent" and "removed" or nil,
      what = ("%s in %s%s"):format(name, options.database, what), before = before, after = after, sql = sql,
      database = options.database,
    }
  end
  if options.state == "absent" then
    if is then
      differ("it is there", "", is, "absent",
        ("drop extension %s%s"):format(ident(name), options.cascade and " cascade" or ""))
    end
    return found
  end
  local version = wanted_version(options, self, target, now)
  if options.schema and not now.schema_exists then
    server.refuse(self, target, ("there is no schema %q in database %s"):format(options.schema, options.database))
  end
  if not is then
    differ("it is missing", "", "missing", version or now.default, create(options, version))
    return found
  end
  if version and version ~= is then
    differ(("it is version %s, not %s"):format(is, version), ": version", is, version,
      ("alter extension %s update to %s"):format(ident(name), literal(version)))
  end
  if options.schema and where ~= options.schema then
    if not now.relocatable then
      server.refuse(self, target, ("it is in schema %s, and cannot be moved to %s"):format(where, options.schema))
    end
    differ(("it is in schema %s, not %s"):format(where, options.schema), ": schema", where, options.schema,
      ("alter extension %s set schema %s"):format(ident(name), ident(options.schema)))
  end
  return found
end

return resource.define {
  kind = "pg_extension",
  parameters = server.parameters {
    name = { server.identifier, required = true },
    database = { server.identifier, required = true },
    schema = { server.identifier },
    version = { parameter.line },
    cascade = { schema.boolean(), default = false },
    on_primary = { schema.boolean(), default = false },
    state = { parameter.state(), default = "present" },
  },
  words = { ext = "name", db = "database", login_db = "database" },
  name = function(options) return ("%s in %s"):format(options.name, options.database) end,
  make = function(options)
    return server.resource {
      options = options, subject = ("extension %s in %s"):format(options.name, options.database),
      questions = { server.question(options, options.database, query(options)) },
      compare = function(self, target, answers) return compare(options, self, target, answers[1]) end,
    }
  end,
}

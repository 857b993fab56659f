-- A database of PostgreSQL.
--
--     resource.pg_database { name = "app", owner = "app" }
--     resource.pg_database { name = "old", state = "absent", force = true }

local parameter = require "pgaf.resource.parameter"
local pg = require "pgafrun.pg"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local server = require "pgaf.postgres.server"

local ident, literal = pg.quote_ident, pg.quote_literal

---@class pgaf.PgDatabaseOptions: pgaf.PgServerOptions
---@field name string
---@field owner? string role; not said: it is left as it is, and a new database is the cluster owner's
---@field encoding? string such as "UTF8"; of a database that is there it cannot be changed
---@field locale? string such as "C.UTF-8", for order and kinds of characters; cannot be changed either
---@field template? string what a new database is a copy of; default template1, with encoding or locale template0
---@field connection_limit? integer sessions at a time, -1: no limit; not said: left as it is
---@field force? boolean for absent: yes, with all its data, and whoever is connected is thrown out
---@field on_primary? boolean true: nothing to do on a standby, default false: changing it there is refused
---@field state? "present"|"absent" default "present"; absent wants force = true

local QUERY = [[
select json_build_object('exists', count(*) > 0, 'owner', min(pg_get_userbyid(datdba)),
  'encoding', min(pg_encoding_to_char(encoding)), 'collate', min(datcollate), 'ctype', min(datctype),
  'connection_limit', min(datconnlimit), 'wanted_encoding', %s,
  'owner_exists', %s)
from pg_database where datname = %s]]

local function query(options)
  return QUERY:format(
    options.encoding and ("pg_encoding_to_char(pg_char_to_encoding(%s))"):format(literal(options.encoding)) or "null",
    options.owner and ("exists (select from pg_roles where rolname = %s)"):format(literal(options.owner)) or "true",
    literal(options.name))
end

local function create(options)
  local own = options.encoding or options.locale
  local words = { "create database " .. ident(options.name) }
  local function add(...) words[#words + 1] = (...):format(select(2, ...)) end
  if options.owner then add("owner %s", ident(options.owner)) end
  if options.template or own then add("template %s", ident(options.template or "template0")) end
  if options.encoding then add("encoding %s", literal(options.encoding)) end
  if options.locale then add("lc_collate %s lc_ctype %s", literal(options.locale), literal(options.locale)) end
  if options.connection_limit then add("connection limit %d", options.connection_limit) end
  return table.concat(words, " ")
end

-- What a database is made with stays.
local function refuse_other_kind(self, target, options, now)
  local function check(what, is, wanted)
    if not wanted or is == wanted then return end
    server.refuse(self, target, ("its %s is %s, not %s, and cannot be changed"):format(what, is, wanted),
      "make a new database, copy the data with pg_dump and pg_restore, and rename it")
  end
  check("encoding", now.encoding, options.encoding and now.wanted_encoding)
  check("collation", now.collate, options.locale)
  check("character classification", now.ctype, options.locale)
end

local function compare(options, self, target, now)
  local name = options.name
  local function differ(says, what, before, after, sql)
    local done = before == "missing" and "made" or after == "absent" and "removed" or nil
    return { says = says, done = done, what = what, before = before, after = after, sql = sql }
  end
  if options.state == "absent" then
    return now.exists and
      { differ("it is there", name, "there", "absent", ("drop database %s with (force)"):format(ident(name))) } or {}
  end
  if options.encoding and now.wanted_encoding == "" then
    server.refuse(self, target, ("PostgreSQL has no encoding %q"):format(options.encoding))
  end
  if not now.owner_exists then
    server.refuse(self, target, ("there is no role %q to own it"):format(options.owner),
      "make it in a step before: resource.pg_role")
  end
  if not now.exists then return { differ("it is missing", name, "missing", "there", create(options)) } end
  refuse_other_kind(self, target, options, now)
  local found = {}
  if options.owner and now.owner ~= options.owner then
    found[1] = differ(("it belongs to %s, not %s"):format(now.owner, options.owner), name .. ": owner", now.owner,
      options.owner, ("alter database %s owner to %s"):format(ident(name), ident(options.owner)))
  end
  local limit = options.connection_limit
  if limit and now.connection_limit ~= limit then
    found[#found + 1] = differ(("its connection limit is %d, not %d"):format(now.connection_limit, limit),
      name .. ": connection limit", tostring(now.connection_limit), tostring(limit),
      ("alter database %s connection limit %d"):format(ident(name), limit))
  end
  return found
end

return resource.define {
  kind = "pg_database",
  parameters = server.parameters {
    name = { server.identifier, required = true },
    owner = { server.identifier },
    encoding = { schema.text { pattern = "[%w_-]+", what = 'an encoding such as "UTF8"' } },
    locale = { schema.text { pattern = "[%w_.@-]+", what = 'a locale such as "C.UTF-8"' } },
    template = { server.identifier },
    connection_limit = { schema.integer(-1, 262143) },
    force = { schema.boolean(), default = false },
    on_primary = { schema.boolean(), default = false },
    state = { parameter.state(), default = "present" },
  },
  words = { db = "name", conn_limit = "connection_limit", lc_collate = "locale", lc_ctype = "locale" },
  name = function(options) return options.name end,
  check = function(options, report)
    if options.state == "absent" and not options.force then
      report "absent means that all its data goes: say so with force = true"
    end
    if options.state == "absent" and (options.name == "postgres" or options.name:find "^template[01]$") then
      report(options.name .. " belongs to the cluster itself")
    end
  end,
  make = function(options)
    return server.resource {
      options = options, subject = "database " .. options.name,
      questions = { server.question(options, "postgres", query(options)) },
      compare = function(self, target, answers) return compare(options, self, target, answers[1]) end,
    }
  end,
}

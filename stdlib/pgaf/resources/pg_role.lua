-- A role of PostgreSQL: what it may do, its password, the roles it is a member of.
--
--     resource.pg_role { name = "app", password = secret.env "APP_PASSWORD", connection_limit = 50 }
--     resource.pg_role { name = "reporting", login = false }
--     resource.pg_role { name = "alice", member_of = { "reporting" }, password = secret.file "/etc/pgafrun/alice" }
--     resource.pg_role { name = "old", state = "absent" }
--
-- What is not said is as CREATE ROLE has it: a role that somebody made a superuser is made an ordinary one again. The
-- password reaches the server as a SCRAM verifier, made here; a role that has one and shall keep it needs none said.

local parameter = require "pgaf.resource.parameter"
local pg = require "pgafrun.pg"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local scram = require "pgafrun.scram"
local secret = require "pgaf.secret"
local server = require "pgaf.postgres.server"

local ident, literal = pg.quote_ident, pg.quote_literal

---@class pgaf.PgRoleOptions: pgaf.PgServerOptions
---@field name string
---@field password? pgaf.Secret|string a secret (secret.env, secret.file ...), or a SCRAM-SHA-256 verifier
---@field login? boolean may log in, default true
---@field superuser? boolean default false
---@field createdb? boolean may make databases, default false
---@field createrole? boolean may make roles, default false
---@field inherit? boolean has the rights of the roles it is a member of, default true
---@field replication? boolean may replicate, default false
---@field bypassrls? boolean is not held by row security, default false
---@field connection_limit? integer sessions at a time, default -1: no limit
---@field valid_until? string until when the password counts: "2030-01-31 12:00+00"; default: for ever
---@field member_of? string[] roles it is a member of
---@field exact? boolean true: it is a member of no others, default false
---@field on_primary? boolean true: nothing to do on a standby, default false: changing it there is refused
---@field state? "present"|"absent" default "present"

-- Parameter -> column of pg_authid.
local ATTRIBUTES = {
  { "login", "rolcanlogin" }, { "superuser", "rolsuper" }, { "createdb", "rolcreatedb" },
  { "createrole", "rolcreaterole" }, { "inherit", "rolinherit" }, { "replication", "rolreplication" },
  { "bypassrls", "rolbypassrls" },
}

local QUERY = [[
select json_build_object('exists', count(*) > 0, 'bootstrap', bool_or(oid = 10),
  'attributes', json_object_agg(rolname, json_build_object(%s)) -> %s,
  'connection_limit', min(rolconnlimit), 'password', min(rolpassword),
  'until', min(rolvaliduntil)::text,
  'until_differs', bool_or(coalesce(rolvaliduntil, 'infinity') <> %s::timestamptz),
  'member_of', (select json_agg(g.rolname order by g.rolname) from pg_auth_members m
    join pg_roles g on g.oid = m.roleid join pg_roles r on r.oid = m.member where r.rolname = %s),
  'unknown', (select json_agg(wanted) from unnest(array[%s]::text[]) wanted
    where wanted not in (select rolname from pg_roles)))
from pg_authid where rolname = %s]]

local function query(options)
  local columns = {}
  for i, attribute in ipairs(ATTRIBUTES) do columns[i] = ("'%s', %s"):format(attribute[1], attribute[2]) end
  local name, groups = literal(options.name), {}
  for i, group in ipairs(options.member_of or {}) do groups[i] = literal(group) end
  return QUERY:format(table.concat(columns, ", "), name, literal(options.valid_until or "infinity"), name,
    table.concat(groups, ", "), name)
end

local function is_verifier(text) return text:find "^SCRAM%-SHA%-256%$%d+:%S+%$%S+:%S+$" ~= nil end

-- The verifier to send; nil when the server's is of the same password.
local function new_verifier(options, now)
  local given = secret.is(options.password) and secret.reveal(options.password) or options.password
  if is_verifier(given) then return given ~= now and given or nil end
  if now and scram.matches(now, given) then return nil end
  return pg.scram_verifier(given, options.name)
end

local function word(attribute, value) return (value and "" or "no") .. attribute end

local function limit_words(limit) return limit == -1 and "no limit" or tostring(limit) end

local function create(options)
  local words = {}
  for i, attribute in ipairs(ATTRIBUTES) do words[i] = word(attribute[1], options[attribute[1]]) end
  local given = options.password and new_verifier(options)
  if given then secret.value(given) end -- masked, should an error show the statement
  return ("create role %s %s connection limit %d%s%s"):format(ident(options.name), table.concat(words, " "),
    options.connection_limit, given and " password " .. literal(given) or "",
    options.valid_until and " valid until " .. literal(options.valid_until) or "")
end

local function compare_attributes(options, now, differ)
  for _, attribute in ipairs(ATTRIBUTES) do
    local name = attribute[1]
    if now.attributes[name] ~= options[name] then
      differ(name, now.attributes[name] and "yes" or "no", options[name] and "yes" or "no", word(name, options[name]))
    end
  end
  if now.connection_limit ~= options.connection_limit then
    differ("connection limit", limit_words(now.connection_limit), limit_words(options.connection_limit),
      ("connection limit %d"):format(options.connection_limit))
  end
  if now.until_differs then
    local before = type(now["until"]) == "string" and now["until"] or "never"
    differ("valid until", before, options.valid_until or "never",
      "valid until " .. literal(options.valid_until or "infinity"))
  end
end

local function compare_password(options, now, found)
  local had = type(now.password) == "string" and now.password or nil
  if not options.password then return end
  local verifier = new_verifier(options, had)
  if not verifier then return end
  found[#found + 1] = {
    says = had and "it has another password" or "it has no password", what = options.name .. ": password",
    before = had and "another" or "none", after = "the given one", secret = true,
    sql = function()
      secret.value(verifier)
      return ("alter role %s password %s"):format(ident(options.name), literal(verifier))
    end,
  }
end

local function compare_memberships(options, now, found)
  local is, wanted = {}, {}
  for _, name in ipairs(type(now.member_of) == "table" and now.member_of or {}) do is[name] = true end
  for _, name in ipairs(options.member_of or {}) do
    wanted[name] = true
    if not is[name] then
      found[#found + 1] = {
        says = "it is no member of " .. name, what = ("%s: member of %s"):format(options.name, name), before = "no",
        after = "yes", sql = ("grant %s to %s"):format(ident(name), ident(options.name)),
      }
    end
  end
  if not options.exact then return end
  for _, name in ipairs(type(now.member_of) == "table" and now.member_of or {}) do
    if not wanted[name] then
      found[#found + 1] = {
        says = "it is a member of " .. name, what = ("%s: member of %s"):format(options.name, name), before = "yes",
        after = "no", sql = ("revoke %s from %s"):format(ident(name), ident(options.name)),
      }
    end
  end
end

local function compare_absent(self, target, options, now)
  if not now.exists then return {} end
  if now.bootstrap then
    server.refuse(self, target, options.name .. " is the role that the cluster was made with: it cannot go")
  end
  return {
    {
      says = "it is there", done = "removed", what = options.name, before = "there", after = "absent",
      sql = "drop role " .. ident(options.name),
    },
  }
end

local function compare(options, self, target, now)
  if options.state == "absent" then return compare_absent(self, target, options, now) end
  if type(now.unknown) == "table" then
    server.refuse(self, target, "there is no role " .. table.concat(now.unknown, ", ") .. " to be a member of",
      "make it in a step before: resource.pg_role")
  end
  local found = {}
  if not now.exists then
    found[1] = {
      says = "it is missing", done = "made", what = options.name, before = "missing", after = "there",
      sql = function() return create(options) end,
    }
  else
    compare_attributes(options, now, function(what, before, after, clause)
      found[#found + 1] = {
        says = ("its %s is %s, not %s"):format(what, before, after), what = ("%s: %s"):format(options.name, what),
        before = before, after = after, sql = ("alter role %s %s"):format(ident(options.name), clause),
      }
    end)
    compare_password(options, now, found)
  end
  compare_memberships(options, now, found)
  return found
end

-- A text would be a password in clear, unless it is a verifier.
local function password(value, path, report)
  if secret.is(value) or (type(value) == "string" and is_verifier(value)) then return value end
  report(path, "wants a secret: secret.env, secret.file, secret.command (or a SCRAM-SHA-256 verifier); for a lab " ..
    "secret.literal(TEXT, true)")
  return value
end

local function flag(default) return { schema.boolean(), default = default } end

return resource.define {
  kind = "pg_role",
  parameters = server.parameters {
    name = { server.identifier, required = true },
    password = { password },
    login = flag(true), superuser = flag(false), createdb = flag(false), createrole = flag(false),
    inherit = flag(true), replication = flag(false), bypassrls = flag(false),
    connection_limit = { schema.integer(-1, 262143), default = -1 },
    valid_until = {
      schema.text { pattern = "%d%d%d%d%-%d%d%-%d%d[%d :.+%-Z]*", what = 'a day or a time, as "2030-01-31 12:00+00"' },
    },
    member_of = { schema.list(server.identifier) },
    exact = flag(false), on_primary = flag(false),
    state = { parameter.state(), default = "present" },
  },
  words = {
    role = "name", user = "name", groups = "member_of", expires = "valid_until", conn_limit = "connection_limit",
  },
  name = function(options) return options.name end,
  check = function(options, report)
    if options.exact and not options.member_of then report "exact says that member_of is all: it wants member_of" end
    if options.name:find "^pg_" then report "names that begin with pg_ are PostgreSQL's own" end
    if options.state == "absent" and options.password then report "absent, and yet with a password" end
  end,
  make = function(options)
    return server.resource {
      options = options, subject = "role " .. options.name,
      questions = { server.question(options, "postgres", query(options)) },
      compare = function(self, target, answers) return compare(options, self, target, answers[1]) end,
    }
  end,
}

-- Who may log in from where: entries in the pg_hba.conf that the server uses, between two marks; the rest of the file
-- is left as it is. The first line that fits counts, so they come before all others unless place = "last".
--
--     resource.pg_hba {
--       name = "application",
--       entries = {
--         { type = "hostssl", database = "app", user = "app", address = "10.20.0.0/16", method = "scram-sha-256" },
--       },
--     }
--
-- The new file is put to the server (pg_hba_file_rules) before it counts: if a line of it is wrong, or the cluster's
-- owner could no longer log in, the old file is put back. On nodes of a formation the whole file is the formation's:
-- the inventory's application.networks and operator_networks say who may come.

local error = require "pgafrun.error"
local hba = require "pgaf.postgres.hba"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local server = require "pgaf.postgres.server"

---@class pgaf.PgHbaOptions: pgaf.PgServerOptions
---@field name? string of the block, default "entries"
---@field entries? pgaf.PgHbaEntry[] in their order
---@field place? "first"|"last" where a new block goes, default "first"
---@field state? "present"|"absent" default "present"

local OF_FORMATION = "# Written by pgafrun: changes by hand are lost."

local QUERY = ([[
select json_build_object('path', path, 'text', pg_read_file(path), 'data', current_setting('data_directory'),
  'stale', %s)
from current_setting('hba_file') path]]):format(server.STALE)

local WRONG, LOCKED_OUT, NOT_READ = 3, 4, 5

-- Run by the file's owner, who is the cluster's, in one go: whatever becomes of us, a wrong file does not stay. The
-- server is told by a signal, because who is locked out has no session to say it in.
local EXCHANGE = ([[
file=$1 data=$2 old=$1.pgafrun-old new=$1.pgafrun-new
ask() { psql -XAtq -d postgres -c "$1" 2>&1; }
umask 077
cat >"$new" && chmod --reference="$file" "$new" && cp -p "$file" "$old" && mv -T "$new" "$file" || exit 1
back() { mv -T "$old" "$file"; }
trap 'back; exit 1' HUP INT TERM
wrong=$(ask "select 'line ' || line_number || ': ' || error from pg_hba_file_rules where error is not null") ||
  { back; echo "$wrong" >&2; exit 1; }
[ -z "$wrong" ] || { back; echo "$wrong"; exit %d; }
before=$(ask 'select pg_conf_load_time()')
pid=$(head -n 1 "$data/postmaster.pid")
kill -HUP "$pid"
tries=0
while [ $tries -lt 60 ]; do
  if now=$(ask 'select pg_conf_load_time()'); then
    [ "$now" = "$before" ] || { rm -f "$old"; exit 0; }
  fi
  tries=$((tries + 1)); sleep 0.05
done
back; kill -HUP "$pid"
[ "$now" = "$before" ] || { echo "$now"; exit %d; }
ask "%s"; exit %d]]):format(WRONG, LOCKED_OUT, server.WRONG_LINES, NOT_READ)

local WHY = {
  [WRONG] = "the server refuses the file, and has kept the old one: ",
  [NOT_READ] = "the server does not load its configuration, and the old file was put back: ",
  [LOCKED_OUT] = "with this file the cluster's owner could not log in, and the old one was put back: ",
}

local function exchange(self, target, options, now, text)
  local result = server.as_owner(target, options,
    ("sh -c %s sh %s %s"):format(quote.sh(EXCHANGE), quote.sh(now.path), quote.sh(now.data)), text)
  if result.code == 0 then return "wrote the entries in " .. now.path end
  local why = (result.stdout .. result.stderr):match "^%s*(.-)%s*$"
  return error.raise {
    kind = WHY[result.code] and "config" or "command", code = tostring(result.code),
    operation = ("%s %s on %s"):format(self.kind, self.name, target.name),
    message = (WHY[result.code] or now.path .. " cannot be written: ") .. why,
  }
end

-- A file may have the password of an LDAP or RADIUS server.
local function has_secrets(text) return text:find("passwd", 1, true) or text:find("secret", 1, true) end

local function compare(options, self, target, now)
  if now.text:find(OF_FORMATION, 1, true) == 1 then
    server.refuse(self, target, now.path .. " is a formation's own",
      "application.networks and operator_networks of the inventory say who may come")
  end
  local _, block = hba.split(now.text, options.name)
  local wanted = options.state == "present" and hba.block(options.name, options.entries) or nil
  if block == wanted then
    if now.stale ~= true then return {} end
    return {
      { says = "the server has not loaded " .. now.path, what = now.path .. ": loaded", before = "no", after = "yes" },
    }
  end
  local text = hba.with_block(now.text, options.name, wanted, options.place)
  return {
    {
      says = not block and ("%s has no entries of ours"):format(now.path) or
        not wanted and ("%s has entries of ours"):format(now.path) or ("the entries in %s differ"):format(now.path),
      what = now.path, before = now.text, after = text, secret = has_secrets(now.text .. text) and true or nil,
      exchange = function() return exchange(self, target, options, now, text) end,
    },
  }
end

return resource.define {
  kind = "pg_hba",
  parameters = server.parameters {
    name = { schema.text { pattern = "[^%c]+", what = "a name of one line", max = 80 }, default = "entries" },
    entries = { hba.entries },
    place = { schema.one_of("first", "last"), default = "first" },
    state = { parameter.state(), default = "present" },
  },
  name = function(options) return options.name or "entries" end,
  check = function(options, report)
    if (options.state == "present") ~= (options.entries ~= nil) then
      report(options.entries and "absent, and yet with entries" or "entries is missing")
    end
  end,
  make = function(options)
    return server.resource {
      options = options, on_standby = true,
      questions = { server.question(options, "postgres", QUERY, server.looks_at "current_setting('hba_file')") },
      compare = function(self, target, answers) return compare(options, self, target, answers[1]) end,
      apply = function(self, target, found)
        if found[1].exchange then return found[1].exchange() end
        server.reload(self, target, options)
        return nil
      end,
    }
  end,
}

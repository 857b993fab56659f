-- A setting of the server, by ALTER SYSTEM, which wins over postgresql.conf; loaded at once where the server can.
--
--     resource.pg_setting { name = "log_min_duration_statement", value = "500ms" }
--     resource.pg_setting { name = "shared_preload_libraries", value = { "pg_stat_statements" } }
--     resource.pg_setting { name = "work_mem", reset = true }
--
-- One that counts only after a restart is set, and told with each run until the server has been restarted
-- (target.restart_pending has its name, for the `when` of a handler). On nodes of a formation the inventory's
-- postgres.settings is the place for settings: what ALTER SYSTEM says beside it is reset by the formation's own play.

local guc = require "pgaf.postgres.guc"
local log = require "pgafrun.log"
local pg = require "pgafrun.pg"
local resource = require "pgaf.resource"
local rules = require "pgaf.autofailover.rules"
local schema = require "pgaf.schema"
local server = require "pgaf.postgres.server"
local suggest = require "pgaf.suggest"

local literal = pg.quote_literal

---@class pgaf.PgSettingOptions: pgaf.PgServerOptions
---@field name string
---@field value? string|number|boolean|string[] with its unit: "256MB", "500ms"; a list for lists of names
---@field reset? boolean instead of a value: what ALTER SYSTEM said is taken back

-- `file` is what ALTER SYSTEM has said, `files` what all files together say; `formation`: the files that pgafrun and
-- pg_auto_failover write are there.
local QUERY = [[
with files as materialized (select * from pg_file_settings)
select json_build_object(
  'row', (select json_build_object('name', name, 'vartype', vartype, 'unit', unit, 'min', min_val, 'max', max_val,
    'enumvals', enumvals, 'context', context, 'source', source, 'value', setting, 'boot', boot_val,
    'pending', pending_restart)
    from pg_settings where lower(name) = %s),
  'file', (select setting from files where lower(name) = %s and sourcefile like '%%/postgresql.auto.conf'
    order by seqno desc limit 1),
  'files', (select setting from files where lower(name) = %s and error is null order by seqno desc limit 1),
  'formation', exists (select from files where sourcefile ~ '/postgresql-auto-failover(-monitor)?[.]conf$'),
  'of_formation', exists (select from files where lower(name) = %s and sourcefile like '%%/node.conf'),
  'stale', %s,
  'names', (select json_agg(name) from pg_settings
    where not exists (select from pg_settings where lower(name) = %s)))]]

local LOOKS_AT = server.looks_at "current_setting('data_directory') || '/postgresql.auto.conf'"

local function is_text(value) return type(value) == "string" end

-- Where a value comes from that every session has. From elsewhere (ALTER ROLE, ALTER DATABASE, the client) it is only
-- this session's, and hides the server's.
local SERVER_WIDE = {
  default = true, ["environment variable"] = true, ["configuration file"] = true, ["command line"] = true,
  override = true,
}

-- What the files say, and without a word from them the server's default.
local function said(row, now) return is_text(now.files) and now.files or row.boot or "" end

-- The row of pg_settings without nulls.
local function row_of(self, target, options, now)
  if type(now.row) ~= "table" then
    local near = suggest(options.name, now.names)
    local library = options.name:match "^([^.]+)%."
    server.refuse(self, target, ("PostgreSQL has no setting %q%s"):format(options.name,
      near and (", did you mean %q?"):format(near) or ""),
      library and ("a library's settings are there once shared_preload_libraries has it: %s?"):format(library))
  end
  local row = {}
  for key, value in pairs(now.row) do
    if type(value) ~= "userdata" then row[key] = value end
  end
  if row.context == "internal" then
    server.refuse(self, target, options.name .. " cannot be set: it tells how the server was built or its data made")
  end
  return row
end

-- On a node of a formation ALTER SYSTEM would fight with pg_auto_failover, or with the formation's own play.
local function refuse_owned(self, target, now, name)
  if now.formation ~= true or not (now.of_formation == true or rules.is_owned(name:lower())) then return end
  server.refuse(self, target, ("on the nodes of a formation %s is not for ALTER SYSTEM: %s"):format(name,
    now.of_formation == true and "node.conf sets it" or "pg_auto_failover or this tool sets it"),
    "postgres.settings, and the other keys of postgres and timers in the inventory, say what it is")
end

local function wanted_value(self, target, options, row)
  local value, problem = guc.canonical(row, options.value)
  if problem then
    server.refuse(self, target, ("%s = %s: %s"):format(options.name, guc.show(options.value), problem))
  end
  return value
end

-- With its unit, where it has one.
local function show(row, value)
  local text = guc.show(value)
  if row.unit and type(value) == "number" then return text .. (row.unit:find "^%d" and " x " or " ") .. row.unit end
  return text
end

local function restart_needed(target, row)
  target.restart_pending = target.restart_pending or {}
  if target.restart_pending[row.name] then return end
  target.restart_pending[row.name] = true
  log.warn("a setting counts only after a restart of PostgreSQL", { setting = row.name, node = target.name })
end

-- Nothing to set: has the running server what the file says?
local function compare_running(target, row, wanted, stale, found)
  if not SERVER_WIDE[row.source] then
    if stale then
      found[1] = {
        says = ("the server may not have loaded %s = %s"):format(row.name, show(row, wanted)),
        what = row.name .. ": loaded", before = "unknown", after = "yes",
      }
    end
    return
  end
  if row.context == "postmaster" then
    -- not the value: some are worked out by the server at its start
    if row.pending then restart_needed(target, row) end
    return
  end
  local running = guc.canonical(row, row.value)
  -- the server may write a text in other words
  if running == wanted or (row.vartype == "string" and not stale) then return end
  found[1] = {
    says = ("%s is %s, not %s: the server has not loaded it"):format(row.name, show(row, running), show(row, wanted)),
    what = row.name, before = show(row, running), after = show(row, wanted),
  }
end

local function compare(options, self, target, now)
  local row = row_of(self, target, options, now)
  refuse_owned(self, target, now, row.name)
  local file = is_text(now.file) and now.file or nil
  local found = {}
  if options.reset then
    if not file then
      if row.context == "postmaster" or row.source == "configuration file" or not SERVER_WIDE[row.source] then
        compare_running(target, row, guc.canonical(row, said(row, now)), now.stale == true, found)
      end
      return found
    end
    found[1] = {
      says = ("%s is set to %s by ALTER SYSTEM"):format(row.name, file), what = row.name, before = file,
      after = "not set by ALTER SYSTEM", sql = "alter system reset " .. row.name,
      restart = row.context == "postmaster",
    }
    return found
  end
  local wanted = wanted_value(self, target, options, row)
  local running = guc.canonical(row, SERVER_WIDE[row.source] and row.value or said(row, now))
  -- what postgresql.conf or the default says already needs no ALTER SYSTEM
  local is = file and guc.canonical(row, file) or running
  if row.source == "command line" and running ~= wanted then
    server.refuse(self, target, ("%s is %s by the server's command line, which wins over ALTER SYSTEM"):format(
      row.name, show(row, running)))
  end
  local goes = not file and row.pending and row.source ~= "command line" -- with the next restart
  if is == wanted and not goes then
    compare_running(target, row, wanted, now.stale == true, found)
    return found
  end
  local before = is == wanted and "changed by the next restart" or show(row, is)
  found[1] = {
    says = ("%s is %s, not %s"):format(row.name, before, show(row, wanted)), what = row.name, before = before,
    after = show(row, wanted),
    sql = ("alter system set %s = %s"):format(row.name, guc.expression(row.name, options.value, literal)),
    restart = row.context == "postmaster",
  }
  return found
end

local function apply(options, self, target, found)
  local statement = found[1].sql
  if statement then server.run(self, target, options, "postgres", statement .. ";") end
  server.reload(self, target, options)
  return found[1].restart and found[1].says .. " (it counts after a restart)" or nil
end

-- Also an empty one.
local function text(value, path, report)
  if type(value) ~= "string" or value:find "%c" then report(path, "wants a text of one line") end
  return value
end

return resource.define {
  kind = "pg_setting",
  parameters = server.parameters {
    name = { schema.text { pattern = "[%a_][%w_.]*", what = "the name of a setting", max = 63 }, required = true },
    value = {
      schema.either("a text, a number, true or false, or a list of texts", text, schema.boolean(),
        schema.number(-math.huge, "any size"), schema.list(text)),
    },
    reset = { schema.boolean(), default = false },
  },
  words = { setting = "name" },
  name = function(options) return options.name end,
  check = function(options, report)
    if (options.value == nil) == not options.reset then report "wants either a value, or reset = true" end
  end,
  make = function(options)
    options.name = options.name:lower()
    local name = literal(options.name)
    return server.resource {
      options = options, on_standby = true,
      questions = {
        server.question(options, "postgres", QUERY:format(name, name, name, name, server.STALE, name), LOOKS_AT),
      },
      compare = function(self, target, answers) return compare(options, self, target, answers[1]) end,
      apply = function(self, target, found) return apply(options, self, target, found) end,
    }
  end,
}

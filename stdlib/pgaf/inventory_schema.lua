-- What an inventory may say, and what holds when it says nothing. scripts/inventory/example.lua explains each key.

local schema = require "pgaf.schema"
local sorted_keys = require "pgaf.sorted_keys"

local text, integer, boolean, list, record = schema.text, schema.integer, schema.boolean, schema.list, schema.record
local one_of, map, either = schema.one_of, schema.map, schema.either

local name_text = text {
  pattern = "[a-z][a-z0-9%-]*", max = 63, what = "a host name: lower-case letters, digits and '-', at most 63",
}
local function node_name(value, where, report)
  -- a dash at the end is told in the same words
  name_text(type(value) == "string" and value:gsub("%-$", "_") or value, where, report)
  return value
end
local identifier = text {
  pattern = "[a-z_][a-z0-9_]*", max = 63, what = "an SQL name: lower-case letters, digits and '_', at most 63",
}
local domain = text { pattern = "[a-z0-9][a-z0-9.%-]*", what = "a domain name" }
local size = text { pattern = "%d+[kMGT]?i?B", what = "a size with its unit, such as \"512MB\"" }
local interval = text { pattern = "%d+[umsinhd]+", what = "a time with its unit, such as \"200ms\"" }
local address = text { pattern = "%d+%.%d+%.%d+%.%d+", what = "an IPv4 address" }
local path = text { pattern = "[/~][^%c]*", what = "an absolute path" }
local port = integer(1, 65535)

local function network(value, where, report)
  local a, b, c, d, bits = tostring(value):match("^(%d+)%.(%d+)%.(%d+)%.(%d+)/(%d+)$")
  local fits = a and tonumber(bits) <= 32
  for _, part in ipairs { a, b, c, d } do fits = fits and tonumber(part) <= 255 end
  if not fits then report(where, ("wants a network such as \"10.0.0.0/8\", not %q"):format(tostring(value))) end
  return value
end

-- A literal in the file, or a value made by pgaf.secret.
local function secret(value, where, report)
  if type(value) == "string" and value ~= "" then return value end
  if require("pgaf.secret").is(value) then return value end
  report(where, "wants a secret: secret.env(NAME), secret.file(PATH), secret.command{...}" ..
    (type(value) == "string" and ", not an empty text" or ""))
  return value
end

local limits = record {
  cpu = { either("a number of processors, or a set of them such as \"0-3\"", integer(1, 4096),
    text { pattern = "[%d,%-]+" }) },
  memory = { text { pattern = "%d+[kMGT]?i?B", what = "a size with its unit, such as \"2GiB\"" } },
}

-- Any value of Lua's own kinds, or a secret, in tables to any depth.
local function variable_value(value, where, report)
  local kind = type(value)
  if kind == "function" or kind == "thread" or (kind == "userdata" and value ~= require("pgafrun.json").null) then
    report(where, "wants a text, a number, true or false, a table or a secret, not a " .. kind)
  end
  return value
end
local variables = map(text { pattern = "[%a_][%w_]*", what = "a variable's name: letters, digits and '_'" },
  variable_value)

local host = {
  name = { node_name, required = true },
  port = { port, default = 5432 },
  address = { address },
  image = { text() },
  target = { text() },
  limits = { limits, default = {} },
  vars = { variables, default = {} },
}

local member = {
  candidate_priority = { integer(0, 100), default = 50 },
  replication_quorum = { boolean(), default = true },
}

-- What a group may say for its nodes, where they do not say it themselves.
local group = record {
  hosts = { list(text()) },
  children = { list(text()) },
  priority = { integer(-1000, 1000) },
  vars = { variables },
  node = {
    record {
      port = { port }, image = { text() }, target = { text() }, limits = { limits },
      candidate_priority = { member.candidate_priority[1] }, replication_quorum = { member.replication_quorum[1] },
    },
  },
}
local group_name = text { pattern = "[%a_][%w_%-]*", what = "a group's name: letters, digits, '_' and '-'" }

local function host_with(fields)
  for key, field in pairs(host) do fields[key] = fields[key] or field end
  return record(fields)
end

local provider = schema.variant("kind", {
  incus = record {
    kind = { one_of "incus", required = true },
    remote = { text() },
    project = { text() },
    target = { text() },
    image = { text(), default = "images:ubuntu/22.04" },
    profiles = { list(text()), default = { "default" } },
    nic = { text(), default = "eth0" },
    ready_timeout = { schema.number(1, "seconds"), default = 60 },
    bake = { boolean(), default = true },
    bake_max_age = { schema.number(0, "days"), default = 7 },
  },
  ["local"] = record {
    kind = { one_of "local", required = true },
    root = { path },
    bindir = { path },
  },
})

local function milliseconds(default) return { integer(1, 2147483647, "milliseconds"), default = default } end

local timers = record {
  health_check_period = milliseconds(5000),
  health_check_timeout = milliseconds(5000),
  health_check_max_retries = { integer(0, 1000), default = 2 },
  health_check_retry_delay = milliseconds(2000),
  node_considered_unhealthy_timeout = milliseconds(20000),
  primary_demote_timeout = milliseconds(30000),
  startup_grace_period = milliseconds(10000),
  enable_sync_wal_log_threshold = { integer(1, 2147483647, "bytes"), default = 16777216 },
  promote_wal_log_threshold = { integer(1, 2147483647, "bytes"), default = 16777216 },
  network_partition_timeout = { integer(1, 86400, "seconds"), default = 20 },
}

local setting_name = text { pattern = "[a-z_][a-z0-9_.]*", what = "the name of a setting" }
local setting_value = either("a text, a number, or true or false",
  text { pattern = "[^%c]+" }, schema.number(-math.huge, ""), boolean())

local postgres = record {
  version = { integer(13, 99), default = 16 },
  source = { one_of("pgdg", "distribution"), default = "pgdg" },
  pgdg = {
    record {
      url = { text { pattern = "https?://[^%s]+", what = "an address: https://..." },
        default = "https://apt.postgresql.org/pub/repos/apt" },
      key = { text { pattern = "[/~h][^%c]*", what = "a path or an address of the signing key" },
        default = "https://www.postgresql.org/media/keys/ACCC4CF8.asc" },
      fingerprint = { text { pattern = "%x+", what = "a fingerprint in hexadecimal" },
        default = "B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8" },
      suite = { text { pattern = "[a-z0-9%-]+", what = "a suite such as \"jammy-pgdg\"" } },
    }, default = {},
  },
  packages = { map(text { pattern = "[a-z0-9][a-z0-9+.%-]+", what = "a package's name" },
    text { pattern = "[^%s]+", what = "a version, as apt knows it" }), default = {} },
  data_dir = { path },
  settings = { map(setting_name, setting_value), default = {} },
  shared_buffers = { either("\"auto\" or a size with its unit, such as \"512MB\"", one_of "auto", size),
    default = "auto" },
  wal_keep_size = { size, default = "256MB" },
  max_slot_wal_keep_size = { size, default = "1GB" },
  wal_retrieve_retry_interval = { interval, default = "200ms" },
}

local KEYS = {
  environment = { one_of("lab", "staging", "production"), required = true },
  formation = { node_name, required = true },
  provider = { provider, required = true },
  domain = { domain, default = "lxd" },
  monitor = { host_with {}, required = true },
  nodes = {
    list(host_with(member), { min = 2, what = "a list of data nodes: { { name = ... }, ... }" }), required = true,
  },
  postgres = { postgres, default = {} },
  formation_settings = { record { number_sync_standbys = { integer(0, 100) } }, default = {} },
  timers = { timers, default = {} },
  application = {
    record {
      user = { identifier, default = "app" },
      database = { identifier, default = "app" },
      password = { secret, required = true },
      networks = { list(network), default = {} },
    }, required = true,
  },
  operator_networks = { list(network), default = {} },
  monitor_password = { secret },
  replication_password = { secret },
  groups = { map(group_name, group), default = {} },
  vars = { variables, default = {} },
}

---@type { type: pgaf.schema.Type, names: string[], secrets: string[], monitor_keys: table<string, boolean> }
return {
  type = record(KEYS), names = sorted_keys(KEYS),
  secrets = { "application.password", "monitor_password", "replication_password" },
  monitor_keys = { port = true, image = true, target = true, limits = true },
}

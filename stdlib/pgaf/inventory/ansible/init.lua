-- An Ansible inventory as it is: hosts and groups (YAML, INI, or a folder of both), group_vars/, host_vars/, the roles'
-- defaults, values from vaults, plain Jinja expressions. It becomes the lowest layer of an inventory of ours.

local failures = require "pgafrun.error"
local files = require "pgaf.inventory.ansible.files"
local fs = require "pgafrun.fs"
local groups = require "pgaf.inventory.groups"
local hosts = require "pgaf.inventory.ansible.hosts"
local jinja = require "pgaf.inventory.ansible.jinja"
local mapping = require "pgaf.inventory.ansible.mapping"
local names = require "pgaf.inventory.ansible.names"
local secret = require "pgaf.secret"
local variables = require "pgaf.inventory.variables"
local yaml_file = require "pgaf.inventory.yaml_file"

local ansible = {}

local MAX_RENDER = 30

---@class pgaf.ansible.Options
---@field playbook_dir? string where the playbook's group_vars/, host_vars/ and roles/ are
---@field map? table<string, string> variable -> key: { my_port = "node.port", my_version = "postgres.version" }

-- --- reading ---

local function is_yaml(path, text)
  local extension = path:match("%.(%w+)$")
  if extension == "ini" or extension == "cfg" then return false end
  if extension == "yml" or extension == "yaml" or extension == "json" then return true end
  for line in text:gmatch("[^\r\n]+") do
    if line:find("%S") and not line:find("^%s*[#;]") then
      return line:find("^%-%-%-") ~= nil or line:find("^[%w_%-\"']+:%s*$") ~= nil or line:find("^{") ~= nil
    end
  end
  return false
end

local function read_one(path, list, context)
  local found, text = pcall(fs.read, path, { max_bytes = 16 * 1024 * 1024 })
  if not found then
    if not failures.is(text) or failures.is(text, "cancelled") then error(text, 0) end
    failures.raise { kind = "inventory", message = ("%s: it cannot be read: %s"):format(path, text.message) }
  end
  if is_yaml(path, text) or text:find("^%s*%$ANSIBLE_VAULT") then
    local file = yaml_file.parse(path, text, context.keys)
    for _, one in ipairs(file.secrets) do context.vaulted[#context.vaulted + 1] = one end
    list:read_yaml(file)
  elseif text:find("^#!") then
    list.report(path, 1, "a program that makes an inventory is not run: save what it prints with --list as YAML")
  else
    list:read_ini(path, text)
  end
end

local IGNORED = { "~$", "%.orig$", "%.bak$", "%.cfg$", "%.retry$", "%.py$", "^%.", "%.lua$", "%.md$" }

local function is_ignored(name)
  for _, pattern in ipairs(IGNORED) do
    if name:find(pattern) then return true end
  end
  return name == "group_vars" or name == "host_vars"
end

local function read_hosts(path, list, context)
  if fs.stat(fs.realpath(path)).type ~= "directory" then
    read_one(path, list, context)
    return path:match("^(.*)/[^/]*$") or "."
  end
  for _, name in ipairs(fs.list(path)) do
    local inner = path .. "/" .. name
    if not is_ignored(name) and fs.stat(fs.realpath(inner)).type == "file" then
      read_one(inner, list, context)
    elseif name:find("%.py$") then
      list.note("unmapped", inner, 1, "a program that makes an inventory is not run")
    end
  end
  return (path:gsub("/+$", ""))
end

-- --- variables ---

local function source(from, rank, set, vars)
  local values = {}
  for name, one in pairs(vars) do values[name] = one.value end
  return {
    from = from, rank = rank, hosts = set, vars = values,
    place = function(name) return vars[name].file, vars[name].line end,
  }
end

local function collect_sources(list, found, read)
  local sources = {}
  local sorted = found:sorted()
  for _, group in ipairs(sorted) do
    local declared = list.groups[group.name]
    if declared and next(declared.vars) then
      local is_all = group.name == "all"
      sources[#sources + 1] = source(is_all and "all" or "group " .. group.name, is_all and 2 or 3,
        not is_all and found:set(group.name) or nil, declared.vars)
    end
  end
  for _, host in ipairs(list.names) do
    if next(list.vars[host]) then
      sources[#sources + 1] = source("host " .. host, 30, { [host] = true }, list.vars[host])
    end
  end
  for _, one in ipairs(read) do
    sources[#sources + 1] = {
      from = one.from, rank = one.rank, vars = one.file.vars, place = one.file.place,
      hosts = one.host and { [one.host] = true } or (one.group and one.group ~= "all" and found:set(one.group)) or nil,
    }
  end
  return sources
end

-- --- expressions ---

-- The names that an expression of a host may use: its variables, and what Ansible itself defines.
local function scopes(list, found, resolved, used)
  local made = {}
  local scope_of
  local all_groups = {}
  for name in pairs(found.by_name) do all_groups[name] = found:members(name) end
  local function magic(host)
    return {
      inventory_hostname = host, inventory_hostname_short = host:match("^[^.]+"), group_names = found:of(host),
      groups = all_groups, hostvars = setmetatable({}, { __index = function(_, name)
        return list.places[name] and scope_of(name) or nil
      end }),
    }
  end
  function scope_of(host)
    if made[host] then return made[host] end
    local own, open = magic(host), {}
    local depth = 0
    made[host] = setmetatable({}, { __index = function(scope, name)
      if own[name] ~= nil then return own[name] end
      local one = resolved[host][name]
      if not one then return nil end
      used[name] = true
      if open[name] or depth > MAX_RENDER then jinja.refuse(("%s refers to itself"):format(name)) end
      open[name], depth = true, depth + 1
      local value, why = jinja.render(one.value, made[host])
      open[name], depth = nil, depth - 1
      if value == nil then jinja.refuse(("%s, which it refers to: %s"):format(name, why)) end
      rawset(scope, name, value) -- worked out once, however many refer to it
      return value
    end })
    return made[host]
  end
  return scope_of
end

local function plain_of(value)
  local text = secret.is(value) and yaml_file.plain(value)
  return text and jinja.has_expression(text) and text or nil
end

-- All variables of all hosts with their expressions replaced; what cannot be is left out and told.
local function render_all(list, found, resolved, used, note)
  local scope_of = scopes(list, found, resolved, used)
  local rendered = {}
  for _, host in ipairs(list.names) do
    rendered[host] = {}
    for name, one in pairs(resolved[host]) do
      local text = plain_of(one.value)
      local value, why = jinja.render(text or one.value, scope_of(host))
      if value == nil then
        used[name] = true
        note("unmapped", one.place.file, one.place.line, ("%s cannot be worked out here: %s"):format(name, why))
      else
        if text and type(value) == "string" then value = secret.from("a vault", function() return value end) end
        rendered[host][name] = { value = value, place = one.place, overridden = one.overridden }
      end
    end
  end
  return rendered
end

-- Vaults are opened now where their password is known, so that a wrong one is told before anything is touched.
local function check_vaults(context)
  if not context.keys:known() then return end
  for _, one in ipairs(context.vaulted) do
    local good, problem = pcall(secret.reveal, one.secret)
    if not good then
      if type(problem) ~= "table" or problem.kind ~= "secret" then error(problem, 0) end
      local file, line = one.where:match("^(.*):(%d+)$")
      local message = problem.message
      if message:sub(1, #one.where + 2) == one.where .. ": " then message = message:sub(#one.where + 3) end
      context.problems[#context.problems + 1] = { file = file, line = tonumber(line), message = message }
      if problem.code == "no_password" then return end
    end
  end
end

-- --- as a layer ---

-- Each host's variables as sources of an inventory: their ranks are kept, their values are those worked out.
local function as_sources(sources, rendered, short)
  local list, host_of = {}, {}
  for host, name in pairs(short) do host_of[name] = host end
  local function render(variable, name)
    local one = rendered[host_of[name]][variable]
    return one and one.value
  end
  for i, one in ipairs(sources) do
    local set = {}
    for host in pairs(one.hosts or short) do
      if short[host] then set[short[host]] = true end
    end
    list[i] = { from = one.from, rank = one.rank, hosts = set, vars = one.vars, place = one.place, render = render }
  end
  return list
end

local function hint_of(path, from)
  if from then return from end
  local key = path:gsub("^nodes%[%d+%]%.", ""):gsub("^monitor%.", "")
  for _, entry in ipairs(names.KEYS) do
    if entry[1] == path or entry[1] == key then return entry[4]:match("^%S+") end
  end
  return nil
end

local function layer_of(file, mapped, sources)
  return {
    file = file, value = mapped.value, sources = sources,
    place = function(path)
      while path and path ~= "" do
        local found = mapped.places[path]
        if found then return found.file, found.line end
        path = path:match("^(.*)[.%[][^.%[]*$")
      end
      return file, 1
    end,
    hint = function(path) return hint_of(path, mapped.variables[path]) end,
  }
end

---@param file string
---@param context pgaf.inventory.Context
---@param options? pgaf.ansible.Options
---@return pgaf.inventory.Layer[]
function ansible.read(file, context, options)
  options = options or {}
  context.vaulted = context.vaulted or {}
  local told = {}
  local function problem(at, line, message, is_unread)
    context.problems[#context.problems + 1] = { file = at, line = line, message = message, is_unread = is_unread }
  end
  local function note(kind, at, line, message)
    local key = ("%s:%d: %s"):format(at, line, message)
    if not told[key] then
      context.notes[#context.notes + 1] = { kind = kind, file = at, line = line, message = message }
    end
    told[key] = true
  end
  local list = hosts.new(problem, note)
  local folder = read_hosts(file, list, context)
  local function report(path, message)
    local group = list.groups[path:match("^groups%.([^.%[]+)") or ""]
    problem(group and group.file or file, group and group.line or 1, message)
  end
  local found = groups.declared(list.names, list.groups, report)
  local group_names = {}
  for _, group in ipairs(found:sorted()) do group_names[#group_names + 1] = group.name end
  local folders = { inventory = folder, playbook = options.playbook_dir or files.playbook_folder(folder) }
  local read = files.collect(folders, group_names, list.names, context, note)
  check_vaults(context)
  local sources = collect_sources(list, found, read)
  local all = table.move(sources, 1, #sources, 1, {})
  local extra = {}
  for _, one in ipairs(context.extra) do extra[one.key] = { value = one.value, file = one.file, line = one.line } end
  all[#all + 1] = source("-e", variables.EXTRA, nil, extra)
  local used = {}
  local resolved = variables.resolve(list.names, all)
  local rendered = render_all(list, found, resolved, used, note)
  local mapped, short = mapping.apply {
    file = file, hosts = list, groups = found, resolved = rendered, used = used, map = options.map, note = note,
    problem = problem,
  }
  table.sort(context.notes, function(a, b)
    if a.file ~= b.file then return a.file < b.file end
    if a.line ~= b.line then return a.line < b.line end
    return a.message < b.message
  end)
  return { layer_of(file, mapped, as_sources(sources, rendered, short)) }
end

return ansible

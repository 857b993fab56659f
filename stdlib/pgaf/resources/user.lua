-- A user of the operating system.
--
--     resource.user { name = "app", system = true, home = "/srv/app", shell = "/usr/sbin/nologin" }
--     resource.user { name = "ops", groups = { "sudo" }, password = secret.file "ops.hash" }
--     resource.user { name = "gone", state = "absent" }

local commands = require "pgaf.resource.commands"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.UserOptions
---@field name string
---@field uid? integer default: the next free one
---@field group? string the user's own group; it must be there. Default: one of the user's name
---@field groups? string[] of which the user is a member as well
---@field only_groups? boolean no others than `groups`, default false
---@field home? string folder, default /home/NAME
---@field create_home? boolean makes the folder along with the user, default true, for a system user false
---@field shell? string default for a new one: what the distribution gives
---@field comment? string full name
---@field password? string|pgaf.Secret as crypt(3) makes it of the password: "$6$...", "!" for none. It goes by standard
---input
---@field system? boolean when it is made: of the numbers for the system's own, default false
---@field state? "present"|"absent" default "present"; of one that goes, the folder stays

local function has(list, wanted)
  for _, one in ipairs(list) do
    if one == wanted then return true end
  end
  return false
end

-- What differs: { what, now, wanted, option of useradd and usermod }.
local function differences(options, now, groups)
  local list = {}
  local function compare(what, current, wanted, option)
    if wanted ~= nil and current ~= wanted then
      list[#list + 1] = { what = what, now = tostring(current), wanted = tostring(wanted), option = option }
    end
  end
  compare("uid", now.uid, options.uid, "-u")
  compare("comment", now.comment, options.comment, "-c")
  compare("home", now.home, options.home, "-d")
  compare("shell", now.shell, options.shell, "-s")
  if options.group then
    local own = groups[options.group]
    compare("group", now.gid, own and own.gid or options.group, "-g")
    if #list > 0 and list[#list].option == "-g" then list[#list].wanted = options.group end
  end
  if options.groups then
    -- the first that `id` names is the user's own, of which it is no member when it gets another
    local others, missing, extra = table.move(now.groups, 2, #now.groups, 1, {}), false, false
    local own = options.group or now.groups[1]
    for _, group in ipairs(options.groups) do missing = missing or group ~= own and not has(others, group) end
    for _, group in ipairs(others) do extra = extra or not has(options.groups, group) end
    if missing or extra and options.only_groups then
      list[#list + 1] = {
        what = "groups", now = table.concat(others, ","), wanted = table.concat(options.groups, ","),
        option = options.only_groups and "-G" or "-aG",
      }
    end
  end
  return list
end

local function make(options)
  local name = options.name
  local made = { reads = { { "user", name }, { "group", name } } }
  if options.group then table.insert(made.reads, { "group", options.group }) end
  local hash_key = "password of user " .. name
  if options.password then
    table.insert(made.reads, {
      "sh", hash_key, script = ("getent shadow %s | cut -d: -f2"):format(quote.sh(name)),
    })
  end

  local function password_differs(target, facts)
    if not options.password then return false end
    local hash = facts.sh[hash_key]
    return (hash or ""):match "[^\n]*" ~= parameter.reveal(options.password, target)
  end

  function made:probe(target, facts)
    local now = facts.user[name]
    if options.state == "absent" then return now and ("there is a user %s"):format(name) or nil end
    if not now then return ("there is no user %s"):format(name) end
    local parts = {}
    for i, one in ipairs(differences(options, now, facts.group)) do
      parts[i] = ("%s is %q, not %q"):format(one.what, one.now, one.wanted)
    end
    if password_differs(target, facts) then parts[#parts + 1] = "the password differs" end
    return #parts > 0 and ("user %s: %s"):format(name, table.concat(parts, ", ")) or nil
  end

  function made:changes(target, facts)
    local now, list = facts.user[name], {}
    if options.state == "absent" then return { { what = "user " .. name, before = "uid " .. now.uid } } end
    if not now then list[1] = { what = "user " .. name, after = "a user" } end
    for _, one in ipairs(now and differences(options, now, facts.group) or {}) do
      list[#list + 1] = { what = ("user %s: %s"):format(name, one.what), before = one.now, after = one.wanted }
    end
    if password_differs(target, facts) then
      list[#list + 1] = {
        what = ("user %s: password"):format(name), before = facts.sh[hash_key] or nil,
        after = (parameter.reveal(options.password, target)), secret = true,
      }
    end
    return list
  end

  local function create(self, target, facts)
    local words = { "useradd" }
    local function add(option, value)
      if value ~= nil then words[#words + 1], words[#words + 2] = option, tostring(value) end
    end
    if options.system then words[#words + 1] = "-r" end
    local create_home = options.create_home
    if create_home == nil then create_home = not options.system end
    words[#words + 1] = create_home and "-m" or "-M"
    local own = options.group or facts.group[name] and name
    if own then add("-g", own) else words[#words + 1] = "-U" end
    add("-u", options.uid)
    add("-d", options.home)
    add("-s", options.shell)
    add("-c", options.comment)
    if options.groups and #options.groups > 0 then add("-G", table.concat(options.groups, ",")) end
    words[#words + 1] = name
    commands.run(self, target, quote.sh_list(words), { hint = "its groups must be there: resource.group makes them" })
  end

  local function modify(self, target, list)
    local words = { "usermod" }
    for _, one in ipairs(list) do words[#words + 1], words[#words + 2] = one.option, one.wanted end
    words[#words + 1] = name
    if #list > 0 then commands.run(self, target, quote.sh_list(words)) end
  end

  function made:apply(target, _, facts)
    local now = facts.user[name]
    if options.state == "absent" then
      commands.run(self, target, "userdel " .. quote.sh(name))
      return "removed the user " .. name
    end
    local set_password = password_differs(target, facts)
    if now then modify(self, target, differences(options, now, facts.group)) else create(self, target, facts) end
    if set_password then
      commands.run(self, target, "chpasswd -e", {
        stdin = ("%s:%s\n"):format(name, (parameter.reveal(options.password, target))),
      })
    end
    return (now and "changed the user " or "made the user ") .. name
  end

  return made
end

return resource.define {
  kind = "user",
  parameters = {
    name = { parameter.name, required = true },
    uid = { schema.integer(0, 4294967294) },
    group = { parameter.name },
    groups = { schema.list(parameter.name) },
    only_groups = { schema.boolean() },
    home = { parameter.path },
    create_home = { schema.boolean() },
    shell = { parameter.path },
    comment = { schema.text { pattern = "[^:\n]*", what = "a text of one line without colons" } },
    password = { parameter.secret(schema.text { pattern = "[$!*][^:\n]*", what = "a crypt(3) hash, or a secret" }) },
    system = { schema.boolean() },
    state = { parameter.state(), default = "present" },
  },
  words = { append = "only_groups", createhome = "create_home", gecos = "comment", update_password = "password" },
  name = function(options) return options.name end,
  check = function(options, report)
    if options.only_groups and not options.groups then report "only_groups goes with groups" end
  end,
  make = make,
}

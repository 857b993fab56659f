-- Directories of one owner and mode.
--
--     resource.directory { path = "/srv/app", user = "app", mode = "0750" }
--     resource.directory { paths = { "/srv/a", "/srv/b" } }
--     resource.directory { path = "/srv/old", state = "absent", recurse = true }

local files = require "pgaf.resource.files"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.DirectoryOptions
---@field path? string absolute, on the node; those above it are made as well
---@field paths? string[] instead of path: several of them
---@field mode? string octal, default "0700"; all of it: "0755" takes a set-group-ID bit away
---@field user? string owner, default "root"
---@field group? string default: the owner's own
---@field state? "present"|"absent" default "present"
---@field recurse? boolean with state "absent": also with all that is in it; default: only an empty one goes

local function absent(options, paths)
  local made = { reads = {} }
  for i, path in ipairs(paths) do made.reads[i] = { "stat", path } end

  -- what is inside comes before what it is in
  local order = table.move(paths, 1, #paths, 1, {})
  table.sort(order, function(a, b) return a > b end)

  local function there(facts)
    local list = {}
    for _, path in ipairs(order) do
      local now = facts.stat[path]
      if now and now.type ~= "directory" then files.refuse(made, ("%s is a %s"):format(path, now.type)) end
      if now then list[#list + 1] = path end
    end
    return list
  end

  function made:probe(_, facts)
    local list = there(facts)
    return #list > 0 and table.concat(list, " ") .. " is there" or nil
  end

  function made:changes(_, facts)
    local list = {}
    for i, path in ipairs(there(facts)) do list[i] = { what = path, before = "directory" } end
    return list
  end

  function made:apply(target, _, facts)
    local list = there(facts)
    target.node:run((options.recurse and "rm -rf --one-file-system -- " or "rmdir -- ") .. quote.sh_list(list))
    return "removed " .. table.concat(list, " ")
  end

  return made
end

local function make(options)
  local paths = options.paths or { options.path }
  if options.state == "absent" then return absent(options, paths) end
  local mode = options.mode
  local made = { reads = {} }
  for i, path in ipairs(paths) do made.reads[i] = { "stat", path } end
  if options.user and not options.group then table.insert(made.reads, { "user", options.user }) end

  -- What is there; a link stands for what it points to.
  local function now_at(path, facts)
    local now = facts.stat[path]
    return now and now.to or now
  end

  local function user_on(target) return options.user or target.node.user or "root" end

  local function differing(target, facts)
    local list, user = {}, user_on(target)
    local group = files.group_of(user, options, facts)
    for _, path in ipairs(paths) do
      local now = now_at(path, facts)
      if not now or now.type ~= "directory" or now.mode ~= mode or now.user ~= user or group and now.group ~= group then
        list[#list + 1] = path
      end
    end
    return list
  end

  function made:probe(target, facts)
    local list = differing(target, facts)
    return #list > 0 and table.concat(list, " ") .. " missing, or of another mode or owner" or nil
  end

  function made:changes(target, facts)
    local list = {}
    local group = files.group_of(user_on(target), options, facts)
    local after = ("directory, mode %s, user %s%s"):format(mode, user_on(target), group and ", group " .. group or "")
    for i, path in ipairs(differing(target, facts)) do
      local now = now_at(path, facts)
      list[i] = {
        what = path, after = after,
        before = now and ("%s, mode %s, user %s%s"):format(now.type, now.mode, now.user,
          group and ", group " .. now.group or "") or nil,
      }
    end
    return list
  end

  function made:apply(target, _, facts)
    local list, user = differing(target, facts), user_on(target)
    -- of five digits: with fewer, a set-group-ID bit that is there would stay
    target.node:run(("install -d -m 0%s -o %s -g %s -- %s"):format(mode, quote.sh(user),
      options.group and quote.sh(options.group) or ('"$(id -gn %s)"'):format(quote.sh(user)), quote.sh_list(list)))
    return #list == 1 and "made " .. list[1] or ("made %d folders in %s"):format(#list, list[1]:match "^(.*)/")
  end

  return made
end

return resource.define {
  kind = "directory",
  parameters = {
    path = { parameter.path },
    paths = { schema.list(parameter.path, { min = 1 }) },
    mode = { parameter.mode, default = "0700" },
    user = { parameter.name },
    group = { parameter.name },
    state = { parameter.state(), default = "present" },
    recurse = { schema.boolean() },
  },
  words = { dest = "path", owner = "user", force = "recurse" },
  name = function(options) return options.path or table.concat(options.paths, " ") end,
  check = function(options, report)
    if (options.path == nil) == (options.paths == nil) then report "wants either path or paths" end
    if options.recurse and options.state ~= "absent" then report "recurse goes with state \"absent\"" end
  end,
  make = make,
}

-- Packages of the distribution, by apt: installed, held back, pinned to a version, or removed.
--
--     resource.package { names = { "chrony", "curl" }, cache_valid_time = 3600 }
--     resource.package { names = { "postgresql-16" }, versions = { ["postgresql-16"] = "16.4-*" }, hold = true }
--     resource.package { names = { "exim4" }, state = "absent", purge = true }
--
-- Names are those of real packages: of a virtual one ("mail-transport-agent") say which of its providers. A package
-- that goes takes along those that need it, and --check tells which. What is held back stays so, also when it is given
-- another version. With --check, a name that no source knows is not noticed: apt's lists may be old, and are not
-- fetched then. Another apt or dpkg at work on the node is waited for, each time up to 300 seconds.
--
-- A step has 300 seconds unless it says otherwise: one that installs much should (`timeout = 1800`).

local commands = require "pgaf.resource.commands"
local crypto = require "pgafrun.crypto"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local task = require "pgafrun.task"

local INSTALL_SECONDS = 1800
local LOOK_SECONDS = 0.5

---@class pgaf.PackageOptions
---@field names string[] which packages
---@field versions? table<string, string> of some of them, or of others beside them, just this version; * stands for any
---text: "15.*". A newer one that is installed is replaced by it
---@field hold? boolean true: upgrades pass it over (apt-mark hold); false: they do not; default: as it is
---@field state? "present"|"absent" default "present"
---@field purge? boolean with state "absent": its configuration goes too
---@field recommends? boolean also what the packages recommend, default false
---@field cache_valid_time? integer seconds that apt's lists may be old; default 0: they are fetched before each
---installation

---Whether a version is the wanted one.
---@param version string
---@param wanted string may hold *
---@return boolean
local function matches(version, wanted)
  local pattern = wanted:gsub("[^%w*]", "%%%0"):gsub("%*", ".*")
  return version:find("^" .. pattern .. "$") ~= nil
end

-- ------------------------------------------------------------------------------------------------------ progress

---What a line of APT::Status-Fd says: "dlstatus:2:40.5:Retrieving file 2 of 5", "pmstatus:name:60.0:Unpacking name".
---Fetching is the first half of the work, installing the second.
---@param line string
---@return string? text
---@return number? fraction
local function read_status(line)
  local kind, percent, text = line:match "^(%a+):.-:([%d.]+):(.+)$"
  percent = tonumber(percent)
  if not percent then return nil end
  if kind == "dlstatus" then return text, percent / 200 end
  if kind == "pmstatus" then return text, 0.5 + percent / 200 end
  return nil
end

-- apt writes its progress to a file there, and we look at that file's end.
local function watch(target, path, tell)
  local look = ("tail -n 1 -- %s 2>/dev/null || :"):format(quote.sh(path))
  while true do
    task.sleep(LOOK_SECONDS)
    local text, fraction = read_status(target.node:run(look).stdout:match "[^\n]*")
    if text then tell(text, fraction) end
  end
end

-- A process of its own: the node's open shell stays free for other steps.
local function run_apt(made, target, what, script, tell)
  local status = "/run/pgafrun-apt-" .. crypto.random_hex(8)
  local group <close> = task.group { name = what }
  local watcher = tell and group:spawn(watch, target, status, tell)
  local prelude = tell and ("status=%s; trap 'rm -f \"$status\"' EXIT\n"):format(status) or "status=/dev/null\n"
  local result = target.node:exec {
    "sh", "-c", prelude .. script,
    env = { DEBIAN_FRONTEND = "noninteractive", LC_ALL = "C.UTF-8" }, timeout = INSTALL_SECONDS, check = false,
  }
  if watcher then watcher:cancel() end
  if result.code ~= 0 then
    local unknown = result.stderr:find "Unable to locate" or result.stderr:find "was not found"
    commands.fail(made, target, what, result,
      unknown and "is the package's source among the node's? resource.apt_source adds one" or nil)
  end
end

-- A machine's daily update, or what a killed run left at work, would be enough to fail. apt's DPkg::Lock::Timeout is
-- for dpkg's lock alone, not for those of its lists and its archive, and apt-mark has none.
local APT = [[
exec 3>"$status"
patiently() {
  for _ in $(seq 300); do
    said=$("$@" 2>&1 >/dev/null)
    code=$?
    case "$code $said" in
      "0 "*) break ;;
      *"Could not get lock"* | *"was locked by"*) ;;
      *) break ;;
    esac
    echo "dlstatus:0:0:waiting for another apt or dpkg" >&3
    sleep 1
  done
  [ -z "$said" ] || printf '%%s\n' "$said" >&2
  return "$code"
}
lists='patiently apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0'
apt="$lists -o APT::Status-Fd=3"
update() { $lists -o APT::Update::Error-Mode=any update && touch /var/lib/apt/lists; }
]]

-- An image's own lists are as old as the image. An installation that was killed half-way is finished before it is tried
-- again; lists that are young enough, and yet do not know what is wanted, are fetched all the same. A package that apt
-- changes is held back no more, so that is put back. A virtual package would bring another one, and never be there.
local INSTALL = APT .. [[
is_virtual() {
  virtual=$(apt-cache -q=0 show --no-all-versions %s 2>&1 >/dev/null |
    sed -n "s/.*'\(.*\)' as it is purely virtual/\1/p")
  for name in $virtual; do
    echo "$name is a virtual package; name one that provides it:" \
      $(apt-cache showpkg "$name" | sed -e '1,/^Reverse Provides/d' -e 's/ .*//' | sort -u) >&2
  done
  [ -n "$virtual" ]
}
install() {
  ! is_virtual || exit
  held=$(apt-mark showhold)
  $apt %s --allow-downgrades --allow-change-held-packages install %s
  installed=$?
  [ -z "$held" ] || patiently apt-mark hold $held || return
  return "$installed"
}
fresh=%s
[ "$fresh" = yes ] || update || exit
install && exit
code=$?
if [ -n "$(dpkg --audit)" ]; then patiently dpkg --configure -a && install && exit; fi
[ "$fresh" = yes ] || exit "$code"
update && install]]

local REMOVE = APT .. "$apt --allow-change-held-packages %s %s"

local MARK = APT .. "patiently apt-mark %s %s"

local LOOK_AT_REMOVAL = "LC_ALL=C apt-get -q -s --allow-change-held-packages remove %s"

-- ------------------------------------------------------------------------------------------------------- the resource

-- Each name once, in order.
local function all_names(options)
  local names, seen = {}, {}
  local function add(name)
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  for _, name in ipairs(options.names) do add(name) end
  for name in pairs(options.versions or {}) do add(name) end
  table.sort(names)
  return names
end

-- What is to be done: names to install (with "=VERSION"), to remove, to hold or to release.
local function work_of(options, names, facts)
  local versions = options.versions or {}
  local install, remove, mark = {}, {}, {}
  for _, name in ipairs(names) do
    local now = facts.dpkg[name] or { held = false }
    if options.state == "absent" then
      if now.some or options.purge and now.residue then remove[#remove + 1] = name end
    else
      local version = versions[name]
      if not now.version or version and not matches(now.version, version) then
        install[#install + 1] = version and name .. "=" .. version or name
      end
      if options.hold ~= nil and now.held ~= options.hold then mark[#mark + 1] = name end
    end
  end
  return install, remove, mark
end

-- The packages that go with those that are removed, because they need them, as apt works it out.
local function removed_too(made, target, remove)
  if #remove == 0 then return {} end
  local named, list = {}, {}
  for _, name in ipairs(remove) do named[name] = true end
  for line in commands.run(made, target, LOOK_AT_REMOVAL:format(quote.sh_list(remove))).stdout:gmatch "[^\n]+" do
    local name = line:match "^Remv (%S+)"
    if name and not named[name] then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function told(options, install, remove, too, mark, words)
  local parts = {}
  local function add(word, list)
    if #list > 0 then parts[#parts + 1] = word .. table.concat(list, " ") end
  end
  add(words[1], install)
  add(words[2], remove)
  add("also removes ", too)
  add(options.hold and words[3] or words[4], mark)
  return #parts > 0 and table.concat(parts, "; ") or nil
end

local function make(options)
  local names = all_names(options)
  local made = { reads = {} }
  for _, name in ipairs(names) do
    made.reads[#made.reads + 1] = { "dpkg", name }
  end
  local valid = options.cache_valid_time
  if valid > 0 then made.reads[#made.reads + 1] = { "apt", "age" } end

  function made:probe(target, facts)
    local install, remove, mark = work_of(options, names, facts)
    return told(options, install, remove, removed_too(self, target, remove), mark,
      { "to install: ", "to remove: ", "to hold: ", "to release: " })
  end

  function made:changes(target, facts)
    local install, remove, mark = work_of(options, names, facts)
    local list = {}
    local function add(name, after)
      local now = facts.dpkg[name] or {}
      list[#list + 1] = {
        what = "package " .. name, after = after,
        before = now.version or now.residue and "its configuration" or now.some and "a part" or nil,
      }
    end
    for _, one in ipairs(install) do
      local name, version = one:match "^([^=]*)=?(.*)$"
      add(name, version ~= "" and version or "installed")
    end
    for _, name in ipairs(remove) do add(name, nil) end
    for _, name in ipairs(removed_too(self, target, remove)) do
      list[#list + 1] = { what = "package " .. name, before = "installed, and needs what goes" }
    end
    for _, name in ipairs(mark) do
      list[#list + 1] = {
        what = name .. ": held back", before = tostring(not options.hold), after = tostring(options.hold),
      }
    end
    return list
  end

  function made:apply(target, _, facts, tell)
    local install, remove, mark = work_of(options, names, facts)
    local too = removed_too(self, target, remove)
    if #install > 0 then
      local plain, recommends = {}, options.recommends and "--install-recommends" or "--no-install-recommends"
      for i, one in ipairs(install) do plain[i] = one:match "^[^=]*" end
      local fresh = valid > 0 and facts.apt.age and facts.apt.age <= valid
      if tell and not fresh then tell("fetching apt's lists") end
      run_apt(self, target, "apt-get install " .. table.concat(install, " "), INSTALL:format(
        quote.sh_list(plain), recommends, quote.sh_list(install), fresh and "yes" or "no"), tell)
    end
    if #remove > 0 then
      local verb = options.purge and "purge" or "remove"
      run_apt(self, target, ("apt-get %s %s"):format(verb, table.concat(remove, " ")),
        REMOVE:format(verb, quote.sh_list(remove)), tell)
    end
    if #mark > 0 then
      local verb = options.hold and "hold" or "unhold"
      run_apt(self, target, ("apt-mark %s %s"):format(verb, table.concat(mark, " ")),
        MARK:format(verb, quote.sh_list(mark)), tell)
    end
    return told(options, install, remove, too, mark, { "installed ", "removed ", "held ", "released " })
  end

  return made
end

local package_name = schema.text {
  pattern = "[%l%d][%l%d+.-]*", what = "a package's name: small letters, digits, + - .",
}

local version_pattern = schema.text { pattern = "[%w.+~:*-]+", what = 'a version: "15.4-1", "15.*"' }

return resource.define {
  kind = "package",
  parameters = {
    names = { schema.list(package_name), required = true },
    versions = { schema.map(package_name, version_pattern) },
    hold = { schema.boolean() },
    state = { parameter.state(), default = "present" },
    purge = { schema.boolean() },
    recommends = { schema.boolean(), default = false },
    cache_valid_time = { schema.integer(0, 365 * 24 * 3600, "seconds"), default = 0 },
  },
  words = {
    name = "names", pkg = "names", package = "names", version = "versions", install_recommends = "recommends",
  },
  name = function(options) return table.concat(all_names(options), " ") end,
  check = function(options, report)
    local absent = options.state == "absent"
    if options.purge and not absent then report 'purge goes with state "absent"' end
    if absent and options.versions then report 'versions do not go with state "absent"' end
    if absent and options.hold ~= nil then report 'hold does not go with state "absent"' end
  end,
  make = make,
  also = { matches = matches, read_status = read_status },
}

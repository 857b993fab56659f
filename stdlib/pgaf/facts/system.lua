-- Facts of an operating system: links, users, groups, units, kernel settings, what dpkg has of packages, the age of
-- apt's lists.
-- Each kind has a question (a piece of shell; none when nothing of its kind is asked) and a reader of the lines that it
-- answers with, "KIND ...".

local quote = require "pgaf.quote"

local system = {}

---@param list pgaf.facts.Request[]
---@return string the keys as words of a shell
function system.keys(list)
  local names = {}
  for i, request in ipairs(list) do names[i] = request[2] end
  return quote.sh_list(names)
end
local keys = system.keys

---@type table<string, fun(list: pgaf.facts.Request[]): string>
system.ASK = {}
---@type table<string, fun(answers: table, rest: string, kinds: table)>
system.READ = {}
local ASK, READ = system.ASK, system.READ

function ASK.link(list)
  return ([[for link in %s; do [ ! -L "$link" ] || printf 'link %%s\t%%s\n' "$link" "$(readlink -- "$link")"; done]])
    :format(keys(list))
end

function READ.link(answers, rest)
  local path, target = rest:match "^(.-)\t(.*)$"
  answers.link[path] = target
end

-- `id` knows every group of a user, the primary one too.
function ASK.user(list)
  local names = keys(list)
  return ("getent passwd %s | sed 's/^/user /'\nfor user in %s; do\n"):format(names, names) ..
    [[  if groups=$(id -Gn -- "$user" 2>/dev/null); then printf 'groups %s %s\n' "$user" "$groups"; fi
done]]
end

function READ.user(answers, rest)
  local name, uid, gid, comment, home, shell = rest:match "^([^:]*):[^:]*:(%d+):(%d+):([^:]*):([^:]*):([^:]*)$"
  if not name then return end
  answers.user[name] = {
    uid = math.tointeger(uid), gid = math.tointeger(gid), comment = comment, home = home, shell = shell, groups = {},
  }
end

function READ.groups(answers, rest)
  local name, list = rest:match "^(%S+) ?(.*)$"
  local user = answers.user[name]
  if not user then return end
  for group in list:gmatch "%S+" do user.groups[#user.groups + 1] = group end
end

function ASK.group(list) return ("getent group %s | sed 's/^/group /' || :"):format(keys(list)) end

function READ.group(answers, rest)
  local name, gid = rest:match "^([^:]*):[^:]*:(%d+):"
  if name then answers.group[name] = { gid = math.tointeger(gid) } end
end

-- Beside what systemd tells of a unit: the link that starts it at a boot stays when the unit's file goes, and a script
-- of /etc/init.d is started by links of its own.
local UNIT_LINKS = [[

for unit in %s; do
  for link in /etc/systemd/system/*.wants/"$unit" /etc/systemd/system/*.requires/"$unit"; do
    if [ -L "$link" ] && [ ! -e "$link" ]; then echo "unitlink dangling $unit"; fi
  done
  script=${unit%%.service}
  if [ -e "/etc/init.d/$script" ]; then
    set -- /etc/rc[2-5].d/S??"$script"
    if [ -e "$1" ]; then echo "unitlink enabled $unit"; else echo "unitlink disabled $unit"; fi
  fi
done]]

-- One block of KEY=VALUE for each unit, an empty line between them. A template ("x@.service") has no state, and its
-- name would end systemctl before the others.
function ASK.unit(all)
  local list = {}
  for _, request in ipairs(all) do
    if not request[2]:find("@.", 1, true) then list[#list + 1] = request end
  end
  if #list == 0 then return ":" end
  local names = keys(list)
  local show = [[{ systemctl show -p Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload %s 2>/dev/null
echo; } | sed 's/^/unit /']]
  return show:format(names) .. UNIT_LINKS:format(names)
end

local function settle_unit(answers, kinds)
  local block = answers.block
  answers.block = nil
  if not block then return end
  local names = {}
  for name in (block.Names or ""):gmatch "%S+" do names[name] = true end
  for _, request in ipairs(kinds.unit) do
    -- one whose file went while it runs is not found, and runs
    if names[request[2]] and (block.LoadState ~= "not-found" or block.ActiveState ~= "inactive") then
      answers.unit[request[2]] = {
        load = block.LoadState, active = block.ActiveState, sub = block.SubState, enabled = block.UnitFileState,
        needs_reload = block.NeedDaemonReload == "yes",
      }
    end
  end
end

function READ.unit(answers, rest, kinds)
  local key, value = rest:match "^(%w+)=(.*)$"
  if not key then return settle_unit(answers, kinds) end
  answers.block = answers.block or {}
  answers.block[key] = value
end

-- "generated" says only that a unit was made of such a script.
function READ.unitlink(answers, rest)
  local kind, name = rest:match "^(%S+) (.*)$"
  local unit = answers.unit[name]
  if kind == "dangling" then
    unit = unit or { load = "not-found", active = "inactive", sub = "dead", needs_reload = false }
    unit.enabled, answers.unit[name] = "dangling", unit
  elseif unit and unit.enabled == "generated" then
    unit.enabled = kind
  end
end

---The file of a kernel setting. As with sysctl itself, the first separator tells which one it is.
---@param key string "vm.swappiness", "net/ipv4/conf/eth0.1/forwarding"
---@return string
function system.sysctl_path(key)
  local first = key:match "[./]"
  if first == "." then
    key = key:gsub("[./]", { ["."] = "/", ["/"] = "." })
  end
  return "/proc/sys/" .. key
end

-- These files give all or nothing to one read, and a shell reads byte by byte. Some can only be written.
function ASK.sysctl(list)
  local paths = {}
  for i, request in ipairs(list) do paths[i] = system.sysctl_path(request[2]) end
  local words = quote.sh_list(paths)
  return ([[for file in %s; do
  [ ! -e "$file" ] || echo "sysctl $([ ! -w "$file" ] || echo w):$file:"
done
grep -sH . %s | sed 's/^/sysctl :/']]):format(words, words)
end

function READ.sysctl(answers, rest, kinds)
  local writable, path, value = rest:match "^(w?):([^:]*):(.*)$"
  for _, request in ipairs(kinds.sysctl) do
    if system.sysctl_path(request[2]) == path then
      local setting = answers.sysctl[request[2]] or { writable = writable == "w" }
      setting.value = value:gsub("%s+", " ")
      answers.sysctl[request[2]] = setting
    end
  end
end

function ASK.dpkg(list)
  return ("dpkg-query -W -f 'dpkg ${db:Status-Want} ${db:Status-Status} ${Package} ${Version}\\n' %s 2>/dev/null || :")
    :format(keys(list))
end

function READ.dpkg(answers, rest)
  local want, status, name, version = rest:match "^(%S+) (%S+) (%S+) (%S*)$"
  if not name then return end
  answers.dpkg[name] = {
    version = status == "installed" and version or nil, held = want == "hold",
    some = status ~= "not-installed" and status ~= "config-files", residue = status == "config-files",
  }
end

-- How long ago apt's lists were fetched, in seconds. One that was fetched in vain leaves them as they are.
function ASK.apt()
  return [[if when=$(stat -c %Y /var/lib/apt/lists 2>/dev/null); then echo "apt $(($(date +%s) - when))"; fi]]
end

function READ.apt(answers, rest) answers.apt.age = math.tointeger(tonumber(rest)) end

return system

-- What a node is: its operating system, its size, its addresses, its packages and its PostgreSQL, as one table.

local quote = require "pgaf.quote"

local machine = {}

---@class pgaf.Machine
---@field hostname string
---@field os { id: string, version: string, codename: string, name: string } of /etc/os-release: "debian", "12", ...
---@field kernel string "6.1.0-18-amd64"
---@field architecture string as Debian calls it: "amd64", "arm64"
---@field cpus integer
---@field memory { total: integer, limit: integer? } bytes; limit: the container's
---@field addresses { interface: string, family: "inet"|"inet6", address: string, prefix: integer }[] but for loopback
---@field packages table<string, string> versions of the packages asked for, and of all that have to do with PostgreSQL
---@field postgresql { installed: string[], server: pgaf.Machine.Server? }

---@class pgaf.Machine.Server the server behind the node's socket
---@field version string "15.5"
---@field port integer
---@field in_recovery boolean
---@field data_directory string
---@field started number seconds since 1970

local SCRIPT = [[
. /etc/os-release
printf 'os.id=%%s\nos.version=%%s\nos.codename=%%s\n' "$ID" "$VERSION_ID" "$VERSION_CODENAME"
printf 'os.name=%%s\n' "$PRETTY_NAME"
printf 'hostname=%%s\nkernel=%%s\n' "$(uname -n)" "$(uname -r)"
printf 'architecture=%%s\n' "$(dpkg --print-architecture || uname -m)"
printf 'cpus=%%s\n' "$(nproc)"
while read -r key value _; do if [ "$key" = MemTotal: ]; then echo "memory=$value"; break; fi; done </proc/meminfo
for file in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
  if read -r value <"$file"; then echo "limit=$value"; fi
done
if ! ip -o addr show scope global; then hostname -I; fi | sed 's/^/address=/'
dpkg-query -W -f 'package=${db:Status-Status} ${Package} ${Version}\n' 'postgresql*' 'pg-auto-failover*' %s
for file in /usr/lib/postgresql/*/bin/postgres; do [ ! -x "$file" ] || echo "installed=$file"; done
:]]

local SERVER = {
  "sql", "machine", database = "postgres", query = [[
select json_build_object('version', split_part(current_setting('server_version'), ' ', 1),
  'port', current_setting('port')::int, 'in_recovery', pg_is_in_recovery(),
  'data_directory', current_setting('data_directory'), 'started', extract(epoch from pg_postmaster_start_time()))]],
}

---What to ask for it, in the same round trip as all else that is wanted.
---@param packages? string[] names, or patterns of the shell
---@return pgaf.facts.Request[]
function machine.requests(packages)
  local list = quote.sh_list(packages or {})
  return { { "sh", "machine " .. list, script = SCRIPT:format(list) }, SERVER }
end

local READ = {}

function READ.address(found, value)
  local interface, family, address, prefix = value:match "^%d+:%s+(%S+)%s+(inet6?)%s+([^/%s]+)/(%d+)"
  if address then
    found.addresses[#found.addresses + 1] = {
      interface = interface, family = family, address = address, prefix = math.tointeger(tonumber(prefix)),
    }
    return
  end
  for one in value:gmatch "%S+" do -- of `hostname -I`
    if one:find "^[%x:.]+$" then
      found.addresses[#found.addresses + 1] = { family = one:find ":" and "inet6" or "inet", address = one }
    end
  end
end

function READ.package(found, value)
  local status, name, version = value:match "^(%S+) (%S+) (%S*)$"
  if status == "installed" then found.packages[name] = version end
end

function READ.installed(found, value)
  table.insert(found.postgresql.installed, value:match "/postgresql/([^/]+)/")
end

function READ.cpus(found, value) found.cpus = math.tointeger(tonumber(value)) end

function READ.memory(found, value) found.memory.total = math.tointeger(tonumber(value)) * 1024 end

-- "max", or (cgroups of the first kind) a number beyond all memory, is no limit.
function READ.limit(found, value)
  local bytes = math.tointeger(tonumber(value))
  if bytes and bytes < 1 << 60 then found.memory.limit = bytes end
end

---@param output string|false of the script
---@param server table|false
---@return pgaf.Machine
function machine.read(output, server)
  local found = { os = {}, memory = {}, addresses = {}, packages = {}, postgresql = { installed = {} } }
  for key, value in (output or ""):gmatch "([%w.]+)=([^\n]*)\n" do
    local of_os = key:match "^os%.(%w+)$"
    if of_os then
      found.os[of_os] = value
    elseif READ[key] then
      READ[key](found, value)
    else
      found[key] = value
    end
  end
  found.postgresql.server = server or nil
  return found
end

return machine

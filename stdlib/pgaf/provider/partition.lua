-- A partition of the network, made inside a container: frames for certain neighbours go to a hardware address that
-- nobody has. Silent on both sides, established connections stall, and the interface itself stays as it is. It needs
-- iproute2 alone, is gone with the next boot, and leaves the API's own way into the container open.
--
-- Or only one direction of connections: what the node's server answers to certain neighbours goes nowhere, so that they
-- cannot reach it, while its own connections to them work.
--
-- It works between nodes of one network segment, which containers on one bridge are.

local error = require "pgafrun.error"
local shell = require "pgaf.shell"

local partition = {}

-- From the range that RFC 7042 keeps for documentation.
local NOBODY = "00:00:5e:00:53:01"

local CUT = [[
if [ -n "$gateway" ]; then
  set -- "$@" $(ip -4 route show default dev "$nic" | sed -n 's/.* via \([0-9.]*\).*/\1/p')
fi
for address; do
  ip neigh replace "$address" lladdr "$nobody" dev "$nic" nud permanent || exit
done
for address; do
  ip neigh show "$address" dev "$nic" | grep -q "$nobody PERMANENT" || { echo "$address is not cut off" >&2; exit 1; }
done]]

local MUTE = [[
for address; do
  ip rule add priority "$priority" to "$address" ipproto tcp sport "$port" blackhole || exit
done]]

local HEAL = [[
while ip rule del priority "$priority" 2>/dev/null; do echo muted; done
cut=$(ip neigh show dev "$nic" nud permanent | sed -n "s/^\([^ ]*\) lladdr $nobody .*/\1/p")
for address in $cut; do ip neigh del "$address" dev "$nic" || exit; done
echo "$cut"]]

-- Of the rules that mute; nobody else's have it.
local PRIORITY = 5353

local function quoted(addresses)
  local words = {}
  for i, address in ipairs(addresses) do words[i] = shell.quote(address) end
  return table.concat(words, " ")
end

local function run(node, script, words, more)
  if node:run("command -v ip", { check = false }).code ~= 0 then
    error.raise {
      kind = "missing", operation = "partition of " .. node.name, message = node.name .. " has no program `ip`",
      hint = "install iproute2 in the image",
    }
  end
  local text = words and ("set -- %s\n%s"):format(words, script) or script
  local env = { nic = node.provider.settings.nic, nobody = NOBODY, priority = tostring(PRIORITY) }
  for name, value in pairs(more or {}) do env[name] = value end
  return node:run(text, { env = env }).stdout
end

---Cuts the node off from these addresses.
---@param node pgaf.incus.Node
---@param addresses string[] IPv4
---@param gateway? boolean and off the default gateway
function partition.cut(node, addresses, gateway)
  run(node, CUT, quoted(addresses), { gateway = gateway and "yes" or "" })
end

---What the node's server says to these addresses gets lost.
---@param node pgaf.incus.Node
---@param addresses string[] IPv4
---@param port integer the server's
function partition.mute(node, addresses, port)
  run(node, MUTE, quoted(addresses), { port = tostring(port) })
end

---Takes every cut and muting back.
---@param node pgaf.incus.Node
---@return boolean changed
function partition.heal(node) return run(node, HEAL):match "%S" ~= nil end

return partition

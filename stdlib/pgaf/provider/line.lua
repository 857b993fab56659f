-- What a container sends to certain neighbours is slow, lossy or narrow: a queueing discipline on its interface, with a
-- class of its own for those neighbours. Gone with the next boot. What it receives is as it was.

local error = require "pgafrun.error"
local shell = require "pgaf.shell"

-- No traffic control of somebody else has this number.
local HANDLE = "5e53"
-- Where the kernel has no other way to say "no limit".
local UNLIMITED = "10gbit"

local line = {}

---@class pgaf.Line
---@field delay? number milliseconds; with `jitter` and `loss` it takes the kernel's sch_netem
---@field jitter? number milliseconds
---@field loss? number per cent
---@field kilobits? number a second

local SLOW = [[
tc qdisc replace dev "$nic" root handle $handle: htb default 1
tc class add dev "$nic" parent $handle: classid $handle:1 htb rate $unlimited quantum 60000
tc class add dev "$nic" parent $handle: classid $handle:2 htb rate $rate quantum 60000
[ -z "$netem" ] || tc qdisc add dev "$nic" parent $handle:2 handle 5e54: netem $netem
for address; do
  tc filter add dev "$nic" parent $handle: protocol ip u32 match ip dst "$address/32" flowid $handle:2
done]]

local HEAL = [[
tc qdisc show dev "$nic" root | grep -q "^qdisc htb $handle:" || exit 0
tc qdisc del dev "$nic" root && echo healed]]

local function netem(wanted)
  if not (wanted.delay or wanted.loss) then return "" end
  local words = {}
  if wanted.delay then words[#words + 1] = ("delay %gms %gms"):format(wanted.delay, wanted.jitter or 0) end
  if wanted.loss then words[#words + 1] = ("loss %g%%"):format(wanted.loss) end
  return table.concat(words, " ")
end

local function environment(wanted, nic)
  return {
    nic = nic, handle = HANDLE, unlimited = UNLIMITED, netem = netem(wanted),
    rate = wanted.kilobits and ("%gkbit"):format(wanted.kilobits) or UNLIMITED,
  }
end

---Why the node's lines cannot be made so; nil when they can. Tried out in a network namespace of its own.
---@param node pgaf.incus.Node
---@param wanted pgaf.Line
---@return string? reason
function line.refusal(node, wanted)
  local result = node:run(("unshare -n sh -ec %s sh 192.0.2.1 2>&1"):format(
    shell.quote('ip link set "$nic" up\n' .. SLOW)), { env = environment(wanted, "lo"), check = false })
  if result.code == 0 then return nil end
  return ("this kernel cannot do it to %s: %s"):format(node.name,
    result.stdout:match "([^\n]+)%s*$" or "no reason given")
end

---@param node pgaf.incus.Node
---@param addresses string[] IPv4
---@param wanted pgaf.Line
function line.slow(node, addresses, wanted)
  if not addresses[1] then
    error.raise { kind = "usage", operation = "slow line of " .. node.name, message = "towards nobody" }
  end
  local words = {}
  for i, address in ipairs(addresses) do words[i] = shell.quote(address) end
  node:run(("set -e; set -- %s\n%s"):format(table.concat(words, " "), SLOW),
    { env = environment(wanted, node.provider.settings.nic) })
end

---@param node pgaf.incus.Node
---@return boolean changed
function line.heal(node)
  local env = { nic = node.provider.settings.nic, handle = HANDLE }
  return node:run(HEAL, { env = env }).stdout:match "%S" ~= nil
end

return line

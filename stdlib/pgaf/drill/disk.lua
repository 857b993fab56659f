-- The disk that a node's PostgreSQL writes to, and how it is filled.

local error = require "pgafrun.error"
local quote = require "pgaf.quote"

-- More than this is not filled: it would take too long, and is more likely a pool that others have too.
local MOST_BYTES = 64 * 1024 ^ 3
-- Their volumes share a pool unless they have a quota: what is free is the same for all then, but for what was written
-- between two looks.
local POOLED = { zfs = true, btrfs = true }
local SAME_BYTES = 1024 ^ 2

local disk = {}

local LOOK = [[stat -f -c '%%i %%T %%S %%a' -- %s]]

-- The file system's id, whether it may be of a pool, and how many bytes are free.
local function look(node)
  local output = node:run(LOOK:format(quote.sh(node:paths().pg)), { user = "root" }).stdout
  local id, kind, block, free = output:match "^(%x+) (%S+) (%d+) (%d+)"
  if not id then
    error.raise {
      kind = "command", operation = "disk of " .. node.name, message = "stat -f answered: " .. output,
    }
  end
  return { id = tonumber(id, 16), pooled = POOLED[kind], free = tonumber(block) * tonumber(free) }
end

-- An id of 0: this kernel does not tell.
local function is_shared(a, b)
  return a.id == b.id and a.id ~= 0 or a.pooled and math.abs(a.free - b.free) < SAME_BYTES
end

---Why the disk of `node` must not be filled; nil when it may be: it is its own, and not too large.
---@param node pgaf.Node
---@param others pgaf.Node[] who must not feel it
---@return string? reason
function disk.refusal(node, others)
  local own = look(node)
  for _, other in ipairs(others) do
    if is_shared(own, look(other)) then
      return ("%s and %s write to the same disk (%s): filling it would hit both. Give each data node a volume of " ..
        "its own, of a few GB (postgres.data_dir says where PostgreSQL's data is)"):format(
        node.name, other.name, node:paths().pg)
    end
  end
  if own.free > MOST_BYTES then
    return ("%.0f GB are free on %s's disk: more than %.0f GB are not filled"):format(
      own.free / 1e9, node.name, MOST_BYTES / 1e9)
  end
  return nil
end

---The file that fills a node's disk; the undo `remove_file` takes it away: { path = disk.ballast(node) }.
---@param node pgaf.Node
---@return string
function disk.ballast(node) return node:paths().pg .. "/pgafrun-ballast" end

-- At once where the file system can; then to the last byte, by writing.
local FILL = [[
umask 077
free=$(($(stat -f -c '%%S * %%a' -- %s)))
fallocate -l "$free" -- %s 2>/dev/null || :
while dd if=/dev/urandom bs=64k count=1024 2>/dev/null; do :; done >>%s
free=$(($(stat -f -c '%%S * %%a' -- %s)))
[ "$free" -lt 65536 ] || { echo "$free bytes are still free" >&2; exit 1; }]]

---Fills it: no byte is left for anybody.
---@param node pgaf.Node
function disk.fill(node)
  local folder, path = quote.sh(node:paths().pg), quote.sh(disk.ballast(node))
  node:run(FILL:format(folder, path, path, folder), { user = "root", timeout = 110 })
end

return disk

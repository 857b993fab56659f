-- The disk that a node's PostgreSQL writes to, and how it is filled.

local error = require "pgafrun.error"
local quote = require "pgaf.quote"

-- More than this is not filled: it would take too long, and is more likely a pool that others have too.
local MOST_BYTES = 64 * 1024 ^ 3
-- The free bytes of two volumes differ by more than this; those of one pool, asked one after the other, by less.
local SAME_BYTES = 1024 ^ 2

local disk = {}

local LOOK = [[stat -f -c '%%i %%S %%a' -- %s]]

-- The file system's id, and what root could still write.
local function look(node)
  local output = node:run(LOOK:format(quote.sh(node:paths().pg)), { user = "root" }).stdout
  local id, block, free = output:match "^(%x+) (%d+) (%d+)"
  if not id then
    error.raise {
      kind = "command", operation = "disk of " .. node.name, message = "stat -f answered: " .. output,
    }
  end
  return id, tonumber(block) * tonumber(free)
end

---Why the disk of `node` must not be filled; nil when it may be: it is its own, and not too large.
---@param node pgaf.Node
---@param others pgaf.Node[] who must not feel it
---@return string? reason
function disk.refusal(node, others)
  local id, free = look(node)
  for _, other in ipairs(others) do
    local other_id, other_free = look(other)
    -- 0: this kernel does not tell
    if (id == other_id and tonumber(id, 16) ~= 0) or math.abs(free - other_free) < SAME_BYTES then
      return ("%s and %s write to the same disk (%s): filling it would hit both. Give each data node a volume of " ..
        "its own, of a few GB (postgres.data_dir says where PostgreSQL's data is)"):format(
        node.name, other.name, node:paths().pg)
    end
  end
  if free > MOST_BYTES then
    return ("%.0f GB are free on %s's disk: more than %.0f GB are not filled"):format(
      free / 1e9, node.name, MOST_BYTES / 1e9)
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

-- What changes something asks first where the inventory says production; where nobody can be asked, it is refused,
-- unless the formation was named when the program was started.

local error = require "pgafrun.error"

local guard = {}

---@class pgaf.repl.Guard
---@field inventory pgaf.Inventory?
---@field named string? of --i-know-this-is
---@field ask? fun(prompt: string): string? nil where nobody can be asked
local Guard = {}
Guard.__index = Guard

---@param inventory pgaf.Inventory?
---@param named? string
---@param ask? fun(prompt: string): string?
---@return pgaf.repl.Guard
function guard.new(inventory, named, ask)
  return setmetatable({ inventory = inventory, named = named, ask = ask }, Guard)
end

---Returns when it may be done. Raises kind "refused".
---@param what string "run `reboot` on pgaf-1"
function Guard:allow(what)
  local inventory = self.inventory
  if not inventory or inventory.environment ~= "production" or self.named == inventory.formation then return end
  local answer = self.ask and self.ask(("%s is marked production. To %s, type its name: "):format(
    inventory.formation, what))
  if answer and answer:match "^%s*(.-)%s*$" == inventory.formation then return end
  error.raise {
    kind = "refused", operation = "production", code = "production",
    message = ("formation %s is marked production: not done: %s"):format(inventory.formation, what),
    hint = self.ask and "type the formation's name when it is asked for" or
      ("start with --i-know-this-is %s"):format(inventory.formation),
  }
end

-- Statements that read; what they call may still change something.
local READS = { select = true, show = true, explain = true, table = true, values = true, with = true }
-- Functions that a read-only transaction does not keep from changing something.
local ACTS = {
  "pg_terminate_", "pg_cancel_", "pg_promote", "pg_reload_", "pg_rotate_", "pg_switch_", "pg_create_", "pg_drop_",
  "pg_wal_replay_", "pg_replication_", "pg_logical_", "pg_backup_", "pg_stat_reset", "pg_import_", "pg_file_",
  "pgautofailover%s*%.%s*", "dblink", "setval", "lo_",
}

---Whether a statement only reads, as far as can be seen; it is then run in a read-only transaction.
---@param sql string
---@return boolean
function guard.only_reads(sql)
  local text = sql:lower():gsub("%-%-[^\n]*", " "):gsub("/%*.-%*/", " ")
  if not READS[text:match "^%s*(%a+)"] or text:find ";%s*%S" then return false end
  for _, pattern in ipairs(ACTS) do
    if text:find(pattern .. "[%w_]*%s*%(") then return false end
  end
  return true
end

return guard

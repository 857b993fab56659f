-- A node's postmaster as a process.

local quote = require "pgaf.quote"

local postmaster = {}

-- Backends are children of the postmaster; its own pid comes first.
local SIGNAL = [[
pid=$(head -n 1 %s 2>/dev/null) || exit 0
kill -%s "$pid" $(pgrep -P "$pid") 2>/dev/null || :]]

---Sends a signal to the postmaster and all its children. One that is gone by then is no mistake.
---@param node pgaf.Node
---@param name string "STOP", "CONT"
function postmaster.signal(node, name)
  node:run(SIGNAL:format(quote.sh(node:paths().pgdata .. "/postmaster.pid"), name), { user = "root" })
end

return postmaster

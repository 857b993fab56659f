-- What a play said of its items: pgafrun items.lua FILE STATUS..., FILE being its output with --json. One line for each
-- item of one of these statuses, "step on node", sorted; `failed` with its message.

local fs = require "pgafrun.fs"
local json = require "pgafrun.json"

local file = ...
local wanted = {}
for _, status in ipairs { select(2, ...) } do wanted[status] = true end

local lines = {}
for line in fs.read(file):gmatch "{[^\n]*" do
  local event = json.decode(line)
  if event.event == "finished" and wanted[event.status] then
    local failure = event.error and ": " .. tostring(event.error.message) or ""
    lines[#lines + 1] = ("%s on %s%s"):format(event.step, event.node, failure)
  end
end
table.sort(lines)
for _, line in ipairs(lines) do print(line) end

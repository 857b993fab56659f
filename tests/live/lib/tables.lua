-- Fails when a drill left a table of its own behind.

local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local providers = require "pgaf.provider"

local _, inventory = cli.parse({ name = "tables", description = "Look for tables that drills left." }, nil, ...)
local provider <close> = providers.open(inventory)
local reach <close> = connect.open(provider, inventory)
local connection <close> = reach:primary "test"
local rows = connection:query("select tablename from pg_tables where schemaname = 'pgaf_probe'").rows
for _, row in ipairs(rows) do print("left behind: " .. row.tablename) end
return #rows == 0 and 0 or 1

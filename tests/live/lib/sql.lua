-- Runs one SQL statement: sql.lua monitor SQL (as the role of the nodes), sql.lua NODE SQL (as PostgreSQL's superuser).

local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local providers = require "pgaf.provider"

local args, inventory = cli.parse({ name = "sql", description = "Run SQL on a node." }, function(parser)
  parser:argument "node"
  parser:argument "sql"
end, ...)

local provider <close> = providers.open(inventory)
if args.node == "monitor" then
  local reach <close> = connect.open(provider, inventory)
  local connection <close> = reach:monitor "test"
  connection:query(args.sql)
  return 0
end
for _, entry in ipairs(inventory.nodes) do
  if entry.name == args.node then
    provider:node(entry.name):exec {
      "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-p", tostring(entry.port), "-d", "postgres", "-c", args.sql,
      user = provider.system_user,
    }
  end
end

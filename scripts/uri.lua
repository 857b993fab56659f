-- Tells the URI that applications connect with, and whether it leads to a node that takes writes.
--
--     pgafrun -i INVENTORY uri
--     pgafrun -i INVENTORY uri --check          connects, and tells who takes writes
--     pgafrun -i INVENTORY uri --ca > ca.crt    the certificate that sslrootcert wants

local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local operate = require "pgaf.operate"

return operate.script({
  name = "uri", description = "Tell the URI that applications connect with. It has no password.",
}, function(parser)
  parser:flag("--check", "Connect as the drills' own role does, and tell which node takes writes.")
  parser:flag("--ca", "Print the certificate of the formation's authority instead, for sslrootcert.")
end, function(context, args)
  local uri = context.reach:uri()
  if args.ca then
    local certificate = fs.read(context.reach:ca()):gsub("\n$", "")
    return { uri = uri, ca = certificate, lines = { certificate } }
  end
  local result = { uri = uri, lines = { uri } }
  if not args.check then return result end
  local connection <close> = context.reach:primary("uri")
  for _, entry in ipairs(context.inventory.nodes) do
    if context.provider:node(entry.name).hostname == connection.host then result.primary = entry.name end
  end
  if not result.primary then
    error.raise { kind = "verify", operation = "uri", message = connection.host .. " is none of the inventory's nodes" }
  end
  result.lines[2] = ("%s takes writes, as %s sees it"):format(result.primary, connect.PROBE_ROLE)
  return result
end, ...)

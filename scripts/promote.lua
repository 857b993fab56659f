-- Makes a node the primary, also one that would never be chosen (candidate priority 0), and also where other standbys
-- are away or in maintenance: it and the primary have to be well. In a whole formation, switchover does the same.
--
--     pgafrun -i INVENTORY promote pgaf-2

local operate = require "pgaf.operate"
local primary = require "pgaf.operate.primary"

return operate.script({
  name = "promote", changes = "to move its primary", measures = true,
  description = "Make a node the primary. What it already is, is left as it is.",
}, function(parser)
  parser:argument("node", "The node that takes over.")
end, function(context, args)
  operate.entry(context, args.node, true)
  return primary.move(context, { to = args.node, degraded = true })
end, ...)

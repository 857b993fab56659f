-- Makes a node that the inventory lists a member of the formation: launched, provisioned, copied from the primary,
-- registered, and a healthy standby at the end. The work is postgres_ha's, which lets the other nodes know of it too.
--
--     pgafrun -i INVENTORY add_node pgaf-3
--     pgafrun -i INVENTORY add_node pgaf-3 --check --diff     what would be done? Nothing is touched

local membership = require "pgaf.operate.membership"
local operate = require "pgaf.operate"

return operate.script({
  name = "add_node", changes = "to give it another node", locks = false, streams = true,
  description = "Make a node that the inventory lists a member of the formation.",
  epilog = "With --json: the run's events, one object a line, and the result as the last of them.",
}, function(parser)
  parser:argument("node", "The data node, as the inventory has it.")
  parser:flag("-D --diff", "Show what differs, line by line.")
end, function(context, args)
  operate.entry(context, args.node, true)
  return membership.add(context, args.node, args)
end, ...)

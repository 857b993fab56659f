-- Takes a data node out of the formation for good. It is kept with its data, unless it shall be removed.
--
--     pgafrun -i INVENTORY drop_node pgaf-3
--     pgafrun -i INVENTORY drop_node pgaf-3 --remove
--
-- Take it out of the inventory too: the next run of postgres_ha makes every node of the inventory a member.

local membership = require "pgaf.operate.membership"
local operate = require "pgaf.operate"

return operate.script({
  name = "drop_node", changes = "to take a node out of it",
  description = "Take a data node out of the formation for good.",
}, function(parser)
  parser:argument("node", "The data node; one that the inventory has no more will do.")
  parser:flag("--remove", "Delete its machine with all data, too.")
  parser:flag("--force", "Also when no standby is left.")
end, function(context, args)
  return membership.drop(context, args.node, { remove = args.remove, force = args.force })
end, ...)

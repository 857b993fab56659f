-- Restarts a node's PostgreSQL with care: a primary hands its role to a standby first, and a standby is restarted only
-- while the others are well. A new server has to answer, and the formation be settled, before this is done.
--
--     pgafrun -i INVENTORY restart pgaf-2
--     pgafrun -i INVENTORY restart pgaf-1 --switch-back     the primary, which gets its role back
--     pgafrun -i INVENTORY restart pgaf-2 --machine         its whole container

local operate = require "pgaf.operate"
local restart = require "pgaf.operate.restart"

return operate.script({
  name = "restart", changes = "to restart one of its servers", measures = true,
  description = "Restart a node's pg_autoctl and PostgreSQL: a data node, or the monitor.",
}, function(parser)
  parser:argument("node", "The node.")
  parser:flag("--machine", "Its whole machine, orderly; one that is stopped is started.")
  parser:flag("--switch-back", "A primary gets its role back.")
  parser:flag("--force", "Also where the formation is not fit for it. A primary is restarted where it is: writes " ..
    "stop until it is back, or until a standby has taken over.")
end, function(context, args)
  operate.entry(context, args.node)
  return restart.node(context, args.node, {
    machine = args.machine, force = args.force, switch_back = args.switch_back,
  })
end, ...)

-- Puts a node into maintenance, or ends it: meanwhile commits do not wait for it and it never takes over.
--
--     pgafrun -i INVENTORY maintenance on pgaf-2
--     pgafrun -i INVENTORY maintenance off pgaf-2
--     pgafrun -i INVENTORY maintenance on pgaf-1 --allow-failover     the primary: a standby takes over first

local maintenance = require "pgaf.operate.maintenance"
local operate = require "pgaf.operate"

return operate.script({
  name = "maintenance", changes = "to take a node out of service", measures = true,
  description = "Put a node into maintenance, or end it.",
}, function(parser)
  parser:argument("what", "on, or off."):choices { "on", "off" }
  parser:argument("node", "The data node.")
  parser:flag("--allow-failover", "For the primary: a standby takes over. Without it a primary is refused.")
end, function(context, args)
  operate.entry(context, args.node, true)
  if args.what == "on" then
    return maintenance.on(context, args.node, { allow_failover = args.allow_failover })
  end
  return maintenance.off(context, args.node)
end, ...)

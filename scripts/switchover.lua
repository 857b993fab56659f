-- Moves the primary's role to a standby on purpose, and tells how long a client could not write. Refused unless the
-- formation is whole; afterwards it is whole again, with the old primary as a standby.
--
--     pgafrun -i INVENTORY switchover               to the standby with the highest candidate priority
--     pgafrun -i INVENTORY switchover --to pgaf-2
--     pgafrun -i INVENTORY switchover --check       who would take over? Nothing is touched

local operate = require "pgaf.operate"
local primary = require "pgaf.operate.primary"

return operate.script({
  name = "switchover", changes = "to move its primary", measures = true,
  description = "Move the primary's role to a standby, in a formation that is whole.",
}, function(parser)
  parser:option("--to", "The standby that takes over; default: the one with the highest candidate priority.")
    :argname "NODE"
end, function(context, args)
  if args.to then operate.entry(context, args.to, true) end
  return primary.move(context, { to = args.to })
end, ...)

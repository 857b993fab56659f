-- Makes the monitor anew, where the old one is lost, and registers the living data nodes there. They serve clients all
-- the while, but nobody takes over meanwhile.
--
--     pgafrun -i INVENTORY replace_monitor --new-authority    its machine is gone, and the authority's key with it
--     pgafrun -i INVENTORY replace_monitor                    its machine is there, its data is gone
--     pgafrun -i INVENTORY replace_monitor --anew             its data is there, and of no use
--
-- To move it to a machine of another name, change the inventory and run this. The monitor's own events are lost;
-- timers, priorities and passwords are the inventory's and the data nodes', and stay.

local monitor = require "pgaf.operate.monitor"
local operate = require "pgaf.operate"

return operate.script({
  name = "replace_monitor", changes = "to replace its monitor", locks = false, streams = true,
  description = "Make the monitor anew, and register the living data nodes there.",
  epilog = "What was interrupted is run again, with the same options: it goes on from where it stopped.\n" ..
    "With --json: the runs' events, one object a line, and the result as the last of them.",
}, function(parser)
  parser:flag("--anew", "Also where the monitor has data, or even answers: its data is put aside.")
  parser:flag("--new-authority", "Where the authority's key is lost: make a new one, and certify all servers anew.")
end, function(context, args) return monitor.replace(context, args) end, ...)

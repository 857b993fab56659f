-- What a script breaks it puts back: on success, on an error, on Ctrl-C (try it), and out of reach of cancellation.

local task = require "pgafrun.task"

local function broken()
  print "breaking it"
  return setmetatable({}, {
    __close = function()
      task.shield(10, function()
        task.sleep(0.01)
        print "whole again"
      end)
    end,
  })
end

local _ <close> = broken()
task.sleep(tonumber((...)) or 0.05)

-- Three things side by side, all waited for, the first error ends the others.

local task = require "pgafrun.task"

local function greet(name, seconds)
  task.sleep(seconds)
  print("hello from " .. name)
end

local group <close> = task.group { deadline = 5 }
group:spawn(greet, "the slow one", 0.03)
group:spawn(greet, "the quick one", 0.01)
local answer = group:spawn(function() return 42 end)
print("the answer is " .. answer:wait())

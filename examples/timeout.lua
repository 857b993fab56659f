-- A time limit around anything, however deep; what is inside can only shorten it.

local error = require "pgafrun.error"
local task = require "pgafrun.task"

local ok, e = pcall(task.timeout, 0.02, function() task.sleep(60) end)
print("in time: " .. tostring(ok), "deadline: " .. tostring(error.is(e, "timeout", "deadline")))

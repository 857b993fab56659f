-- The runtime's own cost: task switches, memory of sleeping tasks. Prints figures beside their limits; judges nothing.

local task = require "pgafrun.task"
local time = require "pgafrun.time"

local SWITCHES = 2000000
local SLEEPERS = 100000

local function peak_megabytes()
  for line in io.lines "/proc/self/status" do
    local kilobytes = line:match "^VmHWM:%s+(%d+)"
    if kilobytes then return tonumber(kilobytes) / 1024 end
  end
end

local function switch(n)
  for _ = 1, n do task.yield() end
end

local start = time.now()
do
  local g <close> = task.group()
  for _ = 1, 4 do g:spawn(switch, SWITCHES / 4) end
end
local rate = SWITCHES / (time.now() - start)
print(("task switches            %12.0f /s      x %.1f of the 1,000,000 asked"):format(rate, rate / 1e6))

start = time.now()
do
  local g <close> = task.group()
  for _ = 1, SLEEPERS do g:spawn(task.sleep, 1) end
end
local took, peak = time.now() - start, peak_megabytes()
print(("%d sleeping tasks    %12.1f MB      x %.2f of the 150 MB allowed (%.2f s for a sleep of 1 s)"):format(
  SLEEPERS, peak, peak / 150, took))

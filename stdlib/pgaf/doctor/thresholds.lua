-- From when on a measured value is worth a line that is not "ok". Each takes what was measured, and writes that line.

local time = require "pgafrun.time"

local thresholds = {}

local GIB, MIB = 1024 ^ 3, 1024 ^ 2
local DAY = 86400

local function amount(bytes)
  if bytes >= GIB then return ("%.1f GiB"):format(bytes / GIB) end
  return ("%.0f MiB"):format(bytes / MIB)
end

---@param page pgaf.doctor.Page
---@param what string "the data folder's disk"
---@param total number bytes
---@param free number bytes
---@param mend string
function thresholds.disk(page, what, total, free, mend)
  local text = ("%s has %s free of %s"):format(what, amount(free), amount(total))
  if free < 200 * MIB or free < total * 0.03 then
    page:problem(text, mend)
  elseif free < GIB and free < total * 0.5 or free < total * 0.1 then
    page:warning(text, mend)
  else
    page:ok(text)
  end
end

local function days(seconds) return ("%.0f days"):format(seconds / DAY) end

---@param page pgaf.doctor.Page
---@param what string "the server's certificate"
---@param not_after number time.wall()
---@param renewal number days before its end from which on it should be replaced
---@param mend string
function thresholds.certificate(page, what, not_after, renewal, mend)
  local left = not_after - time.wall()
  local date = time.iso(not_after):sub(1, 10)
  if left <= 0 then
    page:problem(("%s ended on %s"):format(what, date), mend)
  elseif left < 7 * DAY then
    page:problem(("%s ends on %s, in %s"):format(what, date, days(left)), mend)
  elseif left < renewal * DAY then
    page:warning(("%s ends on %s, in %s"):format(what, date, days(left)), mend)
  else
    page:ok(("%s is good until %s"):format(what, date))
  end
end

---@class pgaf.doctor.Clock
---@field offset number seconds that the node is ahead of this machine
---@field uncertainty number seconds: the truth lies this far to either side

local CLOCK_WARNING, CLOCK_PROBLEM = 0.5, 60

---@param page pgaf.doctor.Page
---@param clock pgaf.doctor.Clock
function thresholds.clock(page, clock)
  local ahead = clock.offset >= 0
  local text = ("its clock is %.4f s %s this machine's (+- %.4f s)"):format(math.abs(clock.offset),
    ahead and "ahead of" or "behind", clock.uncertainty)
  local sure = math.abs(clock.offset) - clock.uncertainty
  local mend = "let chrony or systemd-timesyncd set both clocks; a container has the clock of its host"
  if sure > CLOCK_PROBLEM then
    page:problem(text .. ": certificates may be taken for not yet valid, or for ended", mend)
  elseif sure > CLOCK_WARNING then
    page:warning(text .. ": times in logs and in a drill's data cannot be compared", mend)
  elseif clock.uncertainty > CLOCK_WARNING then
    page:unknown(text .. ": the answer took too long to tell", mend)
  else
    page:ok(text)
  end
end

return thresholds

-- How long a client went without what it wants, and when it had it again: a client notes each success, and the longest
-- silence that a fault is answerable for is its way back.

local recovery = {}

---@class pgaf.Recovery
---@field last? number time.now() of the last success
---@field silences { from: number, to: number }[] longer than the threshold
local Recovery = {}
Recovery.__index = Recovery

---@param threshold number seconds: what is shorter is no silence
---@return pgaf.Recovery
function recovery.new(threshold) return setmetatable({ threshold = threshold, silences = {} }, Recovery) end

---@param at number time.now()
function Recovery:success(at)
  if self.last and at - self.last > self.threshold then
    table.insert(self.silences, { from = self.last, to = at })
  end
  self.last = at
end

---@class pgaf.Silence
---@field from number time.now()
---@field to? number nil: it had not ended
---@field seconds number at least so long, when it had not ended

---The longest silence that went on after a time. nil when there was none, or when the client never had any success.
---@param since number time.now()
---@param now number the end of the observation
---@return pgaf.Silence?
function Recovery:longest(since, now)
  local longest
  for _, silence in ipairs(self.silences) do
    local seconds = silence.to - silence.from
    if silence.to > since and (not longest or seconds > longest.seconds) then
      longest = { from = silence.from, to = silence.to, seconds = seconds }
    end
  end
  local open = self.last and now - self.last or 0
  if open > self.threshold and (not longest or open > longest.seconds) then
    return { from = self.last, seconds = open }
  end
  return longest
end

return recovery

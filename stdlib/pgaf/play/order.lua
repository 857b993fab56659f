-- The graph of items: can it be walked at all, and what holds one back?

local order = {}

local KINDS = { "before", "soft", "batch_gates" }

-- Takes away, again and again, what waits for nothing, or is `gone` already. What is left, as a set; nil when all
-- could be taken.
local function remainder(items, gone)
  local open, ready, taken = {}, {}, 0
  for _, item in ipairs(items) do
    open[item] = #item.after
    if #item.after == 0 or gone[item] then ready[#ready + 1] = item end
  end
  while #ready > 0 do
    local item = table.remove(ready)
    taken = taken + 1
    open[item] = nil
    for _, kind in ipairs(KINDS) do
      for _, waiting in ipairs(item[kind] or {}) do
        if open[waiting] and not gone[waiting] then
          open[waiting] = open[waiting] - 1
          if open[waiting] == 0 then ready[#ready + 1] = waiting end
        end
      end
    end
  end
  return taken < #items and open or nil
end

-- One that each of the left ones waits for, and why.
local function causes(items, left)
  local cause = {}
  for _, item in ipairs(items) do
    if left[item] then
      for _, kind in ipairs(KINDS) do
        for _, waiting in ipairs(item[kind] or {}) do
          if left[waiting] and not cause[waiting] then cause[waiting] = { item = item, kind = kind } end
        end
      end
    end
  end
  return cause
end

local WORDS = { before = " needs ", soft = " is notified by ", batch_gates = " (serial: the batch before it) needs " }

-- The nearest circle among those that are left: walking back from any of them ends in one.
local function circle(items, left)
  local cause = causes(items, left)
  local seen, at = {}, nil
  for _, item in ipairs(items) do
    if left[item] then
      at = item
      break
    end
  end
  while not seen[at] do
    seen[at] = true
    at = cause[at].item
  end
  -- a circle has steps and not only gates: begin with one
  while not at.step do at = cause[at].item end
  local first, words, members = at, { at.step[1] }, { [at] = true }
  repeat
    local why = cause[at]
    -- a gate is told by how it is entered: an ordinary need has no word of its own for it
    local kind = why.kind
    at = why.item
    while not at.step do
      members[at] = true
      why = cause[at]
      if why.kind ~= "before" then kind = why.kind end
      at = why.item
    end
    members[at] = true
    words[#words + 1] = WORDS[kind] .. at.step[1]
  until at == first
  return { way = table.concat(words), step = first.step }, members
end

---The ways round that cannot be walked, in words, each with a step on it. Of ways that share a step one is told.
---@param items pgaf.Item[]
---@return { way: string, step: pgaf.Step }[]
function order.cycles(items)
  local found, gone = {}, {}
  local left = remainder(items, gone)
  while left do
    local one, members = circle(items, left)
    found[#found + 1] = one
    -- the same steps wait for each other on the other targets, too
    local steps = {}
    for item in pairs(members) do
      if item.step then steps[item.step] = true end
    end
    for _, item in ipairs(items) do
      if members[item] or (item.step and steps[item.step]) then gone[item] = true end
    end
    left = remainder(items, gone)
  end
  return found
end

---The first thing that a pending item waits for; nil when that is nothing.
---@param item pgaf.Item
---@return pgaf.Item?
function order.holds_back(item)
  for _, needed in ipairs(item.after) do
    local one = needed.gate and needed.status == "pending" and order.holds_back(needed) or needed
    if one.step and (one.status == "pending" or one.status == "running") then return one end
  end
  return nil
end

return order

-- What differs between two texts, as lines of a unified diff; and a change of a resource for people.
--
-- Lines are compared by Myers' greedy algorithm, which costs little where little differs. Where much differs it is
-- given up, and the lines that occur once on both sides split the texts into smaller ones (patience diff). So the cost
-- grows with the size of the texts, not with its square; the price is that a part without such lines, and with more
-- than MAX_EDITS differences, is shown as replaced.

local mask = require "pgafrun.mask"
local text = require "pgaf.play.report.text"

local diff = {}

local CONTEXT = 3
local MAX_EDITS = 300
local MAX_BYTES = 1024 * 1024
local MAX_SHOWN = 400
local NO_LINE_BREAK = "\\ No newline at end of file"

-- ------------------------------------------------------------------------------------------------------- comparing

-- Walks back through the furthest points that each number of edits had reached. Returns pairs { i, j } of equal lines.
local function walk_back(trace, n, m)
  local found, x, y = {}, n, m
  for edits = #trace, 0, -1 do
    local from_x, from_y = 0, 0
    if edits > 0 then
      local furthest, k = trace[edits], x - y
      local down = k == -edits or (k ~= edits and furthest[k - 1] < furthest[k + 1])
      local from_k = down and k + 1 or k - 1
      from_x = furthest[from_k]
      from_y = from_x - from_k
    end
    while x > from_x and y > from_y do
      found[#found + 1] = { x, y }
      x, y = x - 1, y - 1
    end
    x, y = from_x, from_y
  end
  return found -- the last one first
end

-- Pairs of equal lines of a[af..al] and b[bf..bl]; nil when they differ in more than MAX_EDITS lines.
local function myers(a, b, af, al, bf, bl)
  local n, m = al - af + 1, bl - bf + 1
  local furthest, trace = { [1] = 0 }, {}
  for edits = 0, math.min(n + m, MAX_EDITS) do
    if edits > 0 then
      local copy = {}
      for k = -edits, edits do copy[k] = furthest[k] end
      trace[edits] = copy
    end
    for k = -edits, edits, 2 do
      local x
      if k == -edits or (k ~= edits and furthest[k - 1] < furthest[k + 1]) then
        x = furthest[k + 1]
      else
        x = furthest[k - 1] + 1
      end
      local y = x - k
      while x < n and y < m and a[af + x] == b[bf + y] do x, y = x + 1, y + 1 end
      furthest[k] = x
      if x >= n and y >= m then return walk_back(trace, n, m) end
    end
  end
  return nil
end

-- Lines that occur once in a[af..al] and once in b[bf..bl], in the longest row that keeps both orders.
local function anchors(a, b, af, al, bf, bl)
  local seen = {}
  for i = af, al do
    local entry = seen[a[i]]
    if entry then entry.twice = true else seen[a[i]] = { i = i } end
  end
  for j = bf, bl do
    local entry = seen[b[j]]
    if entry then
      if entry.j then entry.twice = true end
      entry.j = j
    end
  end
  -- patience sorting: the top of each pile is the smallest j that ends a row of that length
  local piles = {}
  for i = af, al do
    local entry = seen[a[i]]
    if entry.j and not entry.twice then
      local low, high = 1, #piles + 1
      while low < high do
        local middle = (low + high) // 2
        if piles[middle].j < entry.j then low = middle + 1 else high = middle end
      end
      entry.previous = piles[low - 1]
      piles[low] = entry
    end
  end
  local row, entry = {}, piles[#piles]
  while entry do
    table.insert(row, entry)
    entry = entry.previous
  end
  return row -- the last one first
end

local match

local function match_between_anchors(a, b, af, al, bf, bl, found)
  local row = anchors(a, b, af, al, bf, bl)
  if #row == 0 then return end
  local i, j = af, bf
  for n = #row, 1, -1 do
    match(a, b, i, row[n].i - 1, j, row[n].j - 1, found)
    found[#found + 1] = { row[n].i, row[n].j }
    i, j = row[n].i + 1, row[n].j + 1
  end
  match(a, b, i, al, j, bl, found)
end

-- Appends the pairs of equal lines, in order.
function match(a, b, af, al, bf, bl, found)
  while af <= al and bf <= bl and a[af] == b[bf] do
    found[#found + 1] = { af, bf }
    af, bf = af + 1, bf + 1
  end
  local tail = 0
  while al - tail >= af and bl - tail >= bf and a[al - tail] == b[bl - tail] do tail = tail + 1 end
  if al - tail >= af and bl - tail >= bf then
    local equal = myers(a, b, af, al - tail, bf, bl - tail)
    if equal then
      for n = #equal, 1, -1 do found[#found + 1] = { equal[n][1] + af - 1, equal[n][2] + bf - 1 } end
    else
      match_between_anchors(a, b, af, al - tail, bf, bl - tail, found)
    end
  end
  for k = tail - 1, 0, -1 do found[#found + 1] = { al - k, bl - k } end
end

-- ----------------------------------------------------------------------------------------------------------- hunks

-- Every line with its sign, in the order of a diff: removed before added.
local function edits_of(a, b)
  local found, script = {}, {}
  match(a, b, 1, #a, 1, #b, found)
  found[#found + 1] = { #a + 1, #b + 1 }
  local i, j = 1, 1
  for _, pair in ipairs(found) do
    while i < pair[1] do
      script[#script + 1] = { "-", a[i], i, j }
      i = i + 1
    end
    while j < pair[2] do
      script[#script + 1] = { "+", b[j], i, j }
      j = j + 1
    end
    if pair[1] <= #a then script[#script + 1] = { " ", a[i], i, j } end
    i, j = i + 1, j + 1
  end
  return script
end

-- A file's first line has number 1; where a side of a hunk is empty, the line before it is named.
local function range(first, count)
  if count == 1 then return tostring(first) end
  return ("%d,%d"):format(count == 0 and first - 1 or first, count)
end

local function put_hunk(lines, script, from, to)
  local removed, added = 0, 0
  for n = from, to do
    if script[n][1] ~= "+" then removed = removed + 1 end
    if script[n][1] ~= "-" then added = added + 1 end
  end
  lines[#lines + 1] = ("@@ -%s +%s @@"):format(range(script[from][3], removed), range(script[from][4], added))
  for n = from, to do
    local line = script[n][2]
    local whole = line:sub(-1) == "\n"
    lines[#lines + 1] = script[n][1] .. (whole and line:sub(1, -2) or line)
    if not whole then lines[#lines + 1] = NO_LINE_BREAK end
  end
end

-- Lines with their line breaks: a last one without differs from one with.
local function split(value)
  local lines = {}
  for line in value:gmatch "[^\n]*\n?" do
    if line ~= "" then lines[#lines + 1] = line end
  end
  return lines
end

---The hunks of a unified diff; none when the texts are equal.
---@param before string
---@param after string
---@param context? integer default 3
---@return string[] lines
function diff.hunks(before, after, context)
  context = context or CONTEXT
  local lines = {}
  if before == after then return lines end
  local script = edits_of(split(before), split(after))
  local from, to
  for n, edit in ipairs(script) do
    if edit[1] ~= " " then
      if from and n - context > to + 1 then
        put_hunk(lines, script, from, to)
        from = nil
      end
      from = from or math.max(1, n - context)
      to = math.min(#script, n + context)
    end
  end
  if from then put_hunk(lines, script, from, to) end
  return lines
end

-- ---------------------------------------------------------------------------------------------------------- changes

local function is_binary(value) return value:find("\0", 1, true) ~= nil or not utf8.len(value) end

local function bytes(value)
  if not value then return "nothing" end
  return #value < 10000 and #value .. " bytes" or ("%.1f kB"):format(#value / 1000)
end

-- Where both are of one size, that they differ is still to be seen.
local function sizes(before, after)
  local from, to = bytes(before), bytes(after)
  return ("%s -> %s%s"):format(from, to, from == to and ", others" or "")
end

local function is_short(value) return not value or (#value <= 200 and not value:find "\n") end

local function shortened(lines)
  if #lines <= MAX_SHOWN then return lines end
  local more = #lines - MAX_SHOWN
  local short = table.move(lines, 1, MAX_SHOWN, 1, {})
  short[#short + 1] = ("... and %d lines more"):format(more)
  return short
end

local function file_lines(what, before, after)
  local lines = { before and "--- " .. what or "--- (not there)", after and "+++ " .. what or "+++ (removed)" }
  for _, line in ipairs(diff.hunks(before or "", after or "")) do lines[#lines + 1] = line end
  return lines
end

---A change for people. Secrets are masked before the texts are compared.
---@param change pgaf.Change
---@return string[] lines without line breaks and control characters
function diff.describe(change)
  local what, before, after = change.what, change.before, change.after
  local lines
  if change.secret then
    lines = { what .. (not before and ": <secret>, was not there" or not after and ": <secret>, goes away" or
      ": differs, <secret>") }
  elseif #(before or "") + #(after or "") > MAX_BYTES then
    lines = { ("%s: too large to compare: %s"):format(what, sizes(before, after)) }
  elseif is_binary(before or "") or is_binary(after or "") then
    lines = { ("%s: binary: %s"):format(what, sizes(before, after)) }
  else
    local shown_before, shown_after = before and mask.apply(before), after and mask.apply(after)
    if shown_before == shown_after and before ~= after then
      lines = { what .. ": differs in a <secret>" }
    elseif is_short(before) and is_short(after) then
      lines = { ("%s: %s -> %s"):format(what, shown_before or "(not set)", shown_after or "(not set)") }
    else
      lines = shortened(file_lines(what, shown_before, shown_after))
    end
  end
  for i, line in ipairs(lines) do lines[i] = text.clean(mask.apply(line)) end
  return lines
end

return diff

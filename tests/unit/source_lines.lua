-- Lines of keys in inventories written in all the ways that Lua allows.
local source_lines = require "pgaf.source_lines"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local TEXT = [==[
-- return { not = "this" }
local common = { cpu = 4,
  memory = "1GiB" }
local text = [[
return { nor = "this" }
]]
return {
  name = "a, b }", -- a comment with }
  ["quoted key"] = 1,
  list = { { x = 1 }, {
    x = 2 }, "plain" },
  made = (function() local t = { inner = 1 } if t then return t end end)(),
  same = 1 == 2,
  limits = common, --[[ long
  comment }]] after = { deep = { deeper = true } };
  f = function(a, b)
    return { a = a, b = b }
  end,
  last = 'it\'s'
}
]==]

local function line(path) return source_lines.find(source_lines.read(TEXT), path) end

function T.test_keys_of_the_returned_table()
  lu.assertEquals({ line "name", line "quoted key", line "list", line "last" }, { 8, 9, 10, 19 })
  lu.assertEquals({ line "made", line "same", line "limits" }, { 12, 13, 14 })
end

function T.test_items_of_lists_and_what_is_in_them()
  lu.assertEquals({ line "list[1].x", line "list[2]", line "list[2].x", line "list[3]" }, { 10, 10, 11, 11 })
end

function T.test_after_comments_and_functions_the_count_goes_on()
  lu.assertEquals({ line "after", line "after.deep.deeper", line "f" }, { 15, 15, 16 })
end

function T.test_what_was_put_together_elsewhere_is_found_by_its_name()
  lu.assertEquals({ line "limits.memory", line "limits.cpu" }, { 3, 2 })
end

function T.test_what_is_missing_is_shown_at_its_surroundings()
  lu.assertEquals({ line "list[1].y", line "after.nothing", line "nothing" }, { 10, 15, 7 })
end

function T.test_broken_text_ends()
  for _, text in ipairs { "", "return {", "return { a = {", "return { a = 'x", "[[", "--[[", "return { ]", "}}}" } do
    lu.assertEquals(type(source_lines.read(text).paths), "table")
  end
end

test.run("source_lines", T)

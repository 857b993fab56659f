local error = require "pgafrun.error"
local json = require "pgafrun.json"
local test = require "pgaf.test"

local lu = test.lu

local T = {}

local function refuses_decode(text, message)
  local ok, e = pcall(json.decode, text)
  lu.assertFalse(ok, text)
  lu.assertTrue(error.is(e, "data", "json"), tostring(e))
  lu.assertStrContains(e.message, message)
end

local function refuses_encode(value, message)
  local ok, e = pcall(json.encode, value)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "data", "json"), tostring(e))
  lu.assertStrContains(e.message, message)
end

local function round_trip(text, expected)
  lu.assertEquals(json.encode(json.decode(text)), expected or text)
end

function T.test_scalars_keep_their_types()
  lu.assertIs(json.decode("null"), json.null)
  lu.assertIs(json.decode(" true "), true)
  lu.assertEquals(json.decode('"x"'), "x")
  lu.assertEquals(math.type(json.decode("1")), "integer")
  lu.assertEquals(math.type(json.decode("1.0")), "float")
  lu.assertEquals(json.decode("9223372036854775807"), math.maxinteger)
  lu.assertEquals(json.decode("-9223372036854775808"), math.mininteger)
  lu.assertEquals(json.encode(math.mininteger), "-9223372036854775808")
  refuses_decode("9223372036854775808", "line 1")
end

function T.test_floats_are_short_and_come_back_the_same()
  local known = { ["0.1"] = 0.1, ["1.0"] = 1.0, ["-0.0"] = -0.0, ["1e+300"] = 1e300,
    ["0.30000000000000004"] = 0.1 + 0.2 }
  for text, number in pairs(known) do
    lu.assertEquals(json.encode(number), text)
  end
  for _ = 1, 1000 do
    local number = (math.random() - 0.5) * 10.0 ^ math.random(-300, 300)
    lu.assertIs(json.decode(json.encode(number)), number)
  end
end

function T.test_empty_arrays_and_objects_stay_different()
  round_trip('{"a":[],"b":{},"c":[[],{}],"d":null}')
  lu.assertEquals(json.encode {}, "{}")
  lu.assertEquals(json.encode(json.as_array()), "[]")
  lu.assertEquals(json.encode(json.as_array {}), "[]")
  lu.assertIs(getmetatable(json.decode("[]")), json.array)
  lu.assertNil(getmetatable(json.decode("{}")))
end

function T.test_strings()
  round_trip([["\"\\\b\f\n\r\t\u0001\u0000/é€😀"]])
  lu.assertEquals(json.decode([["\u0000\ud83d\ude00"]]), "\0😀")
  lu.assertEquals(json.encode("\127"), '"\127"')
end

function T.test_keys_are_sorted_by_byte()
  lu.assertEquals(json.encode { b = 1, a = 2, ab = 3, [""] = 4, ["é"] = 5 }, '{"":4,"a":2,"ab":3,"b":1,"é":5}')
end

function T.test_indented()
  lu.assertEquals(json.encode({ a = { 1, 2 }, b = {} }, { indent = 2 }),
    '{\n  "a": [\n    1,\n    2\n  ],\n  "b": {}\n}')
end

function T.test_faulty_text_is_told_with_its_place()
  refuses_decode('{\n  "a": 1,\n  "a": 2}', "line 3")
  refuses_decode("[1,\n 2", "line 2")
  refuses_decode("", "line 1")
  refuses_decode("1 2", "line 1")
  refuses_decode("[1,]", "line 1, column 4")
  refuses_decode("NaN", "line 1")
  refuses_decode('"\xff"', "line 1")
  refuses_decode('{"a\\u0000":1}', "line 1")
  refuses_decode('"\\ud800"', "line 1")
  refuses_decode('"abc\\', "line 1")
  refuses_decode("1e999", "line 1")
end

function T.test_depth_is_limited_to_200()
  lu.assertNotNil(json.decode(("["):rep(200) .. ("]"):rep(200)))
  refuses_decode("\n" .. ("["):rep(201) .. ("]"):rep(201), "line 2, column 201: nested deeper")
  refuses_decode(('{"a":'):rep(100000), "nested deeper")
  lu.assertNotNil(json.decode('["' .. ("[\\\""):rep(1000) .. '"]'))
  local value = {}
  for _ = 1, 199 do value = { value } end
  lu.assertEquals(json.encode(value), ("["):rep(199) .. "{}" .. ("]"):rep(199))
  refuses_encode({ value }, "deeper than 200 levels")
end

function T.test_what_cannot_be_encoded_is_told_with_its_path()
  refuses_encode({ nodes = { { name = "\xff" } } }, "not UTF-8 cannot be encoded at nodes[1].name")
  refuses_encode({ ["\xff"] = 1 }, "not UTF-8 cannot be encoded at ?")
  refuses_encode({ a = { [1] = "x", b = 1 } }, "holes or with other keys cannot be encoded at a")
  refuses_encode({ a = { "x", nil, "y" } }, "at a")
  refuses_encode({ [1.5] = 1 }, "neither strings")
  refuses_encode({ [true] = 1 }, "neither strings")
  refuses_encode({ [7] = 1 }, "neither strings")
  refuses_encode({ a = print }, "type function cannot be encoded at a")
  refuses_encode({ a = { b = 0 / 0 } }, "NaN cannot be encoded at a.b")
  refuses_encode(math.huge, "infinite number")
  refuses_encode(json.as_array { a = 1 }, "other keys")
  for _, text in ipairs { "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80",
    "\xf5", "\x80", "é\xc3" } do
    refuses_encode(text, "not UTF-8")
  end
end

function T.test_cycles_are_told()
  local a = { b = {} }
  a.b.c = { a }
  refuses_encode(a, "contains itself cannot be encoded at b.c[1]")
  local shared = { 1 }
  lu.assertEquals(json.encode { shared, shared }, "[[1],[1]]")
end

function T.test_tojson_decides_how_a_value_looks()
  local secret = setmetatable({ value = "x" }, { __tojson = function() return "<secret>" end })
  lu.assertEquals(json.encode { password = secret }, '{"password":"<secret>"}')
  local twice = setmetatable({}, { __tojson = function() return { secret } end })
  lu.assertEquals(json.encode(twice), '["<secret>"]')
  local endless = setmetatable({}, {})
  getmetatable(endless).__tojson = function() return endless end
  refuses_encode({ a = endless }, "without end at a")
  local raising = setmetatable({}, { __tojson = function() error.raise { kind = "closed", message = "gone" } end })
  local _, e = pcall(json.encode, { raising })
  lu.assertTrue(error.is(e, "closed"))
end

function T.test_tojson_may_change_the_table_that_is_encoded()
  local t = { b = 1, c = 2 }
  t.a = setmetatable({}, {
    __tojson = function()
      for i = 1, 100 do t["b" .. i], t.b = nil, nil end
      collectgarbage()
      return "x"
    end,
  })
  refuses_encode(t, "type nil cannot be encoded at b")
end

function T.test_wrong_arguments_are_mistakes_of_the_script()
  lu.assertErrorMsgContains("json.null", json.encode, nil)
  lu.assertErrorMsgContains("no option 'ident'; there are: indent", json.encode, 1, { ident = 2 })
  lu.assertErrorMsgContains("string expected", json.decode, 5)
  lu.assertErrorMsgContains("string expected", json.decode)
end

function T.test_large_texts()
  local row = '{"name":"node-1","health":1,"lag":0.25,"tags":["a","b"]}'
  local text = "[" .. row .. ("," .. row):rep(100000) .. "]"
  lu.assertEquals(#json.decode(text), 100001)
  lu.assertEquals(#json.encode(json.decode(text)), #text)
end

test.run("json", T)

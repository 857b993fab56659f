local error = require "pgafrun.error"
local json = require "pgafrun.json"
local yaml = require "pgafrun.yaml"
local test = require "pgaf.test"

local lu = test.lu

local T = {}

local function refuses(text, message, options)
  local ok, e = pcall(yaml.decode, text, options)
  lu.assertFalse(ok, text)
  lu.assertTrue(error.is(e, "data", "yaml"), tostring(e))
  lu.assertStrContains(e.message, message)
end

local function as_json(text, options) return json.encode((yaml.decode(text, options))) end

function T.test_plain_scalars_follow_the_core_schema()
  local expected = {
    ["~"] = json.null, null = json.null, Null = json.null, NULL = json.null, ["!!null ''"] = json.null,
    ["true"] = true, True = true, ["false"] = false, FALSE = false,
    yes = "yes", no = "no", on = "on", tRue = "tRue",
    ["12"] = 12, ["-12"] = -12, ["+12"] = 12, ["010"] = 10, ["0o10"] = 8, ["0x1F"] = 31, ["0b1"] = "0b1",
    ["0x"] = "0x",
    ["9223372036854775807"] = math.maxinteger, ["-9223372036854775808"] = math.mininteger,
    ["1."] = 1.0, [".5"] = 0.5, ["1e3"] = 1000.0, ["-1.5e-1"] = -0.15, ["1e"] = "1e", ["."] = ".", ["-"] = nil,
    [".inf"] = math.huge, ["-.INF"] = -math.huge,
    ["2024-01-02"] = "2024-01-02", ["10:20"] = "10:20", ["1_000"] = "1_000", ["1.2.3"] = "1.2.3", ["nan"] = "nan",
    ["'12'"] = "12", ['"true"'] = "true", ["!!str 12"] = "12", ["! 12"] = "12",
    ["!!float 1"] = 1.0, ["!!int 0x10"] = 16,
    ["|\n  true\n"] = "true\n",
  }
  for text, value in pairs(expected) do
    local got = yaml.decode(text)
    lu.assertEquals(got, value, text)
    lu.assertEquals(math.type(got), math.type(value), text)
  end
  local nan = yaml.decode(".nan")
  lu.assertTrue(nan ~= nan)
  refuses("a: 9223372036854775808", "line 1, column 4: an integer beyond 64 bits")
  refuses("!!int abc", "does not fit its tag")
end

function T.test_documents()
  lu.assertNil(yaml.decode(""))
  lu.assertNil(yaml.decode("# nothing\n"))
  lu.assertEquals(yaml.decode("---\na: 1\n...\n"), { a = 1 })
  lu.assertEquals(yaml.decode("\xef\xbb\xbfa: 1"), { a = 1 })
  refuses("a: 1\n---\nb: 2", "line 2, column 1: more than one document")
end

function T.test_collections()
  lu.assertEquals(as_json "a: [1, {b: c}]\nd: {}\ne: []\nf:\ng:\n- h\n-\n",
    '{"a":[1,{"b":"c"}],"d":{},"e":[],"f":null,"g":["h",null]}')
  lu.assertIs(getmetatable(yaml.decode("[]")), json.array)
  lu.assertEquals(yaml.decode("1: a\ntrue: b\n1.5: c"), { [1] = "a", [true] = "b", [1.5] = "c" })
end

function T.test_keys_are_checked()
  refuses("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is there twice")
  refuses("a: ~\na: 3", "line 2")
  refuses("1: a\n1.0: b", "twice")
  refuses("~: 1", "a key must be")
  refuses("? [1]\n: 2", "a key must be")
  refuses(".nan: 1", "a key must be")
end

function T.test_aliases_are_the_same_table()
  local t = yaml.decode "a: &x {b: 1}\nc: *x\nd: &s text\ne: *s\n&k f: *k"
  lu.assertIs(t.a, t.c)
  lu.assertEquals(t.e, "text")
  lu.assertEquals(t.f, "f")
  refuses("a: *x", "not defined")
  refuses("a: &x [*x]", "not defined, or not yet complete")
end

function T.test_merge_keys()
  lu.assertEquals(yaml.decode "base: &b {x: 1, y: 2}\nt:\n  <<: *b\n  y: 3",
    { base = { x = 1, y = 2 }, t = { x = 1, y = 3 } })
  lu.assertEquals(yaml.decode("t:\n  y: 3\n  <<: [{x: 1, y: 2}, {x: 5, z: 6}]").t, { x = 1, y = 3, z = 6 })
  lu.assertEquals(yaml.decode("'<<': 1"), { ["<<"] = 1 })
  refuses("<<: 1", "<< must be a mapping")
  refuses("<<: [1]", "<< must be a mapping")
  refuses("<<: ~", "<< must be a mapping")
  refuses("a: 1\n<<: {b: 1}\n<<: {c: 1}", "line 3, column 1: the key '<<' is there twice")
end

function T.test_lines()
  local t, lines = yaml.decode("# c\na: 1\nb:\n  - x\n  - c: &m\n      d: 2\ne:\n  <<: *m\n  f: 3\n", { lines = true })
  lu.assertEquals(lines[t], { a = 2, b = 3, e = 7 })
  lu.assertEquals(lines[t.b], { 4, 5 })
  lu.assertEquals(lines[t.b[2].c], { d = 6 })
  lu.assertEquals(lines[t.e], { d = 6, f = 9 })
  lu.assertEquals(select("#", yaml.decode("a: 1")), 1)
end

function T.test_tags()
  local tags = { ["!env"] = function(value, line) return value .. "@" .. line end, ["!none"] = function() end,
    ["!map"] = function() return { z = 1 } end }
  lu.assertEquals(yaml.decode("a: 1\nb: !env HOME\nc: !none x", { tags = tags }),
    { a = 1, b = "HOME@2", c = json.null })
  local t, lines = yaml.decode("<<: !map x\n", { tags = tags, lines = true })
  lu.assertEquals(t, { z = 1 })
  lu.assertEquals(lines[t], { z = 1 })
  refuses("a: !vault x", "line 1, column 4: the tag !vault is not known here", { tags = tags })
  refuses("a: !env [x]", "the tag !env is not known here", { tags = tags })
  refuses("a: !!binary x", "the tag tag:yaml.org,2002:binary")
  refuses("a: !!set {x}", "the tag tag:yaml.org,2002:set")
  lu.assertEquals(yaml.decode("!!map {a: !!seq [1]}"), { a = { 1 } })
  local raising = { ["!env"] = function() error.raise { kind = "closed", message = "x" } end }
  local _, e = pcall(yaml.decode, "!env x", { tags = raising })
  lu.assertTrue(error.is(e, "closed"))
end

function T.test_faulty_text_is_told_with_its_place()
  refuses("a: [1, 2", "flow sequence")
  refuses("a: b: c", "line 1, column 5")
  refuses("a:\n\t- b", "line 2, column 1")
  refuses("'abc", "line 1")
  refuses("a: \xff", "line 1")
  refuses("a: \x01", "line 1")
  refuses("%YAML 9.9\n---\na", "line 1")
end

function T.test_depth_is_limited_to_100()
  lu.assertNotNil(yaml.decode(("["):rep(100) .. ("]"):rep(100)))
  refuses(("["):rep(101) .. ("]"):rep(101), "column 101: nested deeper than 100 levels")
  refuses(("["):rep(20000), "nested deeper")
end

function T.test_a_billion_laughs()
  local lines = { "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]" }
  for i = 1, 9 do
    local alias = ("*a%d, "):format(i - 1)
    lines[#lines + 1] = ("a%d: &a%d [%s]"):format(i, i, alias:rep(10))
  end
  refuses(table.concat(lines, "\n"), "aliases stand for more than 100000 values")
  lu.assertNotNil(yaml.decode(table.concat(lines, "\n", 1, 4)))
end

function T.test_wrong_arguments_are_mistakes_of_the_script()
  lu.assertErrorMsgContains("no option 'line'", yaml.decode, "a", { line = true })
  lu.assertErrorMsgContains("tags", yaml.decode, "a", { tags = 1 })
  lu.assertErrorMsgContains("string expected", yaml.decode)
end

test.run("yaml", T)

---@meta pgafrun.yaml
-- libyaml, reading only. Unquoted scalars by the core schema of YAML 1.2: null (~, nothing), true, false, integers (also 0x1f
-- and 0o17; 010 is ten), floats; yes, no, on, off and dates are text. null is json.null, a list carries json.array. An alias
-- is the same table again; merge keys (<<) work. Limits: 16 MiB, 100 levels, aliases for 100000 values in all. Refused:
-- keys that are there twice, keys that are lists or maps, several documents, tags but the standard ones and options.tags.
local yaml = {}

---nil for an empty text. Raises kind "data", code "yaml", with line and column in the message.
---@param text string
---@param options? { tags?: table<string, fun(value: string, line: integer): any>, lines?: boolean } lines: second result maps each table to { key -> line }
---@return any document, table? lines
function yaml.decode(text, options) end

return yaml

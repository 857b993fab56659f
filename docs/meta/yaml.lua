---@meta pgafrun.yaml
-- libyaml, reading only, YAML 1.1 core scalars (null, bool, int, float, str); anchors and aliases are refused beyond a limit of
-- expansions, depth and size are limited. Unknown tags raise, except those in options.tags.
local yaml = {}

---Raises kind "data", code "yaml" with line and column.
---@param text string
---@param options? { tags?: table<string, fun(value: string, line: integer): any>, lines?: boolean } lines: second result maps each table to { key -> line }
---@return any document, table? lines
function yaml.decode(text, options) end

return yaml

---@meta pgafrun.json
-- jansson: exact 64-bit integers, depth limit, duplicate keys refused. JSON null is json.null.
-- A decoded array carries json.array as its metatable, so that [] and {} stay different when encoded again.
local json = {}

---@type lightuserdata
json.null = nil
---@type table the metatable that marks arrays
json.array = nil

---Raises kind "data", code "json", with line and column in the message. At most 200 levels deep.
---@param text string
---@return any
function json.decode(text) end

---A table is an array if it carries json.array or has a non-empty sequence part (then it must have no other keys); else an object,
---keys sorted. A value whose metatable has __tojson is encoded as what that returns; secrets become "<secret>".
---What has no JSON (text that is not UTF-8, NaN, a function, an array with holes, a cycle) raises kind "data" with its path.
---@param value any
---@param options? { indent?: integer } 0 (default): one line; at most 8
---@return string
function json.encode(value, options) end

---Marks t as an array and returns it.
---@param t? table
---@return table
function json.as_array(t) end

return json

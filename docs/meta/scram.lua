---@meta pgafrun.scram
-- SCRAM-SHA-256 as PostgreSQL keeps it.
local scram = {}

---Whether the password is the one that this verifier (pg_authid.rolpassword) was made of. False for what is no SCRAM-SHA-256 verifier.
---For passwords of printable ASCII: others are normalised before they are hashed, which is not done here. Takes some milliseconds.
---@param verifier string
---@param password string
---@return boolean
function scram.matches(verifier, password) end

return scram

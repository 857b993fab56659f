---@meta pgafrun.mask
-- Texts that are replaced by "<secret>" in the log, in errors and wherever apply is called. Scripts use pgaf.secret, which
-- tells this module what it reveals.
local mask = {}

---From now on text is masked: as it is, quoted for a shell, in JSON, percent-encoded, in base64; and each line of it that
---has 8 characters or more. Texts of fewer than 6 characters are not: they would be found in innocent words.
---@param text string
function mask.add(text) end

---@param text string
---@return string
function mask.apply(text) end

return mask

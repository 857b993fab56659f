---@meta pgafrun.log
-- One line a message on stderr, as text or JSON (--log-format). Fields are rendered with tostring: secrets mask themselves.
local log = {}

---@param message string
---@param fields? table<string, any>
function log.debug(message, fields) end
---@param message string
---@param fields? table<string, any>
function log.info(message, fields) end
---@param message string
---@param fields? table<string, any>
function log.warn(message, fields) end
---@param message string
---@param fields? table<string, any>
function log.error(message, fields) end

---@return "debug"|"info"|"warn"|"error"
function log.level() end

return log

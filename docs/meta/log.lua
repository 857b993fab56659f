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

---From now on what is below is dropped.
---@param level "debug"|"info"|"warn"|"error"
function log.set_level(level) end

return log

---@meta pgafrun.net
local net = {}
---True when a TCP connection to address:port could be made within seconds; false and the errno name
---otherwise, or EAI_NONAME and the like for a name that is none. All addresses of a name are tried at once. The connection is closed at once.
---@param address string name or IP
---@param port integer
---@param seconds number
---@return boolean ok, string? code
function net.probe(address, port, seconds) end
---Raises kind network, code EAI_NONAME and the like.
---@param name string
---@return string[] addresses in the system's order
function net.resolve(name) end
return net

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

---Listens on a unix socket at path, which must not exist; its mode is 0600. Does not wait. Raises kind network (code
---EADDRINUSE, EACCES ...) or limit (a path of more than 107 bytes).
---@param path string
---@param options? { background?: boolean } background: it alone does not keep the program from seeing that every task waits for another one
---@return pgafrun.net.Listener to be closed
function net.listen(path, options) end

---Connects to the unix socket at path. Raises kind network (code ENOENT, ECONNREFUSED: nobody listens, EACCES ...).
---@param path string
---@return pgafrun.net.Connection to be closed
function net.connect(path) end

---@class pgafrun.net.Listener
local Listener = {}
---Waits for the next connection; one task at a time.
---@return pgafrun.net.Connection to be closed
function Listener:accept() end
---The socket's name is gone; who waits for a connection gets an error of kind closed. Also __close and __gc; idempotent.
function Listener:close() end

---@class pgafrun.net.Connection
local Connection = {}
---Waits until something comes; one task at a time.
---@return string? bytes at least one, at most 16 KiB; nil at the end
function Connection:read() end
---Waits until the kernel has taken all of it. One that was interrupted may have been written in part: close the connection.
---@param text string
function Connection:write(text) end
---Who is at the other end, as the kernel knows it.
---@return { pid: integer, uid: integer, gid: integer }
function Connection:peer() end
---Who reads or writes it gets an error of kind closed. Also __close and __gc; idempotent.
function Connection:close() end

return net

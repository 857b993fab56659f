---@meta pgafrun.ws
-- Websockets (wslay framing over a libcurl connection). Incoming messages are drained into memory at once, whether a task
-- reads or not; pings are answered without a task.
local ws = {}

---@class pgafrun.ws.Socket
local Socket = {}

---@param options { url: string, unix_socket?: string, tls?: pgafrun.http.Tls, headers?: table<string,string>, timeout?: number, max_bytes?: integer }
---        url: ws:// or wss:// ; timeout: of the handshake, default 10 s; max_bytes: of what is queued unread, default 256 MiB
---@return pgafrun.ws.Socket
---Raises network, tls, timeout, data (the url; it may have no user name), protocol (code = HTTP status when the upgrade was
---refused; message has the body's text).
function ws.connect(options) end

---The next message. nil at the end of the stream; reason tells how it ended: "closed" (close frame), "eof" (cut without one), "reset".
---Raises kind "timeout" only when `seconds` is given and passes (0: only what is there); the socket stays usable and no
---message is lost. Raises limit and protocol, after the messages before them, and again each time; closed after close.
---One task at a time may read; another may send meanwhile.
---@param seconds? number
---@return string? message, "text"|"binary"|"closed"|"eof"|"reset" type_or_reason
function Socket:recv(seconds) end

---Queues and flushes a message; waits while 1 MiB or more is unsent. Raises kind "closed" on a dead socket; outcome "unknown"
---when a part may have been sent.
---@param message string
---@param type? "text"|"binary" default "binary"
function Socket:send(message, type) end

---True once a ping has been received (Incus sends the first one after it registered an event listener); waits for it up to
---seconds, and gives nil when they passed. Raises kind "closed" when the stream ends before.
---@param seconds number
---@return true?
function Socket:wait_ping(seconds) end

---Sends a close frame if that needs no waiting, and closes; what is unsent is lost. Idempotent; does not wait. Also __close
---and __gc, which logs where the socket was made.
function Socket:close() end

return ws

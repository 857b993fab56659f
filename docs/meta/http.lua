---@meta pgafrun.http
-- libcurl's multi interface on the event loop. Connections are kept (20 s at most) and shared by all requests of the process.
local http = {}

---@class pgafrun.http.Tls
---@field ca? string PEM text to trust instead of the system's CAs
---@field pinned? string PEM text of the one server certificate accepted (its key is compared, the host name is not)
---@field cert? string PEM text of the client certificate
---@field key? string PEM text of its key (an encrypted key is refused with a clear error)

---@class pgafrun.http.Request
---@field url string
---@field method? string default "GET"
---@field headers? table<string, string> names as given; Content-Type must be set explicitly when there is a body
---@field body? string
---@field unix_socket? string path; the url's host is then only the Host header
---@field tls? pgafrun.http.Tls
---@field timeout? number seconds for the whole request; default 60
---@field connect_timeout? number default 10
---@field max_bytes? integer limit of the response body, default 64 MiB
---@field mutates? boolean default: method is not GET or HEAD. A mutation that breaks off has outcome "unknown"
---@field http1? boolean force HTTP/1.1

---@class pgafrun.http.Response
---@field status integer
---@field headers table<string, string> names in lower case; repeated ones joined with ", "
---@field body string
---@field seconds number

---Raises kinds network, tls, timeout, limit, protocol, data (a malformed url). Any HTTP status is a response, not an error.
---The error's code is the errno's name where the operating system refused ("EACCES", "ECONNREFUSED", "ENOENT" ...), else
---"curl N". A mutation is sent once at most: when a kept connection dies under it, the outcome is "unknown".
---A user name in the url is sent as Basic authentication. Proxies of the environment hold for TCP, not for unix sockets.
---@param request pgafrun.http.Request
---@return pgafrun.http.Response
function http.request(request) end

---Percent-encodes everything but unreserved characters.
---@param text string
---@return string
function http.escape(text) end

return http

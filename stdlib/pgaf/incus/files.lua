-- Files of an instance, running or not, by the API: small reads without a shell, and writes that are private from the
-- first byte.
--
-- The body's type must be octet-stream: the server takes a form for parameters and writes an empty file. Mode and owner
-- count only for a file that is made; so it is made empty with its final mode, and filled then. This is not atomic:
-- where somebody may read meanwhile, write to another name and rename it.

local rethrow = error
local error = require "pgafrun.error"
local task = require "pgafrun.task"

local files = {}

local LINKS = 8
local TIMEOUT = 60
local UNSIZED_TIMEOUT = 5
-- The server's helper for files ends when nobody has asked it for a while; who asks it then is told 500.
local READ_TRIES = 3
local READ_PAUSE = 0.2

local function request(client, name, path, more)
  more.path = ("/1.0/instances/%s/files"):format(client.escape(name))
  more.query = { path = path }
  more.timeout = more.timeout or TIMEOUT
  return client:raw(more)
end

-- nil for what does not exist. What only reads is tried again.
local function find(client, name, path, more)
  local ok, response
  for try = 1, more.method == "DELETE" and 1 or READ_TRIES do
    if try > 1 then task.sleep(READ_PAUSE) end
    ok, response = pcall(request, client, name, path, more)
    if ok or not error.is(response, "incus", "500") then break end
  end
  if ok then return response end
  if error.is(response, "incus", "404") then return nil end
  rethrow(response, 0)
end

local function number(response, header) return math.tointeger(tonumber(response.headers[header])) end

---@param client pgaf.incus.Client
---@param name string of the instance
---@param path string absolute
---@return { type: "file"|"directory"|"symlink", mode: string, uid: integer, gid: integer, size: integer? }?
function files.stat(client, name, path)
  local response = find(client, name, path, { method = "HEAD" })
  if not response then return nil end
  return {
    type = response.headers["x-incus-type"], mode = response.headers["x-incus-mode"],
    uid = number(response, "x-incus-uid"), gid = number(response, "x-incus-gid"),
    size = number(response, "content-length"),
  }
end

-- A pipe is told as an empty file, and reading it waits for a writer. Files of /proc are empty to look at as well.
local function read_unsized(client, name, path, max_bytes)
  local ok, response = pcall(find, client, name, path, { max_bytes = max_bytes, timeout = UNSIZED_TIMEOUT })
  if ok then return response end
  if not error.is(response, "timeout") or error.is(response, "timeout", "deadline") then rethrow(response, 0) end
  error.raise {
    kind = "file", operation = "read on " .. name, code = "EINVAL", cause = response,
    message = ("%s gives nothing within %d s: it is a pipe, or the server is stuck"):format(path, UNSIZED_TIMEOUT),
  }
end

---The content of a file; links are followed. Whatever is not a file is refused.
---@param client pgaf.incus.Client
---@param name string
---@param path string absolute
---@param options? { max_bytes?: integer } default 64 MiB
---@return string? content nil: it does not exist
function files.read(client, name, path, options)
  for _ = 1, LINKS do
    local stat = files.stat(client, name, path)
    if not stat then return nil end
    if stat.type ~= "file" and stat.type ~= "symlink" then
      error.raise {
        kind = "file", operation = "read on " .. name, code = stat.type == "directory" and "EISDIR" or "EINVAL",
        message = ("%s is a %s, not a file"):format(path, stat.type),
      }
    end
    local max_bytes = options and options.max_bytes
    local response
    if stat.size == 0 then
      response = read_unsized(client, name, path, max_bytes)
    else
      response = find(client, name, path, { max_bytes = max_bytes })
    end
    if not response then return nil end
    if response.headers["x-incus-type"] == "file" then return response.body end
    path = response.body -- the absolute path that a link points to
  end
  error.raise { kind = "file", operation = "read on " .. name, code = "ELOOP", message = "too many links: " .. path }
end

---Writes a file. Verified by its size afterwards.
---@param client pgaf.incus.Client
---@param name string
---@param path string absolute; its folder exists
---@param content string
---@param options? { mode?: string, uid?: integer, gid?: integer } mode with a leading 0, default "0600"; for a new file
function files.write(client, name, path, content, options)
  local mode = options and options.mode or "0600"
  assert(mode:match "^0[0-7]+$", "a mode begins with 0: the server takes the base from it")
  local headers = {
    ["X-Incus-type"] = "file", ["X-Incus-write"] = "overwrite", ["X-Incus-mode"] = mode,
    ["X-Incus-uid"] = tostring(options and options.uid or 0), ["X-Incus-gid"] = tostring(options and options.gid or 0),
  }
  request(client, name, path, { method = "POST", headers = headers, body = "" })
  if content == "" then return end
  request(client, name, path, { method = "POST", headers = { ["X-Incus-type"] = "file" }, body = content })
  local stat = files.stat(client, name, path)
  if not stat or stat.size ~= #content then
    error.raise {
      kind = "file", operation = "write on " .. name, code = "size", outcome = "unknown",
      message = ("%s has %s bytes after %d were written"):format(path, tostring(stat and stat.size), #content),
    }
  end
end

---Removes a file or an empty directory.
---@return boolean changed false: it was not there
function files.remove(client, name, path)
  return find(client, name, path, { method = "DELETE" }) ~= nil
end

return files

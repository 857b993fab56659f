---@meta pgafrun.fs
-- Files, by libuv's thread pool; all but Lock:close wait. All raise kind "file" with code = errno name and the path in the message.
local fs = {}

---Also pipes and /proc. Raises kind "limit" when there is more than max_bytes.
---@param path string
---@param options? { max_bytes?: integer } default 64 MiB
---@return string
function fs.read(path, options) end

---Writes to a temporary name in the same directory, syncs, renames: the file is old or new, never half. mode default 0600 (octal number: tonumber("600", 8)).
---@param path string
---@param data string
---@param options? { mode?: integer, sync?: boolean } sync default true
function fs.write(path, data, options) end

---Appends and syncs (a journal line is on disk when this returns). Creates with mode 0600. What could not be written whole
---is taken back.
---@param path string
---@param data string
---@param options? { sync?: boolean } default true
function fs.append(path, data, options) end

---nil when it does not exist. Does not follow a link (fs.realpath does). mode: the permission bits alone.
---@param path string
---@return { type: "file"|"directory"|"link"|"socket"|"fifo"|"other", size: integer, mode: integer, uid: integer, gid: integer, mtime: number }?
function fs.stat(path) end

---@param path string
---@return string[] names sorted
function fs.list(path) end

---Parents too; nothing happens when it is there.
---@param path string
---@param mode? integer default 0700
function fs.mkdir(path, mode) end

---File, link or empty directory; nothing happens when it is not there.
---@param path string
function fs.remove(path) end

---The whole tree; nothing happens when it is not there. Refuses "/", "", "." and "..", does not follow links, and stops at
---another file system mounted inside (code EXDEV).
---@param path string
function fs.remove_tree(path) end

---@param from string
---@param to string
function fs.rename(from, to) end

---@param path string
---@param mode integer
function fs.chmod(path, mode) end

---@param path string
---@return string
function fs.realpath(path) end

---Makes a private directory (0700) below $TMPDIR or /tmp.
---@param prefix string
---@return string path
function fs.mkdtemp(prefix) end

---Takes an exclusive lock on the file (created 0600), held until close, or the end of the process however it ends. Never waits.
---`text` is written into it for whoever finds it locked.
---@param path string
---@param text string
---@return pgafrun.fs.Lock? lock, string? holder_text nil and the holder's text when somebody else has it
function fs.lock(path, text) end

---@class pgafrun.fs.Lock
local Lock = {}
---Gives the lock up. Also __close and __gc; idempotent.
function Lock:close() end

---A file without a name, for libraries that want a path of what this program has in memory. Other processes cannot find
---it, and nothing of it is left behind, however this one ends.
---@param data string
---@return pgafrun.fs.MemoryFile file to be closed
function fs.in_memory(data) end

---@class pgafrun.fs.MemoryFile
local MemoryFile = {}
---Where this process finds it; for nobody else.
---@return string
function MemoryFile:path() end
---The path is gone. Also __close and __gc; idempotent.
function MemoryFile:close() end

return fs

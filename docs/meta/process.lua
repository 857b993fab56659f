---@meta pgafrun.process
local process = {}

---@class pgafrun.process.Options
---@field [integer] string argv; argv[1] is looked up in the PATH of the child's environment
---@field env? table<string, string> replaces the environment entirely
---@field extend_env? table<string, string> added to the inherited one (either this or env)
---@field cwd? string
---@field stdin? string|function text, or a function that returns it (for secrets) and may wait. Default: /dev/null
---@field max_bytes? integer of stdout and stderr each, default 64 MiB
---@field timeout? number default 60; when it passes, or on cancellation, the child's process group gets SIGTERM, 2 s later SIGKILL
---@field umask? integer

---@class pgafrun.process.Exit
---@field code integer? exit status; nil when killed by a signal
---@field signal integer?
---@field stdout string
---@field stderr string
---@field seconds number

---Runs a program to its end, in a session of its own and with no descriptor of ours but its three. A non-zero exit is a
---result, not an error. Raises kind process (code ENOENT ...) when it cannot be started, limit when it prints more than
---max_bytes, timeout. A grandchild that keeps the output open after the program's exit is waited for one second.
---@param options pgafrun.process.Options
---@return pgafrun.process.Exit
function process.run(options) end

---@class pgafrun.process.Child
---@field pid integer
local Child = {}

---Starts a program that may outlive this one: own session (setsid), stdin /dev/null, stdout and stderr appended to the file
---output (created with mode 0600). Zombies are reaped by the runtime, also when nobody holds the Child any more.
---@param options { [integer]: string, env?: table, extend_env?: table, cwd?: string, output: string, umask?: integer }
---@return pgafrun.process.Child
function process.daemon(options) end

---Waits for the child's end.
---@param seconds? number 0: only look
---@return { code: integer?, signal: integer? }? nil when seconds passed
function Child:wait(seconds) end

---@param pid integer  negative: the process group; 0 and -1 are refused
---@param signal integer|string 9, "KILL", "TERM", 0 ...
---@return boolean ok, string? errno_name
function process.kill(pid, signal) end

---Own pid; effective user id; user name; host name; boot id (so that a pid in a lock file can be told from one of an earlier boot).
---@return { pid: integer, uid: integer, user: string, host: string, boot_id: string, start_time: string }
function process.self() end

---Start time of a process in clock ticks since boot (from /proc/PID/stat), as text; nil when there is none. Tells a reused pid.
---@param pid integer
---@return string?
function process.start_time(pid) end

---@param name string
---@return string?
function process.getenv(name) end

return process

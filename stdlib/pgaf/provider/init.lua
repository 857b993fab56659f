-- Providers make and break nodes. Which one it is, the inventory says.
--
--     local group <close> = task.group()
--     local provider <close> = require("pgaf.provider").open(inventory, group)

-- What every provider, node and service can do. A provider may do more, which its own file tells.

---@class pgaf.Provider
---@field kind "incus"|"local"
---@field formation string
---@field inventory table
---@field system_user string the OS user that PostgreSQL runs as
---@field entries table<string, table> monitor and data nodes of the inventory, by name
---@field check fun(self) raises, before anything is touched, when the formation cannot be made here
---@field can fun(self, capability: string): boolean, string? why not; "cut", "freeze", "snapshot", "systemd" ...
---@field lock fun(self, what: string, later?: boolean): pgaf.provider.Lock raises kind "locked" with who changes this
---formation; later: what of it is written for others to see is written by the lock's hold(), where it has one
---@field node fun(self, name: string): pgaf.Node a handle; asks nothing
---@field nodes fun(self): pgaf.Node[] those that exist and are of this formation
---@field events fun(self): table a stream; its `next(seconds)` tells { at, node, action }, or nil when they passed
---@field close fun(self) idempotent

---@class pgaf.Node
---@field name string
---@field hostname string the name or address that others know it by
---@field provider pgaf.Provider
---@field status fun(self): "absent"|"running"|"stopped"|"frozen"|"foreign"
---@field paths fun(self): table<string, string> where things are on it: pgdata, bindir, tls, pgpass ...
---@field environment fun(self): table<string, string> of PostgreSQL's user
---@field address fun(self): string IPv4
---@field known_address fun(self): string? the same; nil while it has none
---@field difference fun(self): string?, pgaf.Change[]? what launch would change; nil: nothing
---@field wait_until_ready fun(self) of one that runs: it has an address, and has booted
---@field launch fun(self): boolean, string? makes it, or makes sure that it is as declared and runs: changed, what
---@field start fun(self) power on; thaws one that is frozen
---@field stop fun(self, options?: { force?: boolean, timeout?: number }) force: at once, without warning
---@field freeze fun(self)
---@field thaw fun(self)
---@field delete fun(self) nothing happens when it does not exist; refuses what is not of this formation
---@field run fun(self, script: string, options?: pgaf.RunOptions): pgaf.RunResult a POSIX shell script
---@field exec fun(self, options: table): pgaf.RunResult one program: argv, and the fields of pgaf.RunOptions
---@field files fun(self, list: string[]): table<string, pgaf.FileDigest|false> false: it is no file
---@field push fun(self, path: string, content: string, options?: { mode?: string, user?: string }): boolean changed
---@field pull fun(self, path: string): string? also of a node that is stopped; nil: there is no such file
---@field service fun(self): pgaf.Service
---@field watch_death fun(self): fun(): number what it returns waits for the end of its processes, and tells time.now()

---@alias pgaf.FileDigest { sha256: string, mode: string, user: string, group: string }

---@class pgaf.RunOptions
---@field user? string default root, where there is one
---@field env? table<string, string> added to the user's own
---@field stdin? string|function
---@field timeout? number seconds
---@field check? boolean default true: raise kind "command" when it ends with another status than 0

---@alias pgaf.RunResult { code: integer, stdout: string, stderr: string }

---pg_autoctl on a node, under supervision.
---@class pgaf.Service
---@field is_installed fun(self): boolean
---@field install fun(self, options?: { description?: string }): boolean? changed; it starts when the node is powered on
---@field status fun(self): "running"|"stopped"|"failed", string? with a detail
---@field start fun(self, command?: string[]) what to run this one time instead of `run`: `create` with --run
---@field stop fun(self) asks it to end, and waits for that
---@field restart fun(self)
---@field disable fun(self) it starts no more when the node is powered on; stops nothing
---@field logs fun(self, lines?: integer): string the last lines
---@field entries fun(self, lines: integer): { at: number, text: string }[] with when each was written, wall clock
---@field follow fun(self, lines: integer): pgaf.LogStream the last lines, and then each as it is written

local provider = {}

local MODULES = { incus = "pgaf.provider.incus", ["local"] = "pgaf.provider.localhost" }

---Opens the inventory's provider; checks nothing (provider:check() does).
---@param inventory table as pgaf.inventory loads it
---@param group? pgafrun.Group for what goes on in the background while a lock is held; leave it after the provider
---@return pgaf.Provider
function provider.open(inventory, group)
  local kind = inventory.provider.kind
  local name = assert(MODULES[kind], "no provider of kind " .. tostring(kind))
  return require(name).open(inventory, group)
end

return provider

-- A file system in its place: in /etc/fstab, and mounted.
--
--     resource.mount { path = "/srv/db", device = "/dev/vdb1", fstype = "ext4", options = "noatime" }
--     resource.mount { path = "/run/scratch", device = "tmpfs", fstype = "tmpfs", options = "size=64m" }
--     resource.mount { path = "/srv/old", state = "absent" }
--
-- The folder is not made: that is resource.directory's. Options are those of fstab's line: when it changes, what is
-- mounted is mounted anew with them; and when they say "ro" or "rw" and it is not so. In a container, mounting is the
-- host's to permit.

local throw = error
local commands = require "pgaf.resource.commands"
local edit = require "pgaf.resource.edit"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.MountOptions
---@field path string absolute, on the node: where it is mounted
---@field device? string "/dev/vdb1", "UUID=...", "tmpfs", "server:/export"
---@field fstype? string "ext4", "xfs", "tmpfs", "nfs4", ...
---@field options? string default "defaults"
---@field dump? integer fstab's fifth field, default 0
---@field pass? integer fstab's sixth field, default 0
---@field state? "mounted"|"unmounted"|"present"|"absent" default "mounted": in fstab and mounted; "unmounted": in fstab
---and not mounted; "present": in fstab; "absent": neither

local FSTAB, MOUNTS = "/etc/fstab", "/proc/self/mounts"

-- Blanks in fstab's fields are written in octal.
local function escaped(text)
  return (text:gsub("[ \t\\]", function(c) return ("\\%03o"):format(c:byte()) end))
end

-- The line of the path in fstab, and all of its fields; nil when there is none.
local function find_line(text, path)
  for _, line in edit.lines(text) do
    local device, where, rest = line:match "^%s*([^#%s]%S*)%s+(%S+)%s+(.*)$"
    if where == escaped(path) then return line, device, rest end
  end
  return nil
end

-- fstab with the line (nil: without any) of that path.
local function with_line(text, path, wanted)
  local kept, done = {}, false
  for _, line in edit.lines(text) do
    if find_line(line, path) then
      if wanted and not done then kept[#kept + 1] = wanted end
      done = true
    else
      kept[#kept + 1] = line
    end
  end
  if wanted and not done then kept[#kept + 1] = wanted end
  return #kept > 0 and table.concat(kept, "\n") .. "\n" or ""
end

-- What is mounted there now: the last one hides the others.
local function mounted(text, path)
  local found
  for device, where, fstype, options in text:gmatch "(%S+) (%S+) (%S+) (%S+)[^\n]*\n" do
    if where == escaped(path) then
      found = { device = device, fstype = fstype, access = options:match "^r[ow]" }
    end
  end
  return found
end

-- Whether a word is among the options, which commas part.
local function says(options, word) return ("," .. options .. ","):find("," .. word .. ",", 1, true) ~= nil end

-- /dev/disk/by-label/x, /dev/vg/lv are links, UUID=... is another word: the kernel has a name of its own for these.
local function is_alias(device)
  return device:find "^%u+=" or device:find "^/dev/.*/" and not device:find "^/dev/mapper/"
end

local function make(options)
  local path, state = options.path:gsub("//+", "/"):gsub("(.)/$", "%1"), options.state
  local in_fstab = state ~= "absent"
  local line = in_fstab and ("%s\t%s\t%s\t%s\t%d\t%d"):format(escaped(options.device), escaped(path), options.fstype,
    escaped(options.options), options.dump, options.pass) or nil
  -- the kernel knows the place by the path that links lead to
  local made = {
    reads = {
      { "content", FSTAB }, { "content", MOUNTS }, { "file", FSTAB },
      { "sh", "place " .. path, script = "readlink -f -- " .. quote.sh(path) },
    },
  }
  local is_bind = in_fstab and (says(options.options, "bind") or says(options.options, "rbind"))
  local bound = is_bind and ("%s is %s"):format(path, options.device)
  if is_bind then
    table.insert(made.reads, {
      "sh", bound, script = ("[ %s -ef %s ]"):format(quote.sh(options.device), quote.sh(path)),
    })
  end

  local function fstab_differs(facts) return find_line(facts.content[FSTAB] or "", path) ~= line end

  -- Of a folder that is bound to another place, the kernel tells the file system that it is in. Where it has another
  -- name for the device, only the kind is compared.
  local function is_other(now, facts)
    if is_bind then return not facts.sh[bound] end
    return now.fstype ~= options.fstype or not is_alias(options.device) and now.device ~= options.device
  end

  local function has_other_access(now)
    local wanted = says(options.options, "ro") and "ro" or says(options.options, "rw") and "rw"
    return wanted and now.access ~= wanted
  end

  -- What is to be done about the mount itself.
  local function mount_work(facts)
    local real = facts.sh["place " .. path]
    local now = mounted(facts.content[MOUNTS] or "", real and real:match "^[^\n]+" or path)
    if state == "present" then return nil end
    if state ~= "mounted" then return now and "umount" or nil end
    if not now then return "mount" end
    if is_other(now, facts) then return "replace", now end
    return (fstab_differs(facts) or has_other_access(now)) and "remount" or nil, now
  end

  local WORDS = {
    umount = "is mounted", mount = "is not mounted", replace = "is mounted from elsewhere",
    remount = "has other options",
  }

  function made:probe(_, facts)
    local work, parts = mount_work(facts), {}
    if fstab_differs(facts) then
      parts[1] = ("the line of %s in %s %s"):format(path, FSTAB, in_fstab and "differs" or "is there")
    end
    if work then parts[#parts + 1] = ("%s %s"):format(path, WORDS[work]) end
    return #parts > 0 and table.concat(parts, ", ") or nil
  end

  function made:changes(_, facts)
    local list, text = {}, facts.content[FSTAB] or ""
    if fstab_differs(facts) then
      list[1] = { what = FSTAB, before = text, after = with_line(text, path, line) }
    end
    local work, now = mount_work(facts)
    if work == "remount" then
      list[#list + 1] = {
        what = path, before = ("mounted %s"):format(now.access), after = "mounted anew: " .. options.options,
      }
    elseif work then
      list[#list + 1] = {
        what = path,
        before = work == "umount" and "mounted" or now and ("%s (%s)"):format(now.device, now.fstype) or nil,
        after = work ~= "umount" and ("%s (%s)"):format(options.device, options.fstype) or nil,
      }
    end
    return list
  end

  local place = quote.sh(path)
  local COMMANDS = {
    umount = "umount " .. place, mount = "mount " .. place, remount = "mount -o remount " .. place,
    replace = ("umount %s && mount %s"):format(place, place),
  }

  local function write_fstab(target, facts, text)
    local file = facts.file[FSTAB]
    target.node:push(FSTAB, text, {
      mode = file and file.mode or "0644", user = "root", group = file and file.group or nil,
    })
  end

  function made:apply(target, _, facts)
    local text, work, differs = facts.content[FSTAB] or "", mount_work(facts), fstab_differs(facts)
    if differs then write_fstab(target, facts, with_line(text, path, line)) end
    if not work then return ("wrote the line of %s in %s"):format(path, FSTAB) end
    local ok, problem = pcall(commands.run, self, target, COMMANDS[work], {
      hint = "is its folder there? In a container the host has to permit the mount (incus config device add)",
    })
    if ok then return work == "umount" and "unmounted " .. path or "mounted " .. path end
    -- the next boot is not to fail over what could not be mounted now
    if differs then write_fstab(target, facts, text) end
    return throw(problem, 0)
  end

  return made
end

local field = schema.text { pattern = "[^\n]+", what = "a text of one line" }

return resource.define {
  kind = "mount",
  parameters = {
    path = { parameter.path, required = true },
    device = { field },
    fstype = { schema.text { pattern = "[%w_.-]+", what = "a kind of file system" } },
    options = { field, default = "defaults" },
    dump = { schema.integer(0, 1), default = 0 },
    pass = { schema.integer(0, 2), default = 0 },
    state = { schema.one_of("mounted", "unmounted", "present", "absent"), default = "mounted" },
  },
  words = { src = "device", opts = "options", passno = "pass", name = "path", type = "fstype" },
  name = function(options) return options.path end,
  check = function(options, report)
    if options.state == "absent" then return end
    if not options.device then report "device is missing" end
    if not options.fstype then report "fstype is missing" end
  end,
  make = make,
  also = { with_line = with_line, mounted = mounted },
}

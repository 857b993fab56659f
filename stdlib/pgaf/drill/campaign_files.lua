-- What a campaign leaves in a folder of its own: what each drill left, in FAULT-N; and beside those the whole, as
-- campaign.json, junit.xml and index.html. A folder that has earlier ones is added to.

local cases = require "pgaf.drill.cases"
local finish = require "pgaf.drill.finish"
local fs = require "pgafrun.fs"
local journal = require "pgaf.drill.journal"
local page = require "pgaf.drill.campaign_page"
local record = require "pgaf.drill.record"
local task = require "pgafrun.task"

local WRITE_SECONDS = 60

---@class pgaf.campaign.Files
---@field folder? string nil: nothing is kept
---@field inventory table
---@field counted table<string, integer> the last number of each fault
local Files = {}
Files.__index = Files

local files = {}

---@param folder? string
---@param inventory table
---@return pgaf.campaign.Files
function files.new(folder, inventory)
  return setmetatable({ folder = folder, inventory = inventory, counted = {} }, Files)
end

---Raises kind "file" when as many drills would not fit into the folder.
---@param runs integer
function Files:check_room(runs)
  if self.folder then record.check_room(self.folder, runs) end
end

local function next_name(self, fault)
  repeat
    self.counted[fault] = (self.counted[fault] or 0) + 1
  until not fs.stat(("%s/%s-%d"):format(self.folder, fault, self.counted[fault]))
  return ("%s-%d"):format(fault, self.counted[fault])
end

---Copies what a drill left. What cannot be written is told.
---@param result table
---@return string? name of its folder in this one
function Files:keep(result)
  if not self.folder then return nil end
  return task.shield(WRITE_SECONDS, function()
    local name = next_name(self, result.fault)
    local path = ("%s/%s"):format(self.folder, name)
    finish.write(path, function()
      if result.run then return record.copy(journal.folder(self.inventory) .. "/" .. result.run, path) end
      fs.mkdir(path)
      finish.write_json(path .. "/result.json", result)
    end)
    return name
  end)
end

local function write_page(path, result, base)
  fs.write(path, page.render(result, function(run)
    local own = run.folder and ("%s/%s/report.html"):format(base, run.folder)
    return own and fs.stat(own) and (path:match "^(.*)/" == base and run.folder .. "/report.html" or own) or nil
  end))
end

---Writes the whole, in the folder and where else it was asked for. What cannot be written is told.
---@param campaign pgaf.Campaign
---@param wanted { json?: string, report?: string, junit?: string }
---@return table result
function Files:finish(campaign, wanted)
  local result, base = campaign:result(), self.folder
  task.shield(WRITE_SECONDS, function()
    local function write(json, report, junit)
      finish.write(json, finish.write_json, result)
      finish.write(report, write_page, result, base)
      finish.write(junit, cases.write, "campaign on " .. campaign.formation, campaign:suites(), result.seconds)
    end
    if base then write(base .. "/campaign.json", base .. "/index.html", base .. "/junit.xml") end
    write(wanted.json, wanted.report, wanted.junit)
  end)
  return result
end

return files

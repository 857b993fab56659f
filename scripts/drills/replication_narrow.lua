-- The line from the primary to its standbys is narrow: what is written faster than it goes through waits in a queue.

local NARROW = { kilobits = 256 }

return {
  title = "the line to the standbys is narrow",
  hypothesis = "Writes become as slow as the line, and go on; the primary stays primary.",
  promotion = "never",
  writes = "continue",
  needs = { "cut" },
  observe = 20,
  possible = function(drill) return drill.primary:cannot_slow(NARROW) end,

  run = function(drill)
    drill:breaks(drill.primary, "heal", nil, function(node)
      node:slow { towards = drill:names(drill.standbys), line = NARROW }
    end)
  end,
}

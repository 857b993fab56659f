-- What the primary sends to its standbys is slow and some of it is lost, as on a bad line between two sites.

local SLOW = { delay = 50, jitter = 10, loss = 1 }

return {
  title = "the line to the standbys is slow and lossy",
  hypothesis = "Writes are slow, and go on; the primary stays primary.",
  promotion = "never",
  writes = "continue",
  needs = { "cut" },
  observe = 20,
  possible = function(drill) return drill.primary:cannot_slow(SLOW) end,

  run = function(drill)
    drill:breaks(drill.primary, "heal", nil, function(node)
      node:slow { towards = drill:names(drill.standbys), line = SLOW }
    end)
  end,
}

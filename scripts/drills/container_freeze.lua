-- The primary's container is frozen: to its peers it has gone silent, and no socket is closed. When it is thawed it
-- still believes that it is the primary.

return {
  title = "the primary's container is frozen, and thawed",
  hypothesis = "The monitor gives the silent primary up and a standby is promoted. Thawed, the old primary takes no " ..
    "write that the new one does not have, and comes back as a standby.",
  promotion = "must",
  writes = "resume",
  needs = { "freeze" },

  run = function(drill)
    drill:breaks(drill.primary, "thaw", nil, function(node) node:freeze() end)
  end,
}

-- The primary's container is stopped by force: all its processes die at once, and the kernel closes their sockets.

return {
  title = "the primary's container is killed",
  hypothesis = "The monitor gives the primary up, a standby is promoted, and clients write again within the budget. " ..
    "When the container runs again its data is rewound, and it follows the new primary.",
  promotion = "must",
  writes = "resume",

  run = function(drill)
    drill:kills(drill.primary)
  end,
}

-- pg_autoctl on the primary is stopped in order, with its PostgreSQL: what an operator does who forgot to switch over.

return {
  title = "the primary's service is stopped in order",
  hypothesis = "The monitor gives the primary up when it has not reported for long enough, and a standby that has " ..
    "all of its data is promoted.",
  promotion = "must",
  writes = "resume",

  run = function(drill)
    drill:breaks(drill.primary, "service", nil, function(node) node:service():stop() end)
  end,
}

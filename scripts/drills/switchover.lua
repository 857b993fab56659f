-- Nothing breaks: the primary's role is moved on request, as for maintenance.

return {
  title = "switchover on request",
  hypothesis = "Writes stand still for seconds only, nothing is lost, and the old primary follows the new one.",
  promotion = "must",
  writes = "resume",
  planned = true,

  run = function(drill)
    drill:breaks(drill.primary, "start", nil, function() drill:promote(drill.standbys[1].name) end)
  end,
}

-- What a step found out is a value for later ones; a step is tried until its value is right; `when` leaves it out.

local here = require "pgaf.here"
local play = require "pgaf.play"

local p = play.new { title = "Results", targets = { here.target "a", here.target "b" } }

-- A function instead of a resource: it returns a value. It only reads, so check mode runs it as well.
p:step { "count", check_safe = true, run = function(target) return #target.name * 21 end }

local asked = 0
p:step {
  "answer", on = "a", needs = { play.everywhere "count" }, retries = 5, delay = 0.01, check_safe = true,
  until_ = function(value) return value == 42 end,
  run = function(_, results)
    asked = asked + 1
    return asked < 3 and "not yet" or results.count + results:of("count", "b")
  end,
}

p:step {
  "only with an answer", on = "a", needs = "answer",
  when = function(_, results) return results.answer == 42, "there is no answer" end,
  run = function(_, results)
    print(("the answer is %d, after %d attempts"):format(results.answer, asked))
  end,
}

return play.main(p, {})

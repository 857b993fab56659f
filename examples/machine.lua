-- What a machine is: operating system, size, addresses, packages and PostgreSQL, asked in one round trip.

local here = require "pgaf.here"

local machine = here.target().facts:machine { "libc6" }
print(("%s (%s), %d processors"):format(machine.os.name, machine.architecture, machine.cpus))
print("packages known: " .. (next(machine.packages) and "some" or "none"))

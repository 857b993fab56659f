"""Runs `pgafrun watch` on a pseudo-terminal and measures it: watch.py IDLE_SECONDS SAMPLES PGAFRUN -i INVENTORY.

The screen's bytes are read here; the notifications are sent by another pgafrun, which prints when it sends each.
"""
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

NOTIFY = """
local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local json = require "pgafrun.json"
local providers = require "pgaf.provider"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local args, inventory = cli.parse({ name = "notify", description = "-" }, function(parser)
  parser:argument "samples"
end, ...)
local provider <close> = providers.open(inventory)
local reach <close> = connect.open(provider, inventory)
local connection <close> = reach:monitor "bench"
for i = 1, tonumber(args.samples) do
  -- a state that no node has: the next look at the table takes it back
  local payload = json.encode {
    type = "state", formation = inventory.formation_id, name = inventory.nodes[1].name, health = "good",
    reportedState = ("sample_%d_"):format(i), goalState = "primary",
  }
  local at = time.wall()
  connection:query("select pg_notify('state', $1)", { payload })
  print(i, ("%.6f"):format(at))
  io.stdout:flush()
  task.sleep(0.7)
end
"""


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid, which):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(which + ":"):
                return int(line.split()[1]) / 1024
    raise SystemExit("no " + which)


def take(master, seconds, found):
    """Reads the screen for a time; calls found(text, when) for each part."""
    until = time.time() + seconds
    while (left := until - time.time()) > 0:
        if select.select([master], [], [], left)[0]:
            found(os.read(master, 65536).decode("utf-8", "replace"), time.time())


def main():
    idle, samples, command = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(command[0], command + ["watch"])
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    take(master, 6, lambda text, at: None)
    before, began, size = cpu_seconds(pid), time.time(), [0]
    take(master, idle, lambda text, at: size.__setitem__(0, size[0] + len(text)))
    share = (cpu_seconds(pid) - before) / (time.time() - began) * 100
    print(f"idle: time of a core     {share:12.2f} %       x {share / 1:.2f} of the 1 % allowed ({idle:.0f} s)")
    print(f"idle: written            {size[0] / idle:12.0f} bytes a second")
    rss, peak = memory_mb(pid, "VmRSS"), memory_mb(pid, "VmHWM")
    print(f"memory                   {rss:12.1f} MB      x {rss / 20:.2f} of the 20 MB allowed (peak {peak:.1f} MB)")
    script = f"/tmp/pgafrun-bench-notify-{os.getpid()}.lua"
    with open(script, "w", encoding="ascii") as file:
        file.write(NOTIFY)
    seen, sent, told = {}, {}, ""

    def found(text, at):
        for i in range(1, samples + 1):
            if f"sample_{i}_" in text:
                seen.setdefault(i, at)

    with subprocess.Popen(command + [script, str(samples)], stdout=subprocess.PIPE, text=True) as notifier:
        while notifier.poll() is None:
            take(master, 0.2, found)
        told = notifier.stdout.read()
    os.unlink(script)
    take(master, 0.5, found)
    for line in told.splitlines():
        i, at = line.split()
        sent[int(i)] = float(at)
    delays = sorted(seen[i] - sent[i] for i in sent if i in seen)
    if not delays:
        raise SystemExit("no notification was seen on the screen")
    median, worst = delays[len(delays) // 2] * 1000, delays[-1] * 1000
    print(f"NOTIFY to screen         {median:12.1f} ms      x {median / 100:.2f} of the 100 ms allowed"
          f" (median of {len(delays)} of {len(sent)}; worst {worst:.1f} ms)")
    os.write(master, b"q")
    take(master, 1, lambda text, at: None) if os.waitpid(pid, os.WNOHANG)[0] == 0 else None


if __name__ == "__main__":
    try:
        main()
    except OSError as e:  # the terminal's other end is closed: watch has ended
        if e.errno != 5:
            raise

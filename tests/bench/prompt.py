#!/usr/bin/env python3
"""The prompt on a pseudo-terminal, beside its limits: ready in 50 ms, a key's echo while 1,000 lines a second arrive,
and what its memory does meanwhile. PGAFRUN_BENCH_SECONDS (default 20) is how long that goes on: 28800 for a soak."""
import os
import pty
import re
import select
import signal
import tempfile
import time

PGAFRUN = os.environ.get("PGAFRUN", "build/pgafrun")
STATE = tempfile.mkdtemp()  # no history of anybody's
SECONDS = float(os.environ.get("PGAFRUN_BENCH_SECONDS", "20"))
NOISE = (b"background(function() local n = 0 while true do for i = 1, 10 do n = n + 1 "
         b"print('line number ' .. n .. ' of those that come') end task.sleep(0.01) end end)\r")


class Prompt:
    def __init__(self):
        began = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", LANG="C.UTF-8", XDG_STATE_HOME=STATE)
            os.execvp(PGAFRUN, [PGAFRUN, "-q", "repl"])
        self.until(b"pgafrun> ")
        self.ready = time.monotonic() - began

    def until(self, wanted):
        text = b""
        while wanted not in text:
            text += os.read(self.fd, 1 << 16)

    def drain(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                os.read(self.fd, 1 << 16)

    def echo(self, key):
        while select.select([self.fd], [], [], 0)[0]:
            os.read(self.fd, 1 << 16)
        began = time.monotonic()
        os.write(self.fd, key)
        self.until(key)
        return time.monotonic() - began

    def memory(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024

    def close(self):
        os.kill(self.pid, signal.SIGTERM)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def median(values):
    return sorted(values)[len(values) // 2]


def main():
    ready = []
    for _ in range(15):
        prompt = Prompt()
        ready.append(prompt.ready * 1000)
        prompt.close()
    print(f"prompt ready             {median(ready):12.1f} ms      x {median(ready) / 50:.2f} of the 50 ms allowed")
    prompt = Prompt()
    os.write(prompt.fd, NOISE)
    prompt.drain(3)
    before, end, echoes = prompt.memory(), time.monotonic() + SECONDS, []
    while time.monotonic() < end:
        echoes.append(prompt.echo(b"QZ"[len(echoes) % 2:][:1]) * 1000)
        prompt.drain(0.2)
        os.write(prompt.fd, b"\x7f")
        prompt.drain(0.05)
    print(f"echo at 1,000 lines/s    {median(echoes):12.1f} ms      worst of {len(echoes)}: {max(echoes):.1f} ms")
    print(f"memory after {SECONDS:6.0f} s    {prompt.memory():12.1f} MB      {prompt.memory() - before:+.1f} MB since its start")
    prompt.close()


main()

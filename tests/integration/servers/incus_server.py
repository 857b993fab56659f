#!/usr/bin/env python3
"""A small Incus server on a unix socket, as 6.0.4 answers, that misbehaves as it is told.

usage: incus_server.py PATH
It prints "ready" and serves. Instances are entries in a table; commands run as ordinary processes of this machine.

PUT /fake {"name": value, ...} sets faults:
  envelope        "garbage" | "html" | "stall" | "reset": GET /1.0/instances/NAME answers so, once
  wait            "error": a wait answers 200 with an error inside; "short": a wait ends before the operation
  vanish          finished operations are forgotten at once
  suffix          operation URLs end in ?project=default
  refuse          "start" etc.: a state change fails as if it were so already, and ...
  refuse_but_do   ... is made nevertheless
  dies_at_boot    an instance that is started is stopped right after
  dawdle          seconds that an operation takes
  truncate        bytes of stdout after which all sockets of a command are cut
  late_control    the control socket is refused
  no_socket       this stream of a command ("0", "1", ...) is never answered
  meddle          number of times that an instance changes between a GET and the PATCH that follows
  taken           creation fails because the name is taken; "by_us": an instance of ours is there then
  address_after   number of GETs of the state before an address is there
  cut_commands    all sockets of running commands are cut now; cut_listeners: those of events
  drop_events     the next event connections are cut after their first ping
GET /fake tells the counts of what was asked.
"""
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid

from incus_wire import BINARY, CLOSE, TEXT, Peer, Refusal, Request

lock = threading.RLock()
faults, counts, instances, operations, files, listeners = {}, {}, {}, {}, {}, []


def count(name):
    with lock:
        counts[name] = counts.get(name, 0) + 1


def once(name):
    """Takes one use of a fault: a number counts down, anything else is used up at once."""
    with lock:
        value = faults.get(name)
        if not value:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            faults[name] = value - 1
        else:
            del faults[name]
        return value


# ---------------------------------------------------------------------------------------------------------- operations

class Operation:
    def __init__(self, work=None, kind="task", metadata=None, instance=None):
        self.id, self.done = str(uuid.uuid4()), threading.Event()
        self.fields = {"id": self.id, "class": kind, "status_code": 103, "err": "", "may_cancel": False,
                       "metadata": metadata or {}, "description": "Some work"}
        if instance:
            self.fields["resources"] = {"instances": ["/1.0/instances/" + instance]}
        with lock:
            operations[self.id] = self
        if work:
            threading.Thread(target=self.run, args=(work,), daemon=True).start()

    def run(self, work):
        time.sleep(faults.get("dawdle", 0))
        try:
            work()
            self.finish()
        except Refusal as refusal:
            self.finish(refusal)

    def finish(self, refusal=None):
        with lock:
            self.fields["status_code"] = 400 if refusal else 200
            if refusal:
                self.fields["err"] = refusal.text
                self.code = refusal.code
            if faults.get("vanish"):
                operations.pop(self.id, None)
        self.done.set()

    def answer(self, request):
        url = "/1.0/operations/" + self.id + ("?project=default" if faults.get("suffix") else "")
        request.envelope(202, [("Location", url)], type="async", status_code=100, operation=url, metadata=self.fields)


def operations_by_status(request):
    with lock:
        names = {103: "running", 200: "success", 400: "failure"}
        found = {}
        for operation in operations.values():
            found.setdefault(names[operation.fields["status_code"]], []).append(operation.fields)
    return request.sync(found)


def operation_request(request):
    if len(request.parts) == 2:
        return operations_by_status(request)
    operation = operations.get(request.parts[2])
    if not operation:
        raise Refusal(404, "Operation not found")
    if len(request.parts) == 3 and request.method == "DELETE":
        count("cancel")
        raise Refusal(400, "This operation can't be cancelled")
    if len(request.parts) == 3:
        return request.sync(operation.fields)
    if request.parts[3] == "websocket":
        return operation.connect(request)
    seconds = int(request.query.get("timeout", "-1"))
    fault = faults.get("wait")
    if fault == "short":
        time.sleep(0.05)
    elif not operation.done.wait(None if seconds < 0 else seconds):
        return request.refuse(500, "context deadline exceeded", 200)
    if fault or operation.fields["status_code"] == 400:
        text = operation.fields["err"] or "context deadline exceeded"
        return request.refuse(getattr(operation, "code", 500), text, 200)
    if operation.id not in operations:
        raise Refusal(404, "Operation not found")
    return request.sync(operation.fields)


# ---------------------------------------------------------------------------------------------------------- commands

class Command(Operation):
    """A process with four websockets; started when 0, 1 and 2 are there."""

    def __init__(self, body, instance):
        self.body, self.instance, self.sockets, self.gate = body, instance, {}, threading.Lock()
        self.process, self.cut = None, False
        streams = body.get("wait-for-websocket")
        names = ["0", "1", "2", "control"] if streams else []
        self.secrets = {name: uuid.uuid4().hex for name in names}
        super().__init__(kind="websocket", metadata={"fds": dict(self.secrets)})
        with lock:
            instance["commands"].append(self)
        if not streams:
            threading.Thread(target=self.start, daemon=True).start()

    def connect(self, request):
        name = next((n for n, secret in self.secrets.items() if secret == request.query.get("secret")), None)
        if not name:
            raise Refusal(403, "Permission denied")
        if faults.get("no_socket") == name:
            time.sleep(60)
        if name == "control" and faults.get("late_control"):
            raise Refusal(500, "Only running operations can be connected")
        request.upgrade()
        with self.gate:
            self.sockets[name] = request.peer
            if self.process is None and all(n in self.sockets for n in "012"):
                self.process = False
                threading.Thread(target=self.start, daemon=True).start()
        self.feed(name, request.peer)

    def feed(self, name, peer):
        try:
            while True:
                opcode, data = peer.message()
                if opcode == CLOSE:
                    break
                if name == "0" and opcode in (TEXT, BINARY):
                    while not self.process:
                        time.sleep(0.001)
                    if opcode == TEXT:
                        self.process.stdin.close()
                        continue
                    self.process.stdin.write(data)
                    self.process.stdin.flush()
        except (EOFError, OSError, ValueError):
            pass
        if name == "control":
            self.kill()

    def kill(self):
        if self.process:
            try:
                os.kill(self.process.pid, signal.SIGKILL)
            except OSError:
                pass

    def start(self):
        streams = bool(self.secrets)
        pipe = subprocess.PIPE if streams else subprocess.DEVNULL
        environment = {"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8"}
        environment.update(self.body.get("environment") or {})
        try:
            self.process = subprocess.Popen(self.body["command"], stdin=pipe, stdout=pipe, stderr=pipe,
                                            env=environment, cwd="/")
        except OSError:
            self.fields["metadata"]["return"] = 127
            self.end(Refusal(400, "Command not found"))
            return
        pumps = []
        for name, stream in (("1", self.process.stdout), ("2", self.process.stderr)) if streams else ():
            pumps.append(threading.Thread(target=self.pump, args=(name, stream), daemon=True))
        for pump in pumps:
            pump.start()
        status = self.process.wait()
        for pump in pumps:
            pump.join(1)
        self.fields["metadata"]["return"] = status if status >= 0 else 128 - status
        self.end(Refusal(400, "Command not found") if status == 127 else None)

    def pump(self, name, stream):
        allowed = faults.get("truncate")
        try:
            while True:
                data = os.read(stream.fileno(), 32768)
                if not data:
                    return
                if allowed is not None and name == "1":
                    self.sockets[name].frame(BINARY, data[:allowed])
                    self.cut = True
                    for peer in list(self.sockets.values()):
                        peer.cut()
                    return
                self.sockets[name].frame(BINARY, data)
        except OSError:
            pass

    def end(self, refusal):
        with lock:
            if self in self.instance["commands"]:
                self.instance["commands"].remove(self)
        for name in "12":
            try:
                if name in self.sockets and not self.cut:
                    self.sockets[name].frame(TEXT)
            except OSError:
                pass
        self.finish(refusal)
        for peer in list(self.sockets.values()):
            peer.cut()


# ---------------------------------------------------------------------------------------------------------- instances

def emit(action, name):
    event = {"type": "lifecycle", "metadata": {"action": action, "name": name, "source": "/1.0/instances/" + name,
                                               "requestor": {"username": "root"}}}
    for peer in list(listeners):
        try:
            peer.frame(TEXT, json.dumps(event).encode())
        except OSError:
            listeners.remove(peer)


def etag_of(instance):
    shown = {key: instance[key] for key in ("config", "devices")}
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def shown(name, instance):
    fields = {key: instance[key] for key in ("status", "config", "devices", "profiles")}
    fields.update(name=name, status_code=103 if instance["status"] == "Running" else 102)
    return fields


def create(body):
    name = body["name"]
    for value in body.get("config", {}).values():
        if not isinstance(value, str):
            raise Refusal(400, "config values are strings")

    def work():
        taken = once("taken")
        if name in instances or taken:
            if taken == "by_us":
                instances[name] = made()
            elif taken:
                instances[name] = dict(made(), config={})
            raise Refusal(500, "UNIQUE constraint failed: instances.project_id, instances.name")
        if body["source"].get("alias") == "none/such":
            raise Refusal(404, "Image not provided for instance creation")
        instances[name] = made()
        emit("instance-created", name)

    def made():
        return {"status": "Stopped", "config": dict(body.get("config") or {}), "devices": body.get("devices") or {},
                "profiles": body.get("profiles"), "commands": [], "snapshots": {}, "asked": 0}
    return Operation(work, instance=name)


ACTIONS = {"start": ("Stopped", "Running", "instance-started"), "stop": (None, "Stopped", "instance-stopped"),
           "freeze": ("Running", "Frozen", "instance-paused"), "unfreeze": ("Frozen", "Running", "instance-resumed")}


def change_state(name, instance, body):
    before, after, event = ACTIONS[body["action"]]
    count(body["action"] + (" force" if body.get("force") else ""))

    def work():
        refused = faults.get("refuse") == body["action"]
        if refused and faults.get("refuse_but_do"):
            instance["status"] = after
        if refused or instance["status"] == after or (before and instance["status"] != before):
            raise Refusal(500, "The instance is already " + instance["status"].lower())
        if body["action"] == "stop" and not body.get("force") and faults.get("deaf"):
            raise Refusal(500, 'Failed shutting down instance, status is "Running": context deadline exceeded')
        instance["status"] = "Stopped" if faults.get("dies_at_boot") and after == "Running" else after
        if after == "Stopped":
            commands = list(instance["commands"])
            for command in commands:
                command.kill()
            for command in commands:
                command.done.wait(5)  # a stop is over when all its processes are
        if after == "Running":
            instance["asked"] = 0
        emit(event, name)
    return Operation(work, instance=name)


def state_of(instance):
    instance["asked"] += 1
    addresses = [{"family": "inet6", "address": "fe80::1", "scope": "link"}]
    if instance["asked"] > faults.get("address_after", 0):
        addresses.append({"family": "inet", "address": "10.9.8.7", "scope": "global"})
    network = {"eth0": {"addresses": addresses, "state": "up"}} if instance["status"] == "Running" else None
    return {"status": instance["status"], "network": network}


def misbehave(request):
    fault = once("envelope")
    if fault == "garbage":
        request.answer(200, b'{"type":"sync","metadata":')
    elif fault == "html":
        request.answer(502, b"<html>Bad Gateway</html>")
    elif fault == "stall":
        time.sleep(60)
    elif fault == "reset":
        request.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise EOFError
    return fault


def patch(request, instance):
    if once("meddle"):
        instance["config"]["user.meddled"] = uuid.uuid4().hex
    if request.headers.get("if-match") not in (None, etag_of(instance)):
        raise Refusal(412, "ETag doesn't match")
    body = request.json()
    for key, value in (body.get("config") or {}).items():
        if value == "":
            instance["config"].pop(key, None)
        else:
            instance["config"][key] = value
    instance["devices"].update(body.get("devices") or {})
    request.sync(None)


def file_request(request, name):
    path = (name, request.query["path"])
    found = files.get(path)
    if request.method == "POST":
        if request.headers.get("content-type") != "application/octet-stream":
            files[path] = {"body": b"", "mode": "0644", "type": "file"}
            return request.sync(None)
        mode = found["mode"] if found else request.headers.get("x-incus-mode", "0644")
        files[path] = {"body": request.body, "mode": mode, "type": "file"}
        return request.sync(None)
    if not found:
        raise Refusal(404, "Not Found")
    if request.method == "DELETE":
        del files[path]
        return request.sync(None)
    if found["type"] == "fifo" and request.method == "GET":
        time.sleep(60)
    kind = "file" if found["type"] == "fifo" else found["type"]
    headers = [("X-Incus-type", kind), ("X-Incus-mode", found["mode"]), ("X-Incus-uid", "0"),
               ("X-Incus-gid", "0")]
    return request.answer(200, found["body"], headers)


def snapshot_request(request, instance):
    name = request.parts[4] if len(request.parts) > 4 else None
    if name is None and request.method == "POST":
        name = request.json()["name"]
        return Operation(lambda: instance["snapshots"].update({name: dict(instance["config"])})).answer(request)
    if name is None:
        return request.sync([{"name": snapshot} for snapshot in instance["snapshots"]])
    if name not in instance["snapshots"]:
        raise Refusal(404, "Instance snapshot not found")
    if request.method == "DELETE":
        return Operation(lambda: instance["snapshots"].pop(name)).answer(request)
    return request.sync({"name": name})


def remove(name, instance):
    def work():
        if instance["status"] != "Stopped":
            raise Refusal(400, "Instance is running")
        del instances[name]
        emit("instance-deleted", name)
    return Operation(work, instance=name)


def restore(instance, name):
    def work():
        if name not in instance["snapshots"]:
            raise Refusal(404, "Instance snapshot not found")
        instance["config"] = dict(instance["snapshots"][name])
    return Operation(work)


def instance_request(request):
    name = request.parts[2]
    instance = instances.get(name)
    if not instance:
        raise Refusal(404, "Instance not found")
    what = request.parts[3] if len(request.parts) > 3 else None
    if what == "state" and request.method == "GET":
        return request.sync(state_of(instance))
    if what == "state":
        return change_state(name, instance, request.json()).answer(request)
    if what == "console":
        return request.answer(200, b"Welcome\r\n\x1b[0;31mExiting PID 1...\x1b[0m\r\n")
    if what == "exec":
        count("exec")
        if instance["status"] != "Running":
            raise Refusal(400, "Instance is not running")
        return Command(request.json(), instance).answer(request)
    if what == "files":
        return file_request(request, name)
    if what == "snapshots":
        return snapshot_request(request, instance)
    if request.method == "PATCH":
        return patch(request, instance)
    if request.method == "DELETE":
        return remove(name, instance).answer(request)
    if request.method == "PUT":
        return restore(instance, request.json()["restore"]).answer(request)
    count("get instance")
    if misbehave(request):
        return None
    return request.sync(shown(name, instance), etag_of(instance))


# ---------------------------------------------------------------------------------------------------------- the rest

def event_request(request):
    request.upgrade()
    if once("drop_events"):
        request.peer.cut()
        raise EOFError
    listeners.append(request.peer)
    count("listen")
    while request.peer.message()[0] != CLOSE:
        pass
    raise EOFError


ROOT = {"api_extensions": ["instance_create_start"], "auth": "trusted",
        "environment": {"server": "incus", "server_version": "6.0.4"}}
DEVICES = {"root": {"type": "disk", "path": "/", "pool": "default"},
           "eth0": {"type": "nic", "name": "eth0", "network": "br0"}}


def fake_request(request):
    with lock:
        if request.method == "PUT":
            body = request.json()
            for peer in list(listeners) if body.pop("cut_listeners", None) else ():
                peer.cut()
            for instance in instances.values() if body.pop("cut_commands", None) else ():
                for command in instance["commands"]:
                    command.cut = True
                    for socket_of in list(command.sockets.values()):
                        socket_of.cut()
            for name, text in body.pop("add_files", {}).items():
                instance, _, path = name.partition(":")
                files[(instance, path)] = dict(text, body=text["body"].encode())
            instances.update(body.pop("add_instances", {}))
            faults.clear()
            faults.update(body)
        request.sync(counts)


def handle(request):
    parts = request.parts
    if parts[0] == "fake":
        return fake_request(request)
    if parts == ["1.0"]:
        return request.sync(dict(ROOT, auth=faults.get("auth", "trusted")))
    if parts[:2] == ["1.0", "operations"]:
        return operation_request(request)
    if parts[:2] == ["1.0", "events"]:
        return event_request(request)
    if parts == ["1.0", "instances"] and request.method == "POST":
        return create(request.json()).answer(request)
    if parts == ["1.0", "instances"]:
        return request.sync([shown(name, instance) for name, instance in instances.items()])
    if parts[:2] == ["1.0", "instances"]:
        return instance_request(request)
    if parts == ["1.0", "profiles", "default"]:
        return request.sync({"devices": DEVICES})
    if parts == ["1.0", "images", "aliases", "debian/12"]:
        return request.sync({"target": "0123456789ab"})
    raise Refusal(404, "not found")


def serve(sock):
    peer = Peer(sock)
    try:
        while True:
            request = Request(peer)
            try:
                handle(request)
            except Refusal as refusal:
                request.refuse(refusal.code, refusal.text)
    except (EOFError, OSError):
        pass
    finally:
        sock.close()


def main():
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen(64)
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""An HTTP and websocket server that does as the request's path says, well or badly.

usage: http_server.py unix PATH | tcp | tls CERT KEY [CLIENT_CA]
It prints one line, "ready PORT" (0 for a unix socket), and serves until standard input or the process ends.
"""
import base64
import hashlib
import os
import socket
import ssl
import struct
import sys
import threading
import time

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
counts = {}
kept = []
lock = threading.Lock()


def count(name):
    with lock:
        counts[name] = counts.get(name, 0) + 1
        return counts[name]


class Peer:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def read(self, n):
        while len(self.buffer) < n:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            self.buffer += more
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_to(self, mark):
        while mark not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            self.buffer += more
        data, _, self.buffer = self.buffer.partition(mark)
        return data

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def stall(self):
        while self.sock.recv(65536):
            pass


class Request:
    def __init__(self, peer):
        lines = peer.read_to(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ", 2)
        self.path, _, self.query = self.target.partition("?")
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self.body = peer.read(int(self.headers.get("content-length", "0")))


def answer(peer, status, body, headers=()):
    head = "HTTP/1.1 %s\r\nContent-Length: %d\r\n" % (status, len(body))
    for name, value in headers:
        head += "%s: %s\r\n" % (name, value)
    peer.sock.sendall(head.encode() + b"\r\n" + body)


# ---------------------------------------------------------------------------------------------------------- plain HTTP


def echo(peer, request):
    headers = [("X-Method", request.method), ("X-Target", request.target), ("A", "1"), ("a", "2")]
    headers += [("Echo-" + name, value) for name, value in request.headers.items()]
    answer(peer, "200 OK", request.body, headers)


def status(peer, request):
    answer(peer, request.path.rsplit("/", 1)[1] + " As Asked", b"{}")


def redirect(peer, request):
    answer(peer, "307 Elsewhere", b"", [("Location", "/echo")])


def slowly(peer, request):
    for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n":
        peer.sock.sendall(bytes([byte]))


def stall(peer, request):
    peer.stall()
    raise EOFError


def half(peer, request):
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    raise EOFError


def garbage(peer, request):
    peer.sock.sendall(b"220 mail.example ESMTP\r\n")
    raise EOFError


def large(peer, request):
    answer(peer, "200 OK", b"x" * int(request.query))


def counted(peer, request):
    answer(peer, "200 OK", b"%d" % count(request.path))


def drop(peer, request):
    count(request.path)
    raise EOFError


def third_time(peer, request):
    """Busy twice; then it keeps what it is sent, which /kept tells."""
    if count(request.path) < 3:
        return answer(peer, "503 Busy", b"")
    with lock:
        kept[:] = [request.headers.get("idempotency-key", ""), request.body.decode()]
    answer(peer, "204 Kept", b"")


def tell_kept(peer, request):
    with lock:
        answer(peer, "200 OK", "\n".join(kept).encode())


def how_often(peer, request):
    with lock:
        answer(peer, "200 OK", b"%d" % counts.get(request.query, 0))


# ---------------------------------------------------------------------------------------------------------- websockets


def frame(opcode, data=b"", fin=True):
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(data) < 126:
        head += bytes([len(data)])
    elif len(data) < 65536:
        head += struct.pack(">BH", 126, len(data))
    else:
        head += struct.pack(">BQ", 127, len(data))
    return head + data


def read_frame(peer):
    first, second = peer.read(2)
    size = second & 127
    if size == 126:
        (size,) = struct.unpack(">H", peer.read(2))
    elif size == 127:
        (size,) = struct.unpack(">Q", peer.read(8))
    mask = peer.read(4) if second & 128 else b"\0\0\0\0"
    data = peer.read(size)
    long_mask = (mask * (size // 4 + 1))[:size]
    data = (int.from_bytes(data, "big") ^ int.from_bytes(long_mask, "big")).to_bytes(size, "big")
    return first & 15, data


def upgrade(request):
    accept = base64.b64encode(hashlib.sha1(request.headers["sec-websocket-key"].encode() + MAGIC).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )


def ws_echo(peer, request):
    peer.sock.sendall(upgrade(request) + frame(PING, b"keepalive"))
    while True:
        opcode, data = read_frame(peer)
        if opcode == CLOSE:
            peer.sock.sendall(frame(CLOSE, data))
            raise EOFError
        if opcode in (TEXT, BINARY):
            peer.sock.sendall(frame(opcode, data))


def ws_exec(peer, request):
    """As Incus ends a stream: data, an empty text frame, and a cut without a close frame."""
    peer.sock.sendall(upgrade(request))
    for i in range(64):
        peer.sock.sendall(frame(BINARY, bytes([i]) * 32768))
    peer.sock.sendall(frame(TEXT))
    raise EOFError


def ws_pong(peer, request):
    """Says whether a ping is answered while the script does not read."""
    peer.sock.sendall(upgrade(request) + frame(PING, b"are you there"))
    opcode, data = read_frame(peer)
    peer.sock.sendall(frame(TEXT, b"%d %s" % (opcode, data)))
    peer.stall()
    raise EOFError


def ws_close(peer, request):
    peer.sock.sendall(upgrade(request) + frame(TEXT, b"bye") + frame(CLOSE, struct.pack(">H", 1000)))
    peer.stall()
    raise EOFError


def ws_reset(peer, request):
    peer.sock.sendall(upgrade(request) + frame(TEXT, b"bye"))
    time.sleep(0.05)
    peer.reset()
    raise EOFError


def ws_masked(peer, request):
    peer.sock.sendall(upgrade(request) + b"\x81\x81mask\x00")
    peer.stall()
    raise EOFError


def ws_silent(peer, request):
    peer.sock.sendall(upgrade(request))
    peer.stall()
    raise EOFError


def ws_flood(peer, request):
    peer.sock.sendall(upgrade(request))
    while True:
        peer.sock.sendall(frame(BINARY, b"x" * 32768))


def ws_refuse(peer, request):
    answer(peer, "403 Forbidden", b'{"error": "Requestor mismatch"}\n\n', [("Content-Type", "application/json")])


ROUTES = {
    "/echo": echo, "/redirect": redirect, "/slowly": slowly, "/stall": stall, "/half": half, "/garbage": garbage,
    "/large": large, "/drop": drop, "/how-often": how_often, "/third-time": third_time,
    "/kept": tell_kept, "/ws/echo": ws_echo, "/ws/exec": ws_exec,
    "/ws/pong": ws_pong, "/ws/close": ws_close, "/ws/reset": ws_reset, "/ws/masked": ws_masked,
    "/ws/silent": ws_silent, "/ws/flood": ws_flood, "/ws/refuse": ws_refuse, "/ws/stall": stall,
}


def shake_hands(sock):
    try:
        sock.do_handshake()
    except ssl.SSLError:
        # closing with unread bytes would be a reset, which destroys the alert on its way
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
        raise


def serve(sock, context):
    try:
        if context:
            sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            shake_hands(sock)
        peer = Peer(sock)
        while True:
            request = Request(peer)
            if request.path.startswith("/status/"):
                status(peer, request)
            else:
                ROUTES.get(request.path, counted)(peer, request)
    except (OSError, EOFError):
        pass
    finally:
        sock.close()


def main(kind, *arguments):
    context = None
    if kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(arguments[0])
    else:
        listener = socket.socket(socket.AF_INET)
        listener.bind(("127.0.0.1", 0))
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments[0], arguments[1])
        if len(arguments) > 2:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(arguments[2])
    listener.listen(256)
    print("ready", 0 if kind == "unix" else listener.getsockname()[1], flush=True)
    threading.Thread(target=wait_for_parent, daemon=True).start()
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, context), daemon=True).start()


def wait_for_parent():
    """A server must not outlive its test, however that ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


main(*sys.argv[1:])

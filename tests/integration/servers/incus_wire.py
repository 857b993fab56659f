"""HTTP, Incus' envelopes and websockets, for incus_server.py."""
import base64
import hashlib
import json
import socket
import struct
import threading
import urllib.parse

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


class Peer:
    def __init__(self, sock):
        self.sock, self.buffer, self.writing = sock, b"", threading.Lock()

    def read(self, n):
        while len(self.buffer) < n:
            self.fill()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_to(self, mark):
        while mark not in self.buffer:
            self.fill()
        data, _, self.buffer = self.buffer.partition(mark)
        return data

    def fill(self):
        more = self.sock.recv(65536)
        if not more:
            raise EOFError
        self.buffer += more

    def frame(self, opcode, payload=b""):
        head = bytes([0x80 | opcode])
        if len(payload) < 126:
            head += bytes([len(payload)])
        elif len(payload) < 65536:
            head += b"\x7e" + struct.pack("!H", len(payload))
        else:
            head += b"\x7f" + struct.pack("!Q", len(payload))
        with self.writing:
            self.sock.sendall(head + payload)

    def message(self):
        """The next frame of the client: opcode, payload."""
        first, second = self.read(2)
        size = second & 0x7F
        if size == 126:
            size, = struct.unpack("!H", self.read(2))
        elif size == 127:
            size, = struct.unpack("!Q", self.read(8))
        mask = self.read(4)
        data = self.read(size)
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return first & 0x0F, (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")

    def cut(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Refusal(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


class Request:
    def __init__(self, peer):
        lines = peer.read_to(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.peer = peer
        self.method, target, _ = lines[0].split(" ", 2)
        self.path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query))
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self.body = peer.read(int(self.headers.get("content-length", "0")))
        self.parts = [urllib.parse.unquote(part) for part in self.path.split("/")[1:]]

    def json(self):
        if self.headers.get("content-type") != "application/json":
            raise Refusal(400, "not JSON by its type")
        return json.loads(self.body)

    def answer(self, status, body, headers=()):
        head = "HTTP/1.1 %d X\r\nContent-Length: %d\r\n" % (status, len(body))
        for name, value in headers:
            head += "%s: %s\r\n" % (name, value)
        if self.method == "HEAD":
            body = b""
        with self.peer.writing:
            self.peer.sock.sendall(head.encode() + b"\r\n" + body)

    def envelope(self, status, headers=(), **fields):
        whole = {"type": "sync", "status": "", "status_code": 0, "operation": "", "error_code": 0, "error": "",
                 "metadata": None}
        whole.update(fields)
        self.answer(status, (json.dumps(whole) + "\n").encode(), headers)

    def sync(self, metadata, etag=None):
        self.envelope(200, [("ETag", etag)] if etag else (), status_code=200, metadata=metadata)

    def refuse(self, code, text, status=None):
        self.envelope(status or code, type="error", error_code=code, error=text)

    def upgrade(self):
        key = self.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
        self.peer.sock.sendall(("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: %s\r\n\r\n" % accept).encode())
        self.peer.frame(PING, b"keepalive")

#!/usr/bin/env python3
"""A stand-in, not the product: the MicroStrategy Collaboration Server is closed.

Like it, it lives on Redis and a database. It really logs in to Redis, keeps a connection there, and hands messages of its
WebSocket clients to the other instances through it; of the database it only knows whether it accepts a connection. It
serves GET /status with the documented fields, 200 also while it is paused, and takes WebSockets on /socket.io/
(RFC 6455, text frames under 126 bytes).

What it depends on is looked at ten times in a second. While something is missing it is `paused`, with the missing names as
the reason, and it comes back by itself. Its log has a line `lost NAME` and `reached NAME` for each change, and `ended`.
"""

import argparse
import base64
import hashlib
import http.server
import json
import os
import signal
import socket
import threading
import time

LOOK = 0.1
LIMIT = 1.0
CHANNEL = "collaboration"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Redis:
    """A connection to Redis, as a user of its own."""

    def __init__(self, arguments):
        self.socket = socket.create_connection(arguments.redis, LIMIT, (arguments.listen[0], 0))
        self.answers = self.socket.makefile("rb")
        self.ask("AUTH", arguments.user, "any")

    def ask(self, *words):
        self.tell(*words)
        answer = self.answers.readline()
        if not answer.endswith(b"\r\n") or answer.startswith(b"-"):
            raise OSError(f"Redis says {answer!r}")
        return answer

    def tell(self, *words):
        parts = [f"*{len(words)}\r\n"] + [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self.socket.sendall("".join(parts).encode())

    def close(self):
        self.socket.close()


class Instance:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lock = threading.Lock()
        self.missing = {"DB Service", "Redis Server"}
        self.began = int(time.time() * 1000)
        self.clients = set()
        self.counts = {"total": 0, "most": 0, "messages": 0, "calls": 0}

    def log(self, text):
        with open(self.arguments.log, "a") as log:
            log.write(f"{text}\n")

    def saw(self, name, there):
        with self.lock:
            if there == (name not in self.missing):
                return
            (self.missing.discard if there else self.missing.add)(name)
        self.log(f"{'reached' if there else 'lost'} {name}")

    def use_redis(self):
        while True:
            try:
                connection = Redis(self.arguments)
                while True:
                    connection.ask("PING")
                    self.saw("Redis Server", True)
                    time.sleep(LOOK)
            except OSError:
                self.saw("Redis Server", False)
                time.sleep(LOOK)

    def use_database(self):
        while True:
            try:
                socket.create_connection(self.arguments.database, LIMIT).close()
                self.saw("DB Service", True)
            except OSError:
                self.saw("DB Service", False)
            time.sleep(LOOK)

    def hear(self):
        """Hands on what the other instances, and this one, have published."""
        while True:
            try:
                connection = Redis(self.arguments)
                connection.socket.settimeout(None)
                connection.tell("SUBSCRIBE", CHANNEL)
                while line := connection.answers.readline():
                    if line.startswith(b"*"):
                        words = [self.word(connection) for _ in range(int(line[1:]))]
                        if words[0] == b"message":
                            self.hand_on(words[2])
            except OSError:
                pass
            time.sleep(LOOK)

    @staticmethod
    def word(connection):
        line = connection.answers.readline()
        if not line.startswith(b"$"):
            return line
        return connection.answers.read(int(line[1:]) + 2)[:-2]

    def hand_on(self, text):
        with self.lock:
            self.counts["messages"] += 1
            clients = list(self.clients)
        for client in clients:
            try:
                client.sendall(bytes([0x81, len(text)]) + text)
            except OSError:
                pass

    def publish(self, text):
        Redis(self.arguments).ask("PUBLISH", CHANNEL, text)

    def status(self):
        with self.lock:
            missing = sorted(self.missing)
            self.counts["calls"] += 1
            body = {
                "version": "11.4.0",
                "enableTls": False,
                "scaling": "horizontal",
                "logging": {"level": "info"},
                "state": "paused" if missing else "running",
                "main": {
                    "cpu": {"current": 1, "max": 1},
                    "memory": {"current": 1, "max": 1},
                    "connections": {
                        "total": self.counts["total"],
                        "current": len(self.clients),
                        "max": self.counts["most"],
                    },
                    "messages": {"processed": self.counts["messages"]},
                    "restCalls": {"received": self.counts["calls"]},
                    "up_since": self.began,
                    "pid": os.getpid(),
                },
            }
        if missing:
            body["reason"] = ",".join(missing)
        return json.dumps(body).encode()


class Door(http.server.BaseHTTPRequestHandler):
    instance = None

    def do_GET(self):
        if self.path == "/status":
            body = self.instance.status()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif self.path.startswith("/socket.io/") and self.headers.get("Upgrade", "").lower() == "websocket":
            self.take()
        else:
            self.send_error(404)

    def take(self):
        key = self.headers["Sec-WebSocket-Key"] + GUID
        self.protocol_version = "HTTP/1.1"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        instance = self.instance
        with instance.lock:
            instance.clients.add(self.connection)
            instance.counts["total"] += 1
            instance.counts["most"] = max(instance.counts["most"], len(instance.clients))
        try:
            while text := self.frame():
                instance.publish(text)
        except OSError:
            pass
        with instance.lock:
            instance.clients.discard(self.connection)

    def frame(self):
        """The text of the next frame; none at the end."""
        head = self.rfile.read(2)
        if len(head) < 2 or head[0] != 0x81:
            return None
        length, mask = head[1] & 0x7F, self.rfile.read(4)
        return bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length))).decode()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, help in [("listen", "host:port"), ("redis", "host:port"), ("database", "host:port")]:
        parser.add_argument(f"--{name}", type=address, required=True, help=help)
    parser.add_argument("--user", required=True, help="its user of Redis")
    parser.add_argument("--log", required=True, help="what it logs")
    arguments = parser.parse_args()
    Door.instance = instance = Instance(arguments)

    def end(*_):
        instance.log("ended")
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    for work in [instance.use_redis, instance.use_database, instance.hear]:
        threading.Thread(target=work, daemon=True).start()
    Server(arguments.listen, Door).serve_forever()


main()

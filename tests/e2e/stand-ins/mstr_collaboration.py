#!/usr/bin/env python3
"""A stand-in, not the product: the MicroStrategy Collaboration Server is closed.

Like it, it lives on Redis and a database. It really logs in to both, keeps these connections, and hands messages of its
WebSocket clients to the other instances through Redis. It serves GET /status with the documented fields, 200 also while it is paused, and takes WebSockets on /socket.io/
(RFC 6455, text frames under 126 bytes). While something is missing it is `paused`, with the missing names as the reason,
and it comes back by itself.
"""

import argparse
import base64
import hashlib
import http.server
import json
import os
import threading
import time

from dependant import LOOK, Dependant, Postgres, Redis, address

CHANNEL = "collaboration"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Instance(Dependant):
    def __init__(self, arguments):
        super().__init__(arguments.log, {"DB Service", "Redis Server"})
        self.arguments = arguments
        self.config = {}
        if arguments.config:
            with open(arguments.config) as config:
                self.config = json.load(config)
        url = self.config.get("redisServerUrl")
        if url:
            arguments.redis = address(url.removeprefix("redis://"))
        self.clients = set()
        self.counts = {"total": 0, "most": 0, "messages": 0, "calls": 0}

    def redis(self):
        arguments = self.arguments
        return Redis(arguments.redis, arguments.user, (arguments.listen[0], 0))

    def begin(self):
        self.use("Redis Server", self.redis)
        self.use("DB Service", lambda: Postgres(self.arguments.database, *self.arguments.login.split(":")))
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        """Hands on what the other instances, and this one, have published."""
        while True:
            try:
                connection = self.redis()
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
        self.redis().ask("PUBLISH", CHANNEL, text)

    def status(self):
        state = self.state()
        with self.lock:
            self.counts["calls"] += 1
            logging = self.config.get("logging", {"level": "info"})
            body = {
                **state,
                "version": "11.4.0",
                "enableTls": False,
                "scaling": "horizontal",
                "logging": logging,
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
    parser.add_argument("--login", required=True, help="DATABASE:USER:PASSWORD")
    parser.add_argument("--user", required=True, help="its user of Redis")
    parser.add_argument("--config", help="its configuration: logging and redisServerUrl of it")
    parser.add_argument("--log", required=True, help="what it logs")
    arguments = parser.parse_args()
    Door.instance = instance = Instance(arguments)
    instance.end_when_told()
    instance.begin()
    Server(arguments.listen, Door).serve_forever()


main()

#!/usr/bin/env python3
"""A stand-in, not the product: a node of Hipchat Data Center is closed.

Like it, it lives on PostgreSQL, Redis and a file store, which its `config.json` names. It really logs in to the database as
the application's user and to Redis, keeps both connections, and reads and writes in the mounted file store. It answers HTTP
with 200 and {"state": "running"}, or with 503, {"state": "paused"} and what it misses, and tells its process and since when it
is. GET /slow is answered when the file of --slow is gone.

Its configuration is read when it starts, and not again; --started-with is a copy of what it has read.
"""

import argparse
import http.server
import json
import os
import shutil
import time

from dependant import LOOK, Dependant, Postgres, Redis, address


class FileStore:
    """A directory of a share, with a marker that only the share has."""

    def __init__(self, path, node):
        self.path = path
        # Of this node alone, and kept: processes of different machines may well have the same number.
        self.probe = os.path.join(path, f"probe.{node}")
        self.look()

    def look(self):
        with open(os.path.join(self.path, ".alive")) as marker:
            marker.read()
        with open(self.probe, "w") as file:
            file.write("here")

    def close(self):
        pass


class Node(Dependant):
    def __init__(self, arguments):
        super().__init__(arguments.log, {"database", "Redis", "file store"})
        shutil.copyfile(arguments.config, arguments.started_with)
        with open(arguments.started_with) as file:
            self.config = json.load(file)
        self.arguments = arguments

    def database(self):
        config = self.config
        at = (config["database-server"], 5432)
        return Postgres(at, config["database-name"], config["database-user"], config["database-password"])

    def begin(self):
        self.use("database", self.database)
        self.use("Redis", lambda: Redis((self.config["redis-server"], 6379), "hipchat"))
        self.use("file store", lambda: FileStore(self.config["shared-storage-location"], self.arguments.node))

    def status(self):
        return {"node": self.arguments.node, "pid": os.getpid(), "up_since": self.began, **self.state()}


class Door(http.server.BaseHTTPRequestHandler):
    node = None

    def do_GET(self):
        while self.path == "/slow" and os.path.exists(self.node.arguments.slow):
            time.sleep(LOOK)
        status = self.node.status()
        body = json.dumps(status).encode()
        self.send_response(200 if status["state"] == "running" else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", required=True, help="its name")
    parser.add_argument("--listen", type=address, required=True, help="host:port")
    parser.add_argument("--config", required=True, help="config.json")
    parser.add_argument("--started-with", required=True, help="a copy of it, as it is read")
    parser.add_argument("--log", required=True, help="what it logs")
    parser.add_argument("--slow", required=True, help="a file that holds GET /slow")
    Door.node = node = Node(parser.parse_args())
    node.end_when_told()
    node.begin()
    Server(node.arguments.listen, Door).serve_forever()


main()

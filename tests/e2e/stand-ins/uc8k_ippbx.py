#!/usr/bin/env python3
"""A stand-in, not the product: the IPPBX of a Dinstar UC8000 is closed.

Like it this lives on the PostgreSQL server of its own machine, and really uses it: it logs in, makes its table, and writes a record of
each call before it says that the call is up. It listens on the service address alone, port 5060, and is not ready before it can.

With hosts as further arguments (mode 2) it sends each record to the servers of all of them: a call is up as soon as one has it, the
others get it when they can, and a stop waits a moment for that. `200 HOST/START` then tells which machine has taken the call, and since
when it runs there.

A call is a line `INVITE NAME`. The answer is `200 SERVER`, with the server that has taken the record (its cluster_name and timeline),
once that is committed; `503 REASON` if it was not.
"""

import os
import queue
import signal
import socket
import socketserver
import struct
import sys
import threading
import time

TABLE = "CREATE TABLE IF NOT EXISTS cdr (text text)"

INSERT = (
    "INSERT INTO cdr VALUES ('%s') RETURNING current_setting('cluster_name') || '/' || "
    "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
)


class Database:
    """One session with a server, that of this machine if none is named, in PostgreSQL's own protocol, version 3."""

    def __init__(self, host="127.0.0.1", timeout=10):
        self.link = socket.create_connection((host, 5432), timeout=timeout)
        words = b"user\0postgres\0database\0postgres\0\0"
        self.link.sendall(struct.pack("!II", len(words) + 8, 3 << 16) + words)
        self.rows()

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.link.recv(count - len(data))
            if not more:
                raise OSError("the database has gone")
            data += more
        return data

    def rows(self):
        """The first field of each row, up to where the server asks for the next query."""
        rows, trouble = [], None
        while True:
            kind, size = struct.unpack("!cI", self.read(5))
            body = self.read(size - 4)
            if kind == b"E":
                trouble = body.decode(errors="replace").replace("\0", " ")
            if kind == b"D":
                rows.append(body[6:].decode())
            if kind == b"Z" or (trouble and not rows and kind == b"E" and "FATAL" in trouble):
                if trouble:
                    raise OSError(trouble)
                return rows

    def ask(self, query):
        query = query.encode() + b"\0"
        self.link.sendall(b"Q" + struct.pack("!I", len(query) + 4) + query)
        return self.rows()

    def close(self):
        self.link.close()


class Store:
    """One of several servers that get each record. What it cannot take is kept for it, in its order."""

    def __init__(self, host):
        self.host, self.waiting = host, queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        database = None
        while True:
            name, taken = self.waiting.get()
            while True:
                try:
                    if not database:
                        database = Database(self.host, timeout=1)
                        database.ask(TABLE)
                    if name:
                        database.ask(INSERT % name)
                    break
                except (OSError, ValueError):
                    if database:
                        database.close()
                    database = None
                    time.sleep(0.2)
            taken.set()
            self.waiting.task_done()

    def is_behind(self):
        return self.waiting.unfinished_tasks > 0


STORES = []

STARTED = time.monotonic_ns()


def record(name):
    """Has a record written, by each of several servers; which machine has taken it."""
    taken = threading.Event()
    for store in STORES:
        store.waiting.put((name, taken))
    if not taken.wait(1.5):
        raise OSError("no database has its record")
    return "%s/%d" % (socket.gethostname(), STARTED)


class Calls(socketserver.StreamRequestHandler):
    def handle(self):
        database = None
        for line in self.rfile:
            word, _, name = line.decode(errors="replace").strip().partition(" ")
            try:
                if word != "INVITE" or not name.replace("-", "").replace(".", "").isalnum():
                    raise OSError("no call")
                if STORES:
                    server = record(name)
                else:
                    database = database or Database()
                    (server,) = database.ask(INSERT % name)
                answer = "200 " + server
            except (OSError, ValueError) as trouble:
                if database:
                    database.close()
                database = None
                answer = "503 " + " ".join(str(trouble).split())
            try:
                self.wfile.write(answer.encode() + b"\n")
            except OSError:
                return


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def notify(text):
    """Tells systemd, sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(text.encode(), address.replace("@", "\0", 1))


def main():
    STORES.extend(Store(host) for host in sys.argv[2:])
    if STORES:
        # Its table is there.
        record("")
    else:
        database = Database()
        database.ask(TABLE)
        database.close()
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    with Server((sys.argv[1], 5060), Calls) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        notify("READY=1")
        end.wait()
        server.shutdown()
    until = time.monotonic() + 3
    while any(store.is_behind() for store in STORES) and time.monotonic() < until:
        time.sleep(0.05)


main()

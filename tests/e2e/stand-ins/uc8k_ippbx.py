#!/usr/bin/env python3
"""A stand-in, not the product: the IPPBX of a Dinstar UC8000 is closed.

Like it this lives on the PostgreSQL server of its own machine, and really uses it: it logs in, makes its table, and writes a record of
each call before it says that the call is up. It listens on the service address alone, port 5060, and is not ready before it can.

A call is a line `INVITE NAME`. The answer is `200 SERVER`, with the server that has taken the record (its cluster_name and timeline),
once that is committed; `503 REASON` if it was not.
"""

import os
import socket
import socketserver
import struct
import sys
import threading

INSERT = (
    "INSERT INTO cdr VALUES ('%s') RETURNING current_setting('cluster_name') || '/' || "
    "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
)


class Database:
    """One session with the server of this machine, in PostgreSQL's own protocol, version 3."""

    def __init__(self):
        self.link = socket.create_connection(("127.0.0.1", 5432), timeout=10)
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


class Calls(socketserver.StreamRequestHandler):
    def handle(self):
        database = None
        for line in self.rfile:
            word, _, name = line.decode(errors="replace").strip().partition(" ")
            try:
                if word != "INVITE" or not name.replace("-", "").replace(".", "").isalnum():
                    raise OSError("no call")
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
    database = Database()
    database.ask("CREATE TABLE IF NOT EXISTS cdr (text text)")
    database.close()
    with Server((sys.argv[1], 5060), Calls) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        notify("READY=1")
        threading.Event().wait()


main()

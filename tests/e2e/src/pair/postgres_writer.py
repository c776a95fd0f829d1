"""Inserts rows into a PostgreSQL server by one address, again and again, and notes each one that was acknowledged.

A line per row: when it was sent and when it was acknowledged, by CLOCK_MONOTONIC, which all hosts of a lab share, the server that
took it (its cluster_name and its timeline), and the row. One connection for as long as it lasts, as of an application with a
pool. The protocol is PostgreSQL's own, version 3, without a password.
"""

import socket
import struct
import sys
import time

address, writer, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
QUERY = (
    "INSERT INTO rows VALUES ('%s') RETURNING current_setting('cluster_name') || '/' || "
    "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
)


def read_exactly(link, count):
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            raise OSError("the connection ended")
        data += more
    return data


def answers(link):
    """The messages up to the one that asks for the next query."""
    while True:
        kind, size = struct.unpack("!cI", read_exactly(link, 5))
        body = read_exactly(link, size - 4)
        if kind == b"E":
            raise OSError(body.decode(errors="replace"))
        yield kind, body
        if kind == b"Z":
            return


def connect():
    link = socket.create_connection((address, 5432), timeout=0.5)
    link.settimeout(2)
    words = b"user\0postgres\0database\0postgres\0\0"
    link.sendall(struct.pack("!II", len(words) + 8, 3 << 16) + words)
    for _ in answers(link):
        pass
    return link


def insert(link, row):
    query = (QUERY % row).encode() + b"\0"
    link.sendall(b"Q" + struct.pack("!I", len(query) + 4) + query)
    server = None
    for kind, body in answers(link):
        if kind == b"D":
            server = body[6:].decode()
    if server is None:
        raise OSError("no answer")
    return server


link = None
number = 0
while True:
    number += 1
    row = "%s-%d" % (writer, number)
    try:
        link = link or connect()
        began = time.monotonic()
        server = insert(link, row)
        print(began, time.monotonic(), server, row, flush=True)
    except OSError:
        if link:
            link.close()
        link = None
    time.sleep(pause)

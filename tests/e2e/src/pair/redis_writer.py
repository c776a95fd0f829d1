"""Adds rows to a Redis by one address, again and again, and notes each one that was acknowledged.

A line per row: when it was sent and when it was acknowledged, by CLOCK_MONOTONIC, which all hosts of a lab share, the server that
took it (its run id and the line of its data, which is another one after each promotion), and the row. One connection for as long as
it lasts, as of an application with a pool. What the server says of itself and the row are one transaction.
"""

import socket
import sys
import time

address, writer, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])


def line(stream):
    text = stream.readline()
    if not text.endswith(b"\r\n"):
        raise OSError("the connection ended")
    if text.startswith(b"-"):
        raise OSError(text.decode())
    return text


def bulk(stream):
    size = int(line(stream)[1:])
    return stream.read(size + 2).decode()


def fact(info, name):
    return next(it[len(name) + 1 :] for it in info.split("\r\n") if it.startswith(name + ":"))


def connect():
    link = socket.create_connection((address, 6379), timeout=0.3)
    link.settimeout(0.5)
    return link, link.makefile("rb")


def add(link, stream, row):
    link.sendall(b"MULTI\r\nINFO server replication\r\nSADD rows %s\r\nEXEC\r\n" % row.encode())
    for _ in range(4):
        answer = line(stream)
    if answer != b"*2\r\n":
        raise OSError("no transaction")
    info = bulk(stream)
    if line(stream) != b":1\r\n":
        raise OSError("the row was refused")
    return fact(info, "run_id")[:8] + "/" + fact(info, "master_replid")[:8]


open_link = None
number = 0
while True:
    number += 1
    row = "%s-%d" % (writer, number)
    try:
        open_link = open_link or connect()
        began = time.monotonic()
        server = add(*open_link, row)
        print(began, time.monotonic(), server, row, flush=True)
    except (OSError, ValueError, StopIteration):
        if open_link:
            open_link[0].close()
        open_link = None
    time.sleep(pause)

"""Writes to a Redis by one address, again and again, and notes which server took each write.

A line per write that was taken: when it was sent and when it was answered, by CLOCK_MONOTONIC, which all hosts of a lab
share, the server (its run id: it is another process after each promotion), and what was written. Each write has a connection of
its own, as of a client that comes anew.
"""

import socket
import sys
import time

address, writer, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
host, _, port = address.partition(":")


def read_line(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise OSError("the connection ended")
    return line


def write(row):
    with socket.create_connection((host, int(port or 6379)), timeout=0.3) as link:
        link.sendall(b"INFO server\r\nSET last %s\r\n" % row.encode())
        stream = link.makefile("rb")
        size = int(read_line(stream)[1:])
        info = stream.read(size + 2).decode()
        if read_line(stream) != b"+OK\r\n":
            raise OSError("the write was refused")
    return next(line[7:] for line in info.split("\r\n") if line.startswith("run_id:"))


number = 0
while True:
    number += 1
    row = "%s-%d" % (writer, number)
    began = time.monotonic()
    try:
        server = write(row)
        print(began, time.monotonic(), server + "/0", row, flush=True)
    except (OSError, ValueError, StopIteration):
        pass
    time.sleep(pause)

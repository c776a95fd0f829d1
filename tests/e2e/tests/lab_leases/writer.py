"""Writes to a Redis by one address, again and again, and notes which server took each write.

A line per write that was taken: when it was sent and when it was answered, by CLOCK_MONOTONIC, which all hosts of a lab
share, and the run id of the server. Each write has a connection of its own, as of a client that comes anew.
"""

import socket
import sys
import time

address, port, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])


def read_line(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise OSError("the connection ended")
    return line


def write(number):
    with socket.create_connection((address, port), timeout=0.3) as link:
        link.sendall(b"INFO server\r\nSET last %d\r\n" % number)
        stream = link.makefile("rb")
        size = int(read_line(stream)[1:])
        info = stream.read(size + 2).decode()
        if read_line(stream) != b"+OK\r\n":
            raise OSError("the write was refused")
    return next(line[7:] for line in info.split("\r\n") if line.startswith("run_id:"))


number = 0
while True:
    number += 1
    began = time.monotonic()
    try:
        server = write(number)
        print(began, time.monotonic(), server, flush=True)
    except (OSError, ValueError, StopIteration):
        pass
    time.sleep(pause)

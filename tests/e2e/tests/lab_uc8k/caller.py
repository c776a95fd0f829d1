"""Calls by the service's address, again and again, and notes each call that was taken.

A line per call: when it was made and when it was taken, by CLOCK_MONOTONIC, which all hosts of a lab share, the database server that
has its record, and its name. One connection for as long as it lasts.
"""

import socket
import sys
import time

address, caller, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])


def connect():
    link = socket.create_connection((address, 5060), timeout=0.5)
    link.settimeout(2)
    return link, link.makefile("rb")


link = answers = None
number = 0
while True:
    number += 1
    name = "%s-%d" % (caller, number)
    try:
        if link is None:
            link, answers = connect()
        began = time.monotonic()
        link.sendall(b"INVITE %s\n" % name.encode())
        word, _, server = answers.readline().decode().strip().partition(" ")
        if word != "200":
            raise OSError(server)
        print(began, time.monotonic(), server, name, flush=True)
    except OSError:
        if link:
            answers.close()
            link.close()
        link = None
    time.sleep(pause)

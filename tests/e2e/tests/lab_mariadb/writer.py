"""Adds rows to a MariaDB by one address, again and again, and notes each one that was acknowledged.

A line per row: when it was sent and when it was acknowledged, by CLOCK_MONOTONIC, which all hosts of a lab share, the server that
took it (its number, and where it was when it last followed, which is another place after each promotion), and the row. One
connection, that of the server's own client, for as long as it lasts, as of an application with a pool. The server names itself
after the row was acknowledged: where it does not, the row does not count.
"""

import os
import select
import subprocess
import sys
import time

address, writer, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])

COMMAND = [
    "mariadb",
    "--no-defaults",
    "--protocol=tcp",
    "--host=" + address,
    "--user=app",
    "--password=app",
    "--connect-timeout=1",
    "--batch",
    "--skip-column-names",
    "--unbuffered",
    "--skip-reconnect",
    "app",
]


def connect():
    return subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )


def answer(client):
    line = b""
    end = time.monotonic() + 1
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([client.stdout], [], [], max(0, end - time.monotonic()))
        if not ready:
            raise OSError("no answer")
        some = os.read(client.stdout.fileno(), 4096)
        if not some:
            raise OSError("the client ended")
        line += some
    return line.decode().split()


def add(client, row):
    text = "INSERT INTO written (name) VALUES ('%s');\n" % row
    text += "SELECT @@server_id, CONCAT('after:', @@global.gtid_slave_pos);\n"
    client.stdin.write(text.encode())
    server, place = answer(client)
    return server + "/" + place


client = None
number = 0
while True:
    number += 1
    row = "%s-%d" % (writer, number)
    try:
        client = client or connect()
        began = time.monotonic()
        server = add(client, row)
        print(began, time.monotonic(), server, row, flush=True)
    except (OSError, ValueError):
        if client:
            client.kill()
            client.wait()
        client = None
    time.sleep(pause)

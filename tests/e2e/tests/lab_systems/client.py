"""A client that has the load balancer at HOST, opens a WebSocket, and keeps it as long as it may.

Its first line is who serves it. It ends with 0 when its standard input does, and with 1 if the other side is gone before that.
"""

import selectors
import socket
import sys

REQUEST = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: lb\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

connection = socket.create_connection((sys.argv[1], 80), 10)
connection.sendall(REQUEST.encode())
head = b""
while b"\r\n\r\n" not in head:
    more = connection.recv(4096)
    if not more:
        sys.exit(f"no answer but {head!r}")
    head += more
lines = head.decode().split("\r\n")
if " 101 " not in lines[0]:
    sys.exit(f"no WebSocket: {head!r}")
print(next(line.split(": ")[1] for line in lines if line.lower().startswith("x-served: ")), flush=True)
selector = selectors.DefaultSelector()
selector.register(sys.stdin, selectors.EVENT_READ)
selector.register(connection, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj is sys.stdin:
            sys.exit(0)
        if not connection.recv(4096):
            sys.exit(1)

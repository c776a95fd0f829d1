"""A stand-in for a time server: answers SNTP (RFC 4330) with the clock that all hosts have."""

import socket
import struct
import time

FROM_1900 = 2208988800

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 123))
while True:
    request, sender = server.recvfrom(512)
    now = time.time() + FROM_1900
    stamp = struct.pack("!II", int(now), int(now % 1 * (1 << 32)))
    # No leap second, version 4, a server of stratum 2; the client's own time comes back to it.
    server.sendto(struct.pack("!BBbb", 0x24, 2, 4, -20) + bytes(12) + stamp + request[40:48] + stamp + stamp, sender)

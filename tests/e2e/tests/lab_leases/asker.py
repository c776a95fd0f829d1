"""Asks a node for its health again and again, and notes the answers: when it was asked, when it was answered, and the status.

Times are by CLOCK_MONOTONIC, which all hosts of a lab share. A question that is not answered is status 0.
"""

import http.client
import sys
import time

address, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]

while True:
    asked = time.monotonic()
    try:
        link = http.client.HTTPConnection(address, port, timeout=0.3)
        link.request("GET", path)
        status = link.getresponse().status
        link.close()
    except (OSError, http.client.HTTPException):
        status = 0
    print(asked, time.monotonic(), status, flush=True)
    time.sleep(0.005)

#!/usr/bin/env python3
"""A stand-in, not the product: jtel's web and telephony applications are closed.

Like them it lives on two things, a database behind the load balancer and a share, and it really uses both: it logs in
to the database with the real client and runs a query at each look, and it reads a file through the mounted share. It
answers GET /health with 200 and {"state": "running"}, or with 503, {"state": "paused"} and the names of what it misses.

Like an application server with a connection pool that is filled once, it tries its database when it starts, and not
again: one that was started before its database stays paused until it is restarted (--reconnect: tries at each look).
"""

import argparse
import http.server
import json
import os
import socketserver
import subprocess
import threading
import time


def notify(text):
    """Tells systemd, sd_notify(3)."""
    import socket

    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(text.encode(), address.replace("@", "\0", 1))


def database_answers(address):
    host, port = address.split(":")
    query = ["mariadb", "--host", host, "--port", port, "--user=jtel", "--password=jtel", "--connect-timeout=2"]
    try:
        done = subprocess.run(query + ["-Ne", "SELECT COUNT(*) FROM jtel.calls"], capture_output=True, timeout=5)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


class Application:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lock = threading.Lock()
        self.pool = database_answers(arguments.database)

    def missing(self):
        with self.lock:
            if not self.pool and self.arguments.reconnect:
                self.pool = database_answers(self.arguments.database)
            missing = []
            if not self.pool:
                missing.append("database (not there when this was started)")
            elif not database_answers(self.arguments.database):
                missing.append("database")
            try:
                with open(self.arguments.share, "rb") as marker:
                    marker.read()
            except OSError as error:
                missing.append(f"share ({error.strerror})")
            return missing


class Health(http.server.BaseHTTPRequestHandler):
    application = None

    def do_GET(self):
        missing = self.application.missing() if self.path == "/health" else []
        body = {"state": "paused", "reason": ", ".join(missing)} if missing else {"state": "running"}
        self.send_response(503 if missing else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


class Call(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"SIP stand-in\r\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, help="port of /health")
    parser.add_argument("--sip", type=int, help="port of the telephony stand-in, open while nothing is missing at start")
    parser.add_argument("--database", required=True, help="host:port")
    parser.add_argument("--share", required=True, help="a file on the share")
    parser.add_argument("--reconnect", action="store_true")
    Health.application = application = Application(parser.parse_args())
    arguments = application.arguments
    threads = []
    if arguments.http:
        server = http.server.ThreadingHTTPServer(("", arguments.http), Health)
        threads.append(threading.Thread(target=server.serve_forever))
    if arguments.sip:
        while application.missing():
            time.sleep(0.2)
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        server = socketserver.ThreadingTCPServer(("", arguments.sip), Call)
        threads.append(threading.Thread(target=server.serve_forever))
    for thread in threads:
        thread.start()
    notify("READY=1")


main()

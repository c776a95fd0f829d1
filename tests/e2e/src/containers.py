"""The API of a container host, as far as fence_docker uses it (Docker Engine API 1.11, containers/json and kill/start).

Containers stand in a file, one `ID NAME on|off` a line, which is read for each request. The port goes to standard output;
the end of standard input ends it.
"""

import http.server
import json
import ssl
import sys
import threading

CERTIFICATE, KEY, FILE = sys.argv[1:]


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(FILE) as lines:
            containers = [line.split() for line in lines]
        words = self.path.split("?")[0].split("/")
        if words[-2:] == ["containers", "json"]:
            self.answer(
                [
                    {"Id": id, "Names": ["/" + name], "Status": "Up" if state == "on" else "Exited"}
                    for id, name, state in containers
                ]
            )
            return
        for id, _, state in containers:
            if words[-3:] == ["containers", id, "json"]:
                self.answer({"State": {"Running": state == "on"}})
                return
        self.send_error(404)

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()

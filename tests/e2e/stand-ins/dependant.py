"""What stand-ins share that live on stores.

A store is looked at ten times in a second, through a connection that is kept. While one is missing its name is in
`missing`, and it comes back by itself. The log has a line `lost NAME` and `reached NAME` for each change, and `ended`.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

LOOK = 0.1
LIMIT = 1.0


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Redis:
    """A connection to Redis, as a user of its own."""

    def __init__(self, at, user, source=None):
        self.socket = socket.create_connection(at, LIMIT, source)
        self.answers = self.socket.makefile("rb")
        self.ask("AUTH", user, "any")

    def look(self):
        self.ask("PING")

    def ask(self, *words):
        self.tell(*words)
        answer = self.answers.readline()
        if not answer.endswith(b"\r\n") or answer.startswith(b"-"):
            raise OSError(f"Redis says {answer!r}")
        return answer

    def tell(self, *words):
        parts = [f"*{len(words)}\r\n"] + [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self.socket.sendall("".join(parts).encode())

    def close(self):
        self.socket.close()


class Postgres:
    """A login to a database, through the real client, which stays connected."""

    def __init__(self, at, database, user, password):
        words = ["psql", "--no-psqlrc", "-Atq", "-h", at[0], "-p", str(at[1]), "-U", user, "-d", database]
        self.client = subprocess.Popen(
            words,
            env={"PATH": os.environ.get("PATH", os.defpath), "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            self.look()
        except OSError:
            self.close()
            raise

    def look(self):
        self.client.stdin.write(b"SELECT 'here';\n")
        if not select.select([self.client.stdout], [], [], 5 * LIMIT)[0]:
            raise OSError("no answer")
        if self.client.stdout.readline() != b"here\n":
            raise OSError("no answer of the database")

    def close(self):
        self.client.kill()
        self.client.communicate()


class Dependant:
    def __init__(self, log, names):
        self.path = log
        self.lock = threading.Lock()
        self.missing = set(names)
        self.began = int(time.time() * 1000)

    def log(self, text):
        with open(self.path, "a") as log:
            log.write(f"{text}\n")

    def saw(self, name, there):
        with self.lock:
            if there == (name not in self.missing):
                return
            (self.missing.discard if there else self.missing.add)(name)
        self.log(f"{'reached' if there else 'lost'} {name}")

    def use(self, name, connect):
        """Looks at a store for ever, in a thread of its own."""
        threading.Thread(target=self._use, args=(name, connect), daemon=True).start()

    def _use(self, name, connect):
        while True:
            connection = None
            try:
                connection = connect()
                while True:
                    connection.look()
                    self.saw(name, True)
                    time.sleep(LOOK)
            except OSError as error:
                if name not in self.missing:
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
                self.saw(name, False)
                time.sleep(LOOK)
            finally:
                if connection:
                    connection.close()

    def state(self):
        with self.lock:
            missing = sorted(self.missing)
        if missing:
            return {"state": "paused", "reason": ",".join(missing)}
        return {"state": "running"}

    def end_when_told(self):
        def end(*_):
            self.log("ended")
            os._exit(0)

        signal.signal(signal.SIGTERM, end)

"""What the figures of failover need on the hosts: a writer that misses no moment, and the floors.

    failover.py write postgres|redis ADDRESS       inserts a row each 10 ms, and tells each that was acknowledged
    failover.py promote ADDRESS                    the floor of a promotion: seconds from the command to the first row
    failover.py echo                               answers packets with the name of its host
    failover.py ask ADDRESS SECONDS                asks for an answer each millisecond, and tells each one
    failover.py take ADDRESS                       puts an address on host0, and tells when it began

All times are by CLOCK_MONOTONIC, which all hosts of a lab share.

The writer has one connection for as long as that lasts. When a row is not acknowledged for 30 ms it opens a further connection
every 10 ms, and goes on with whichever is the first to have its row acknowledged: so what it sees of an outage is exact to a
beat, whatever happened to the packets that were sent meanwhile.
"""

import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

BEAT = 0.01
PATIENCE = 0.03
GIVE_UP = 1.0
ECHO_PORT = 7007


class Incomplete(Exception):
    """More of an answer is to come."""


class Postgres:
    """The protocol of PostgreSQL, version 3, without a password."""

    port = 5432
    query = (
        "INSERT INTO rows VALUES ('%s') RETURNING current_setting('cluster_name') || '/' || "
        "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
    )

    @staticmethod
    def ask(query):
        text = query.encode() + b"\0"
        return b"Q" + struct.pack("!I", len(text) + 4) + text

    @classmethod
    def request(cls, row, fresh):
        words = b"user\0postgres\0database\0postgres\0\0"
        hello = struct.pack("!II", len(words) + 8, 3 << 16) + words
        return (hello if fresh else b"") + cls.ask(cls.query % row)

    @staticmethod
    def answer(data, fresh):
        """The first column of the row that was returned, once the server asks for the next query."""
        at, ready, found = 0, 0, None
        while ready < (2 if fresh else 1):
            if len(data) < at + 5:
                raise Incomplete
            kind, size = struct.unpack_from("!cI", data, at)
            body = data[at + 5 : at + 1 + size]
            if len(body) < size - 4:
                raise Incomplete
            if kind == b"E":
                raise OSError(body.decode(errors="replace"))
            if kind == b"D":
                found = body[6:].decode()
            ready += kind == b"Z"
            at += 1 + size
        if found is None:
            raise OSError("no row was returned")
        return found


class Redis:
    """The protocol of Redis, version 2. What the server says of itself and the row are one transaction."""

    port = 6379

    @staticmethod
    def request(row, _fresh):
        return b"MULTI\r\nINFO server replication\r\nSADD rows %s\r\nEXEC\r\n" % row.encode()

    @classmethod
    def answer(cls, data, _fresh):
        at = 0
        for _ in range(4):
            value, at = cls.value(data, at)
        info, added = value
        if added != 1:
            raise OSError("the row was refused")

        def fact(name):
            return next(it[len(name) + 1 :] for it in info.split("\r\n") if it.startswith(name + ":"))

        return fact("run_id")[:8] + "/" + fact("master_replid")[:8]

    @classmethod
    def value(cls, data, at):
        end = data.find(b"\r\n", at)
        if end < 0:
            raise Incomplete
        kind, text = data[at : at + 1], data[at + 1 : end].decode()
        at = end + 2
        if kind == b"-":
            raise OSError(text)
        if kind == b"+":
            return text, at
        if kind == b":":
            return int(text), at
        if kind == b"*" and int(text) >= 0:
            values = []
            for _ in range(int(text)):
                value, at = cls.value(data, at)
                values.append(value)
            return values, at
        if kind == b"$" and int(text) >= 0:
            if len(data) < at + int(text) + 2:
                raise Incomplete
            return data[at : at + int(text)].decode(), at + int(text) + 2
        raise OSError("an answer that nobody expects")


class Attempt:
    """A row on its way."""

    def __init__(self, protocol, row, address, link=None):
        self.protocol, self.row, self.began = protocol, row, time.monotonic()
        self.fresh, self.data, self.sent = link is None, b"", False
        self.link = link
        if self.fresh:
            self.link = socket.socket()
            self.link.setblocking(False)
            self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.link.connect_ex((address, protocol.port))
        else:
            self.send()

    def send(self):
        # A few bytes on a connection on which nothing waits: all of it or an error.
        self.link.sendall(self.protocol.request(self.row, self.fresh))
        self.sent = True

    def go_on(self):
        """Who took the row; none if that is not known yet."""
        if not self.sent:
            error = self.link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "not connected")
            self.send()
            return None
        more = self.link.recv(65536)
        if not more:
            raise OSError("the connection ended")
        self.data += more
        try:
            return self.protocol.answer(self.data, self.fresh)
        except Incomplete:
            return None


def write(protocol, address):
    attempts, idle, number = [], None, 0
    beat = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= beat:
            beat = max(beat + BEAT, now)
            for old in [it for it in attempts if now - it.began > GIVE_UP]:
                old.link.close()
                attempts.remove(old)
            if idle or all(now - it.began > PATIENCE for it in attempts[:1]):
                number += 1
                try:
                    attempts.append(Attempt(protocol, "w-%d" % number, address, idle))
                except OSError:
                    idle and idle.close()
                idle = None
        reading = [it.link for it in attempts if it.sent]
        opening = [it.link for it in attempts if not it.sent]
        left = max(0.0, beat - time.monotonic())
        ready = sum(map(list, select.select(reading, opening, [], left)), [])
        for attempt in [it for it in attempts if it.link in ready]:
            try:
                server = attempt.go_on()
            except (OSError, ValueError, StopIteration):
                attempt.link.close()
                attempts.remove(attempt)
                continue
            if server:
                print(attempt.began, time.monotonic(), server, attempt.row, flush=True)
                attempts.remove(attempt)
                idle = attempt.link
                for other in attempts:
                    other.link.close()
                attempts = []
                break


def exchange(link, request, fresh):
    """One request and its answer; an error of the server is raised."""
    link.sendall(request)
    data = b""
    while True:
        more = link.recv(65536)
        if not more:
            raise OSError("the connection ended")
        data += more
        try:
            return Postgres.answer(data, fresh)
        except Incomplete:
            pass


def promote(address):
    """A standby of its own is copied from the server there, follows it, and is promoted by hand."""
    programs, here, port = "/usr/lib/postgresql/15/bin/", "/tmp/floor", 5499
    run = lambda *words: subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(here, ignore_errors=True)
    run(programs + "pg_basebackup", "-h", address, "-U", "postgres", "-D", here, "-X", "stream", "-c", "fast")
    # What is copied names the slot that its origin last had elsewhere.
    with open(here + "/postgresql.auto.conf", "w") as settings:
        settings.write("primary_conninfo = 'host=%s user=postgres'\n" % address)
    open(here + "/standby.signal", "w").close()
    with open(here + "/postgresql.conf", "w") as settings:
        settings.write(
            "port = %d\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\ncluster_name = 'floor'\n" % port
        )
    with open(here + "/pg_hba.conf", "w") as rules:
        rules.write("host all all 127.0.0.1/32 trust\n")
    open(here + "/pg_ident.conf", "w").close()
    run(programs + "pg_ctl", "-D", here, "-l", here + "/log", "-w", "start")
    try:
        link = socket.create_connection(("127.0.0.1", port), timeout=10)
        hello = Postgres.request("", True)[: -len(Postgres.ask(Postgres.query % ""))]
        streams = "SELECT count(*)::text FROM pg_stat_wal_receiver WHERE status = 'streaming'"
        found = exchange(link, hello + Postgres.ask(streams), True)
        end = time.monotonic() + 20
        while found != "1":
            if time.monotonic() > end:
                raise SystemExit("the copy does not follow: " + open(here + "/log").read()[-1000:])
            time.sleep(0.02)
            found = exchange(link, Postgres.ask(streams), False)
        began = time.monotonic()
        exchange(link, Postgres.ask("SELECT pg_promote(false)::text"), False)
        link.close()
        while True:
            # One that is refused for being a standby leaves its connection in the middle of an answer.
            link = socket.create_connection(("127.0.0.1", port), timeout=10)
            try:
                exchange(link, Postgres.request("floor", True), True)
                break
            except OSError as refused:
                link.close()
                if time.monotonic() > began + 20:
                    raise SystemExit("the copy takes no rows: %s" % refused) from refused
        print(time.monotonic() - began, flush=True)
    finally:
        run(programs + "pg_ctl", "-D", here, "-m", "immediate", "-w", "stop")
        shutil.rmtree(here, ignore_errors=True)


def echo():
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.bind(("0.0.0.0", ECHO_PORT))
    name = os.uname().nodename.encode()
    while True:
        _, asker = link.recvfrom(64)
        try:
            link.sendto(name, asker)
        except OSError:
            # The way back is not there yet.
            pass


def ask(address, seconds):
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setblocking(False)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            link.sendto(b"?", (address, ECHO_PORT))
        except OSError:
            pass
        if select.select([link], [], [], 0.001)[0]:
            try:
                name = link.recv(64).decode()
            except OSError:
                continue
            print(time.monotonic(), name, flush=True)


def take(address):
    began = time.monotonic()
    subprocess.run(["ip", "addr", "add", address + "/24", "dev", "host0"], check=True)
    subprocess.run(["arping", "-q", "-U", "-c", "1", "-I", "host0", address], check=False, stdout=subprocess.DEVNULL)
    print(began, flush=True)


if __name__ == "__main__":
    verb, words = sys.argv[1], sys.argv[2:]
    if verb == "write":
        write({"postgres": Postgres, "redis": Redis}[words[0]], words[1])
    elif verb == "promote":
        promote(words[0])
    elif verb == "echo":
        echo()
    elif verb == "ask":
        ask(words[0], float(words[1]))
    elif verb == "take":
        take(words[0])

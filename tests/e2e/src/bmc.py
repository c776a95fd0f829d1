"""IPMI over LAN for the hosts of a lab.

Arguments: user, password, then host=address of each BMC. Writes "listening" once all of them are bound,
then a line "<verb> <host>" whenever it needs to know or do something, and reads a line back:
on | off for status, done | failed for the rest.
"""

import sys

from pyghmi.ipmi.bmc import Bmc
from pyghmi.ipmi.private import session

# IPMI 2.0, table 5-2: completion code "unspecified error".
UNSPECIFIED_ERROR = 0xFF


def ask(verb, host):
    print(verb, host, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        sys.exit(0)  # the harness is gone
    return answer.strip()


class HostBmc(Bmc):
    def __init__(self, host, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.host = host

    def do(self, verb):
        return 0 if ask(verb, self.host) == "done" else UNSPECIFIED_ERROR

    def get_power_state(self):
        return ask("status", self.host)

    def power_on(self):
        return self.do("on")

    def power_off(self):
        return self.do("off")

    def power_cycle(self):
        return self.do("reset")

    def power_reset(self):
        return self.do("reset")

    def power_shutdown(self):
        return self.do("button")


def main():
    user, password, *hosts = sys.argv[1:]
    bmcs = []
    for argument in hosts:
        host, address = argument.split("=")
        bmcs.append(HostBmc(host, {user: password}, port=623, address=address))
    print("listening", flush=True)
    # The loop wakes its reading thread by a packet to this address and the port of the first BMC, where by default
    # nobody listens: then BMCs but the first would not be heard at first, and later ones late.
    session.myself = hosts[0].split("=")[1]
    Bmc.listen()


main()

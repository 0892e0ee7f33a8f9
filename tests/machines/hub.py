"""`python -m tests.machines.hub DEVICE...`: a switch between network devices that can delay and cut.

The kernel here may have no netem, so packets go through this program, by raw sockets. Commands come on stdin,
one a line, and are answered by "ok": `cut 1>2 2>1` (nothing goes from host 1 to host 2, and back; a former cut
ends), `delay SECONDS`, and the end of the file, which ends it. Hosts are known by the last number of their
IPv4 address.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import socket
import sys
import time
from typing import Final

ETH_P_ALL: Final = 3
LONGEST: Final = 70_000
BUFFER: Final = 8 * 1024 * 1024
AT_ONCE: Final = 64
IPV4: Final = b"\x08\x00"
ARP: Final = b"\x08\x06"
TARGET: Final = {IPV4: 33, ARP: 41}
"""By the type of a packet: where the last number of the address is that it is for."""


def ok() -> None:
    """Say that what was asked is done."""
    sys.stdout.write("ok\n")
    sys.stdout.flush()


class Hub:
    """Hands packets on."""

    def __init__(self, devices: list[str]) -> None:
        self.sockets = {number: self._open(name) for number, name in enumerate(devices, 1)}
        self.selector = selectors.DefaultSelector()
        for number, sock in self.sockets.items():
            self.selector.register(sock, selectors.EVENT_READ, number)
        self.selector.register(0, selectors.EVENT_READ, 0)
        self.cut: set[tuple[int, int]] = set()
        self.delay = 0.0
        self.late: list[tuple[float, int, int, bytes]] = []
        self.numbers = itertools.count()
        self.commands = b""

    def _open(self, device: str) -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind((device, 0))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        return sock

    def run(self) -> None:
        """Hand on until stdin ends."""
        while True:
            until = self.late[0][0] - time.monotonic() if self.late else None
            for key, _ in self.selector.select(None if until is None else max(0.0, until)):
                if key.data:
                    self.take(key.data)
                elif not self.obey():
                    return
            while self.late and self.late[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(self.late)
                self.send(target, packet)

    def take(self, source: int) -> None:
        """Take what a host has sent."""
        for _ in range(AT_ONCE):
            try:
                packet, address = self.sockets[source].recvfrom(LONGEST)
            except OSError:
                return
            at = TARGET.get(packet[12:14])
            if address[2] == socket.PACKET_OUTGOING or at is None:
                continue
            target = packet[at]
            if (source, target) in self.cut:
                continue
            if self.delay:
                due = time.monotonic() + self.delay
                heapq.heappush(self.late, (due, next(self.numbers), target, packet))
            else:
                self.send(target, packet)

    def send(self, target: int, packet: bytes) -> None:
        """Give a packet to a host; one that has no room for it loses it."""
        if target in self.sockets:
            try:
                self.sockets[target].send(packet)
            except OSError:
                return

    def obey(self) -> bool:
        """Take commands; return whether there may be more."""
        data = os.read(0, 4096)
        *lines, self.commands = (self.commands + data).split(b"\n")
        for line in lines:
            word, *values = line.decode().split()
            if word == "delay":
                self.delay = float(values[0])
            else:
                self.cut = {(int(a), int(b)) for a, b in (value.split(">") for value in values)}
            ok()
        return bool(data)


if __name__ == "__main__":
    hub = Hub(sys.argv[1:])
    ok()
    hub.run()

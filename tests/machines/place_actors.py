"""Actors that talk to one another on nodes of one place, and of two."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from actors import Actor, Ref, SharedBuffer, move
from actors.errors import NodeDown, NotSendable
from tests.contracts.payloads import KINDS, seen


class Talker(Actor):
    """Sends what it is told to another actor, and keeps what it is sent."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    async def look(self, value: Any) -> Any:
        """Say what there is to see of a value."""
        return seen(value)

    async def send(self, other: Ref[Talker], kind: str, size: int) -> Any:
        """Return what another one sees of a payload, or why it cannot be sent."""
        try:
            return await other.ask(Talker.look, KINDS[kind](size))
        except NotSendable as error:
            return str(error)

    async def keep(self, value: Any) -> None:
        """Keep a value."""
        self.kept.append(value)

    async def kept_ones(self) -> list[Any]:
        """Say what there is to see of what was kept."""
        return [seen(value) for value in self.kept]

    async def drop(self) -> None:
        """Keep nothing."""
        self.kept.clear()

    async def have_kept(self, other: Ref[Talker], kind: str, size: int, times: int) -> None:
        """Have another one keep payloads."""
        for _ in range(times):
            await other.ask(Talker.keep, KINDS[kind](size))

    async def count_up(self, shared: SharedBuffer, times: int) -> None:
        """Add to the first number of a buffer."""
        for _ in range(times):
            shared.atomics.add(0, 1)

    async def count_together(self, other: Ref[Talker], times: int) -> int:
        """Return what two have added to one number."""
        shared = SharedBuffer(8)
        await self.count_up(shared, times)
        await other.ask(Talker.count_up, shared, times)
        return shared.atomics.load(0)

    async def answer(self, sock: socket.socket) -> None:
        """Answer over a socket, which is closed."""
        with sock:
            sock.sendall(b"hello")

    async def be_answered(self, other: Ref[Talker]) -> bytes:
        """Return what another one says over a socket that it is given."""
        ours, theirs = socket.socketpair()
        with ours:
            await other.ask(Talker.answer, move(theirs))
            return ours.recv(100)

    async def talk(self, other: Ref[Talker], times: int) -> None:
        """Ask another one some times."""
        for _ in range(times):
            await other.ask(Talker.look, None)

    async def talk_on(self, other: Ref[Talker]) -> None:
        """Ask another one once, however often its node ends meanwhile."""
        while True:
            try:
                return await self.talk(other, 1)
            except NodeDown:
                continue

    async def pid(self) -> int:
        """Return the process it runs in."""
        return os.getpid()

    async def kill_process(self) -> None:
        """End as by the kernel."""
        os.kill(os.getpid(), signal.SIGKILL)

    async def open(self) -> tuple[int, int]:
        """Return how many descriptors its process has, and how many files of shared memory are mapped there."""
        return _open()


def _open() -> tuple[int, int]:
    maps = Path("/proc/self/maps").read_text("ascii").splitlines()
    shared = {line.split()[4] for line in maps if "/memfd:actors" in line}
    return len(list(Path("/proc/self/fd").iterdir())), len(shared)

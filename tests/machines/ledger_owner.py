"""An actor that writes down when it runs, as somebody outside would see it."""

from __future__ import annotations

import os
import uuid

import anyio

from actors import Actor, Ref
from actors.machines.lease_page import boot_time

EVERY = 0.005


class LedgerOwner(Actor):
    """Writes the time and who it is to a file, again and again, for as long as it runs."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def on_start(self) -> None:
        """Begin to write."""
        self.context.tasks.start_soon(self._write)

    async def _write(self) -> None:
        # Not the process's number, which in half an hour another process may have.
        me = uuid.uuid4().hex
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            while True:
                os.write(fd, f"{boot_time()} {me}\n".encode())
                await anyio.sleep(EVERY)
        finally:
            os.close(fd)

    async def pid(self) -> int:
        """Return the process it runs in."""
        return os.getpid()


class Asker(Actor):
    """Asks the owner from another node."""

    async def pid_of(self, owner: Ref[LedgerOwner]) -> int:
        """Ask."""
        return await owner.within(30.0).ask(LedgerOwner.pid)

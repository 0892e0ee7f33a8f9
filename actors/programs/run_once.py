"""A command that is run to its end, for a limited time: nothing of it is left, and nobody waits longer.

Health checks and what is told of alerts run so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio

from actors._base.loop import Loop
from actors.programs.account import Account
from actors.programs.spawn import SpawnedProcess, spawn
from actors.programs.threads import ProgramThreads

__all__ = ["CommandEnd", "run_once"]

_READ_AT_ONCE: Final = 65536
_KEPT: Final = 400
"""Bytes of what it wrote last that its failure is told with."""
_END: Final = 5.0
"""Seconds that the end of a killed command is waited for."""


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended.

    Attributes:
        code: its exit code or minus its signal; None if it took too long, and was killed.
        said: the end of what it wrote, in one line.
    """

    code: int | None
    said: str

    def __str__(self) -> str:
        code = self.code or 0
        how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
        return f"{how}: {self.said}" if self.said else how


async def run_once(
    command: Sequence[str],
    env: Mapping[str, str],
    seconds: float,
    *,
    loop: Loop,
    threads: ProgramThreads,
    cwd: str | None = None,
    account: Account | None = None,
) -> CommandEnd:
    """Run a command, and return how it ended.

    Args:
        command: the program and its arguments.
        env: its whole environment.
        seconds: after which it is killed, with all that it has started.
        loop: of the system.
        threads: where it is started.
        cwd: its folder; None is this process's own.
        account: who it runs as; None is who this process runs as.

    Raises:
        OSError: it cannot be started.
        SystemStopped: the system starts no more programs.
    """
    process = await threads.run(spawn, command, env, cwd, account, undo=SpawnedProcess.end)
    run = _Run(loop, process)
    in_time = False
    try:
        with anyio.move_on_after(seconds):
            await run.ended.wait()
            in_time = True
    finally:
        process.kill()  # of its group, if the command itself has ended
        with anyio.move_on_after(_END, shield=True):
            await run.ended.wait()
    return CommandEnd(run.code if in_time else None, run.said)


class _Run:
    """A command that runs: reads what it writes, of which it keeps the end, and reaps it."""

    def __init__(self, loop: Loop, process: SpawnedProcess) -> None:
        self.ended: anyio.Event = anyio.Event()
        self.code: int = 0
        """Its exit code; 0 if code of the user's has reaped it."""
        self._loop = loop
        self._process = process
        self._fds = [process.stdout, process.stderr]
        self._last = b""
        loop.watch_readable(process.pidfd, self._end)
        for fd in self._fds:
            os.set_blocking(fd, False)
            loop.watch_readable(fd, partial(self._read, fd))

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _READ_AT_ONCE)
        except BlockingIOError:
            return
        self._last = (self._last + data)[-_KEPT:]
        if not data:
            self._close(fd)

    def _close(self, fd: int) -> None:
        self._fds.remove(fd)
        self._loop.unwatch_readable(fd)
        os.close(fd)

    def _end(self) -> None:
        self._loop.unwatch_readable(self._process.pidfd)
        self.code = self._process.reap() or 0
        for fd in list(self._fds):
            self._read(fd)
        for fd in list(self._fds):
            self._close(fd)
        self.ended.set()

    @property
    def said(self) -> str:
        """The end of what it wrote, in one line."""
        return " ".join(self._last.decode("utf-8", "backslashreplace").split())

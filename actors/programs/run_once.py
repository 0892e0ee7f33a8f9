"""A program that is run to its end, for a limited time: nothing of it is left, and nobody waits longer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import anyio

from actors.programs.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["run_once"]

_READ_AT_ONCE: Final = 65536
_KEPT: Final = 500
"""Bytes of what it wrote last that its failure is told with."""


async def run_once(command: Sequence[str], env: Mapping[str, str], seconds: float) -> str:
    """Run a program; return why it failed, "" if it did not.

    Args:
        command: the program and its arguments.
        env: its environment.
        seconds: after which it is killed, with all that it has started.
    """
    try:
        process = spawn(command, env, None, None)
    except OSError as error:
        return f"cannot be started: {error.strerror or error}"
    said = bytearray()
    in_time = False
    try:
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_read, process.stdout, bytearray())
                tasks.start_soon(_read, process.stderr, said)
                await anyio.wait_readable(process.pidfd)
                tasks.cancel_scope.cancel()
            in_time = True
        _take(process.stderr, said)
    finally:
        process.kill()
        with anyio.CancelScope(shield=True):  # it was killed, so this is soon
            await anyio.wait_readable(process.pidfd)
        code = process.reap()
        os.close(process.stdout)
        os.close(process.stderr)
    if not in_time:
        return f"took longer than {seconds:g} s"
    return f"exit code {code}: {said.decode(errors='replace').strip()}" if code else ""


async def _read(fd: int, last: bytearray) -> None:
    os.set_blocking(fd, False)
    while True:
        await anyio.wait_readable(fd)
        if not _take(fd, last):
            return


def _take(fd: int, last: bytearray) -> bool:
    """Read what is there, and keep the end of it; return whether more may come."""
    try:
        data = os.read(fd, _READ_AT_ONCE)
    except BlockingIOError:
        return True
    last += data
    del last[:-_KEPT]
    return bool(data)

"""One check of the health of an instance: how it goes, in a bounded time and memory."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import Final

import anyio
from anyio.abc import ByteStream

from actors._base.loop import Loop
from actors.programs.health import HealthTarget
from actors.programs.options import ProgramOptions
from actors.programs.spawn import SpawnedProcess, spawn
from actors.programs.thread import ProgramThread

__all__ = ["checked"]

_HEAD: Final = 4096
"""Bytes within which the status of an answer stands."""
_FIRST_BAD: Final = 400
_END: Final = 5.0
"""Seconds that the end of a killed command is waited for."""
_START: Final = 40
"""Letters that the reason has of an answer that is no HTTP."""
_SHOWN: Final = 400
"""Bytes of what a command wrote that the reason has."""


async def checked(
    target: HealthTarget,
    timeout: float,  # noqa: ASYNC109 - it is an option of the check, and the answer says it
    *,
    loop: Loop,
    thread: ProgramThread,
    options: ProgramOptions,
    env: dict[str, str],
) -> str:
    """Return why an instance is not healthy, or an empty text.

    Args:
        target: what is asked.
        timeout: seconds that it may take.
        loop: of the system.
        thread: where a command is started.
        options: of the program.
        env: the environment of a command.
    """
    late = f"{target} has not answered within {timeout:g} s"
    with anyio.move_on_after(timeout):
        try:
            if target.kind == "command":
                return await _command(target, loop, thread, options, env)
            async with await anyio.connect_tcp(target.host, target.port) as stream:
                return "" if target.kind == "tcp" else await _http(target, stream)
        except (OSError, anyio.BrokenResourceError) as error:
            return f"{target}: {_reason(error)}"
    return late


def _reason(error: BaseException) -> str:
    """Return why a connection failed; what connects may try several addresses, and tells all of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error.__cause__ is not None:
        return _reason(error.__cause__)
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


async def _http(target: HealthTarget, stream: ByteStream) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    request = (
        f"GET {target.path} HTTP/1.1\r\nHost: {host}:{target.port}\r\n"
        "User-Agent: actors\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    await stream.send(request.encode("ascii"))
    head = b""
    with suppress(anyio.EndOfStream):
        while b"\n" not in head and len(head) < _HEAD:
            head += await stream.receive(_HEAD)
    line = head.partition(b"\n")[0].decode("ascii", "backslashreplace").strip()
    version, _, rest = line.partition(" ")
    status = rest[:3]
    if not (version.startswith("HTTP/") and status.isascii() and status.isdigit()):
        return f"{target} has answered no HTTP: {line[:_START]!r}"
    return f"{target} has answered {rest}" if int(status) >= _FIRST_BAD else ""


async def _command(
    target: HealthTarget,
    loop: Loop,
    thread: ProgramThread,
    options: ProgramOptions,
    env: dict[str, str],
) -> str:
    process = await thread.run(
        spawn, target.command, env, options.cwd, options.account, undo=SpawnedProcess.end
    )
    run = _CommandRun(loop, process)
    try:
        await run.ended.wait()
    finally:
        process.kill()  # of its group, if the command itself has ended
        with anyio.move_on_after(_END, shield=True):
            await run.ended.wait()
    return f"{target}: {run.how()}" if run.code else ""


class _CommandRun:
    """A command that runs: reads what it writes, of which it keeps the end, and reaps it."""

    def __init__(self, loop: Loop, process: SpawnedProcess) -> None:
        self.ended: anyio.Event = anyio.Event()
        self.code: int | None = None
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
            data = os.read(fd, _HEAD)
        except BlockingIOError:
            return
        self._last = (self._last + data)[-_SHOWN:]
        if not data:
            self._close(fd)

    def _close(self, fd: int) -> None:
        self._fds.remove(fd)
        self._loop.unwatch_readable(fd)
        os.close(fd)

    def _end(self) -> None:
        self._loop.unwatch_readable(self._process.pidfd)
        self.code = self._process.reap()
        for fd in list(self._fds):
            self._read(fd)
        for fd in list(self._fds):
            self._close(fd)
        self.ended.set()

    def how(self) -> str:
        """Return how it ended, and the end of what it wrote, in one line."""
        code = self.code or 0
        how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
        text = " ".join(self._last.decode("utf-8", "backslashreplace").split())
        return f"{how}: {text}" if text else how

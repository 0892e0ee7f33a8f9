"""One check of the health of an instance: how it goes, in a bounded time and memory."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import ByteStream

from actors._base.loop import Loop
from actors.programs.health import HealthTarget
from actors.programs.options import ProgramOptions
from actors.programs.run_once import run_once
from actors.programs.threads import ProgramThreads

__all__ = ["checked"]

_HEAD: Final = 4096
"""Bytes within which the status of an answer stands."""
_FIRST_BAD: Final = 400
_START: Final = 40
"""Letters that the reason has of an answer that is no HTTP."""


async def checked(
    target: HealthTarget,
    timeout: float,  # noqa: ASYNC109 - it is an option of the check, and the answer says it
    *,
    loop: Loop,
    threads: ProgramThreads,
    options: ProgramOptions,
    env: dict[str, str],
) -> str:
    """Return why an instance is not healthy, or an empty text.

    Args:
        target: what is asked.
        timeout: seconds that it may take.
        loop: of the system.
        threads: where a command is started.
        options: of the program.
        env: the environment of a command.
    """
    with anyio.move_on_after(timeout):
        try:
            if target.kind == "command":
                return await _command(target, timeout, loop, threads, options, env)
            async with await anyio.connect_tcp(target.host, target.port) as stream:
                return "" if target.kind == "tcp" else await _http(target, stream)
        except (OSError, UnicodeError, anyio.BrokenResourceError) as error:
            return f"{target}: {_reason(error)}"
    return _late(target, timeout)


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
    timeout: float,  # noqa: ASYNC109 - as above
    loop: Loop,
    threads: ProgramThreads,
    options: ProgramOptions,
    env: dict[str, str],
) -> str:
    end = await run_once(
        target.command,
        env,
        timeout,
        loop=loop,
        threads=threads,
        cwd=options.cwd,
        account=options.account,
    )
    if end.code is None:
        return _late(target, timeout)
    return f"{target}: {end}" if end.code else ""


def _late(target: HealthTarget, seconds: float) -> str:
    return f"{target} has not answered within {seconds:g} s"

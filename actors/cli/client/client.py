"""The other end of the control socket: finds the running system and asks it one thing.

Rule 1: synchronous, so that a command costs no event loop.
Rule 2: every wait has an end, and says what was waited for.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from actors.cli._failure import FAILED, NOT_RUNNING, WRONG, CommandFailed
from actors.cli.server.folder import control_folder, socket_path, sockets

__all__ = ["ControlConnection", "connect"]

_REPLY: Final = 10.0
"""Seconds that a reply may take; a system bounds its own questions to its nodes."""
_CHUNK: Final = 256 * 1024
_CODES: Final = {"wrong": WRONG, "failed": FAILED}
"""The exit code by what a system says of its refusal."""


@dataclass(frozen=True, slots=True)
class _Found:
    pid: int
    sock: socket.socket


class ControlConnection:
    """One question to one running system; use it as a context manager."""

    def __init__(self, found: _Found) -> None:
        self.pid = found.pid
        self._sock = found.sock
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ask no more."""
        self._sock.close()

    def ask(self, op: str, *, wait: float = _REPLY, **details: Any) -> Any:
        """Ask, and return the result.

        Args:
            op: for what.
            wait: how many seconds the reply may take.
            **details: what else belongs to the question.

        Raises:
            CommandFailed: it refused, could not do it, or did not answer.
        """
        self._sock.settimeout(wait)
        try:
            self._sock.sendall(json.dumps({"op": op, **details}).encode() + b"\n")
            reply = json.loads(self._line())
        except TimeoutError as error:
            raise CommandFailed(f"system {self.pid} did not answer within {wait:g} s") from error
        except (OSError, ValueError) as error:
            raise CommandFailed(f"system {self.pid} broke off its answer: {error}") from error
        if reply["ok"]:
            return reply["result"]
        if "why" in reply:
            raise CommandFailed(reply["error"], _CODES[reply["why"]])
        raise CommandFailed(f"system {self.pid} refused: {reply['error']}")

    def follow(self, op: str, **details: Any) -> Iterator[Any]:
        """Ask for what does not end, and give what comes until the system has ended.

        Raises:
            CommandFailed: it refused, or did not answer.
        """
        self.ask(op, **details)
        self._sock.settimeout(None)
        while True:
            try:
                line = self._line()
            except OSError:
                return
            yield json.loads(line)

    def _line(self) -> bytes:
        """Read one line, and keep what came with it."""
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            part = self._sock.recv(_CHUNK)
            if not part:
                raise OSError("it closed the connection")
            parts.append(part)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line

    def stop(self, seconds: float) -> None:
        """Ask for the end of the system and wait until its process is gone.

        Raises:
            CommandFailed: it is still there after *seconds*.
        """
        try:
            process = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            self.ask("stop")
            if not select.select([process], [], [], seconds)[0]:
                raise CommandFailed(
                    f"system {self.pid} is still stopping after {seconds:g} s: "
                    f"`kill -9 {self.pid}` ends it and its nodes at once"
                )
        finally:
            os.close(process)


def connect(pid: int | None) -> ControlConnection:
    """Connect to the one running system, or to that of process *pid*.

    Raises:
        CommandFailed: there is none, or several and none was chosen.
    """
    folder = control_folder()
    found = [] if pid is not None else _running(folder)
    if pid is not None:
        chosen = _try(pid, socket_path(folder, pid))
        if chosen is not None:
            return ControlConnection(chosen)
        found = _running(folder)
    if pid is None and len(found) == 1:
        return ControlConnection(found[0])
    for other in found:
        other.sock.close()
    if pid is not None:
        there = ", ".join(str(other.pid) for other in found) or "none"
        raise CommandFailed(f"no system runs in process {pid}; running: {there}", NOT_RUNNING)
    if not found:
        raise CommandFailed(f"no system of yours is running (looked in {folder})", NOT_RUNNING)
    lines = "".join(f"\n  --pid {other.pid}   {_command(other.pid)}" for other in found)
    raise CommandFailed(f"{len(found)} systems are running; choose one:{lines}", WRONG)


def _running(folder: Path) -> list[_Found]:
    """Return the systems that can be connected to; stale sockets are passed over."""
    tried = [_try(pid, path) for pid, path in sockets(folder)]
    return [found for found in tried if found is not None]


def _try(pid: int, path: Path) -> _Found | None:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(1.0)
    try:
        sock.connect(str(path))
        given = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        owner: int = struct.unpack("3i", given)[1]
    except OSError:
        sock.close()
        return None
    if owner != os.geteuid():
        sock.close()
        return None
    return _Found(pid, sock)


def _command(pid: int) -> str:
    """Return how that process was started, where that can be seen."""
    with suppress(OSError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return raw.decode("utf-8", "backslashreplace").replace("\0", " ").strip()
    return ""

"""Finds the running system, and asks it over its control socket.

Rule 1: synchronous, so that a command needs no event loop.
Rule 2: every wait has a limit, and its error says what was waited for.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from actors._base.printable import printable
from actors.cli._control_folder import control_folder, control_sockets, socket_path
from actors.cli._failure import FAILED, NOT_RUNNING, WRONG, CommandFailed

__all__ = ["REPLY_TIMEOUT", "ControlConnection", "connect"]

REPLY_TIMEOUT: Final = 10.0
"""Seconds that a reply may take; the system has shorter limits for what it asks its nodes."""
_CONNECT_TIMEOUT: Final = 1.0
_CHUNK: Final = 256 * 1024
_EXIT_CODES: Final = {"wrong": WRONG, "failed": FAILED}
"""The exit code by the `why` of a refusal."""


class ControlConnection:
    """A connection to the system in process *pid*, for one request."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self._sock = sock
        self._unread = b""

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def ask(self, op: str, *, timeout: float = REPLY_TIMEOUT, **arguments: Any) -> Any:
        """Send one request and return its result.

        Args:
            op: the operation, one of the names in `actors.cli.server.operations`.
            timeout: how many seconds the reply may take.
            **arguments: those of the operation.

        Raises:
            CommandFailed: the system refused, failed, or did not answer in time.
        """
        self._sock.settimeout(timeout)
        try:
            self._sock.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
            reply = json.loads(self._read_line())
        except TimeoutError as error:
            raise CommandFailed(f"system {self.pid} did not answer within {timeout:g} s") from error
        except (OSError, ValueError) as error:
            raise CommandFailed(f"system {self.pid} broke off its answer: {error}") from error
        if reply["ok"]:
            return reply["result"]
        if "why" in reply:
            raise CommandFailed(reply["error"], _EXIT_CODES[reply["why"]])
        raise CommandFailed(f"system {self.pid} refused: {reply['error']}")

    def follow(self, op: str, **arguments: Any) -> Iterator[Any]:
        """Send a request that is answered by many lines; give them until the system has ended.

        Raises:
            CommandFailed: the system refused, or did not answer in time.
        """
        self.ask(op, **arguments)
        self._sock.settimeout(None)
        while True:
            try:
                line = self._read_line()
            except OSError:
                return
            yield json.loads(line)

    def _read_line(self) -> bytes:
        """Read one line; keep what arrived after it for the next call."""
        parts = [self._unread]
        while b"\n" not in parts[-1]:
            part = self._sock.recv(_CHUNK)
            if not part:
                raise OSError("it closed the connection")
            parts.append(part)
        line, _, self._unread = b"".join(parts).partition(b"\n")
        return line

    def stop(self, timeout: float) -> None:
        """Ask the system to stop, and wait until its process has ended.

        Raises:
            CommandFailed: it has not ended after *timeout* seconds.
        """
        try:
            process = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            self.ask("stop")
            if not select.select([process], [], [], timeout)[0]:
                raise CommandFailed(
                    f"system {self.pid} is still stopping after {timeout:g} s: "
                    f"`kill -9 {self.pid}` ends it and its nodes at once"
                )
        finally:
            os.close(process)


def connect(pid: int | None) -> ControlConnection:
    """Connect to the system in process *pid*; without one, to the only system that runs.

    Raises:
        CommandFailed: it does not run, or several run and none was chosen.
    """
    folder = control_folder()
    if pid is not None and (chosen := _try_connect(pid, socket_path(folder, pid))) is not None:
        return chosen
    tried = [_try_connect(other, path) for other, path in control_sockets(folder)]
    running = [connection for connection in tried if connection is not None]
    if pid is None and len(running) == 1:
        return running[0]
    for connection in running:
        connection.close()
    if pid is not None:
        pids = ", ".join(str(connection.pid) for connection in running) or "none"
        raise CommandFailed(f"no system runs in process {pid}; running: {pids}", NOT_RUNNING)
    if not running:
        raise CommandFailed(f"no system of yours is running (looked in {folder})", NOT_RUNNING)
    lines = "".join(f"\n  --pid {found.pid}   {_command_line(found.pid)}" for found in running)
    raise CommandFailed(f"{len(running)} systems are running; choose one:{lines}", WRONG)


def _try_connect(pid: int, path: Path) -> ControlConnection | None:
    """Connect to the socket of a system of this user; return None if there is none."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(_CONNECT_TIMEOUT)
    with suppress(OSError):
        sock.connect(str(path))
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] == os.geteuid():
            return ControlConnection(pid, sock)
    sock.close()
    return None


def _command_line(pid: int) -> str:
    """Return how that process was started, or nothing where that cannot be read."""
    with suppress(OSError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return printable(raw.decode("utf-8", "backslashreplace").replace("\0", " ").strip())
    return ""

"""Finds the control socket of the running system that somebody means, and connects to it.

Rule: only systems of this user are found; a socket whose system has ended is no system.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from actors._base.control_folder import ControlSocket, control_sockets
from actors._base.printable import printable
from actors._root_errors import ActorsError

__all__ = ["FoundSystem", "NoneRuns", "SeveralRun", "find_system"]

_CONNECT_TIMEOUT: Final = 1.0
"""Seconds."""


class NoneRuns(ActorsError):
    """No such system runs."""


class SeveralRun(ActorsError):
    """More than one system is meant.

    Attributes:
        choices: what to call each, and the command line of its process.
    """

    def __init__(self, choices: list[tuple[str, str]]) -> None:
        super().__init__(f"{len(choices)} systems are running; choose one")
        self.choices = choices


class FoundSystem(NamedTuple):
    """A running system, and a connection to it.

    Attributes:
        at: where it is asked.
        sock: connected; whoever has it closes it.
    """

    at: ControlSocket
    sock: socket.socket


def find_system(which: str | None, folder: Path) -> FoundSystem:
    """Connect to a system of this user; without a choice, to the only one that runs.

    Args:
        which: the number of its process, its name, or both as "4711-orders".
        folder: where its control socket is.

    Raises:
        NoneRuns: there is no such system.
        SeveralRun: several are meant.
        BadFolder: the folder may not be used.
    """
    there = list(control_sockets(folder))
    running = _connected(there if which is None else _called(which, there))
    if len(running) == 1:
        return running[0]
    _close(running)
    if running:
        raise SeveralRun([(one.at.label, _command_line(one.at.pid)) for one in running])
    if which is None:
        raise NoneRuns(f"no system of yours is running (looked in {folder})")
    others = _connected(there)
    _close(others)
    labels = ", ".join(one.at.label for one in others) or "none"
    what = f"in process {which}" if which.isdigit() else f"as {which!r}"
    raise NoneRuns(f"no system runs {what}; running: {labels}")


def _called(which: str, there: list[ControlSocket]) -> list[ControlSocket]:
    """Return the sockets that *which* means: one by its label, or all of a process or of a name."""
    exact = [one for one in there if one.label == which]
    return exact or [one for one in there if which in {str(one.pid), one.name}]


def _connected(sockets: list[ControlSocket]) -> list[FoundSystem]:
    tried = [_try_connect(one) for one in sockets]
    return [found for found in tried if found is not None]


def _close(found: Iterable[FoundSystem]) -> None:
    for one in found:
        one.sock.close()


def _try_connect(at: ControlSocket) -> FoundSystem | None:
    """Connect to the socket of a system of this user; return None if there is none."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(_CONNECT_TIMEOUT)
    with suppress(OSError):
        sock.connect(str(at.path))
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] == os.geteuid():
            return FoundSystem(at, sock)
    sock.close()
    return None


def _command_line(pid: int) -> str:
    """Return how that process was started, or nothing where that cannot be read."""
    with suppress(OSError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return printable(raw.decode("utf-8", "backslashreplace").replace("\0", " ").strip())
    return ""

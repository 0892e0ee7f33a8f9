"""pdb over a socket: whoever has the other end types its commands, and may leave at any time."""

from __future__ import annotations

import pdb  # noqa: T100 - it is what this is about
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["RemotePdb", "Terminal"]

_WRITTEN_WITHIN: Final = 30.0
"""Seconds; whoever does not read for so long has left."""


class Terminal:
    """A socket as the input and output of pdb; when the other end has closed, its input has ended."""

    encoding = "utf-8"

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lines = sock.makefile("r", encoding="utf-8", errors="replace")
        self._unwritten: list[str] = []

    def wait(self, seconds: float) -> bool | None:
        """Wait for somebody; return whether one has come, None if nobody can."""
        self._sock.settimeout(seconds)
        try:
            return True if self._sock.recv(1) else None
        except TimeoutError:
            return False
        except OSError:
            return None

    def readline(self) -> str:
        self.flush()
        try:
            self._sock.settimeout(None)
            return self._lines.readline()
        except (OSError, ValueError):
            return ""

    def write(self, text: str) -> None:
        self._unwritten.append(text)

    def flush(self) -> None:
        text, self._unwritten = "".join(self._unwritten), []
        try:
            self._sock.settimeout(_WRITTEN_WITHIN)
            self._sock.sendall(text.encode("utf-8", "backslashreplace"))
        except OSError:
            self.close()

    def close(self) -> None:
        with suppress(OSError):
            self._lines.close()
            self._sock.close()


class RemotePdb(pdb.Pdb):
    """pdb whose user may leave: the program continues then, without breakpoints."""

    def __init__(
        self, terminal: Terminal, still: Callable[[], AbstractContextManager[None]]
    ) -> None:
        streams: Any = terminal
        super().__init__(stdin=streams, stdout=streams, nosigint=True, readrc=False)
        self._terminal = terminal
        self._still = still

    def interaction(self, *args: Any, **options: Any) -> None:
        """Read commands, while no heartbeats are expected."""
        with self._still():
            super().interaction(*args, **options)

    def set_continue(self) -> None:
        """Let the program run; nothing keeps the connection if there are no breakpoints."""
        super().set_continue()
        if not self.breaks:
            self._terminal.flush()
            self._terminal.close()

    def set_quit(self) -> None:
        """Let the program run on, in place of ending it."""
        self.clear_all_breaks()
        self.set_continue()

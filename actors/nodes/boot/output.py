"""The log lines and the standard output of a node, read line by line.

Rule 1: whole lines only, so that lines of many nodes never mix.
Rule 2: reading never blocks the loop, and what a node wrote before it died is still read.
"""

from __future__ import annotations

import os
import select
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop

__all__ = ["LinesReader"]

_ROUNDS: Final = 4
"""Chunks to read at the end; a pipe holds one, if nobody has made it larger."""
_CHUNK: Final = 64 * 1024
_LONGEST: Final = 1024 * 1024


class LinesReader:
    """Reads one pipe and passes on its lines; remembers the last few."""

    def __init__(
        self, loop: Loop, fd: int, line: Callable[[str], None], *, remember: int = 20
    ) -> None:
        os.set_blocking(fd, False)
        self.last: deque[str] = deque(maxlen=remember)
        self._loop = loop
        self._fd = fd
        self._line = line
        self._rest = bytearray()
        loop.watch_readable(fd, self._read)

    def _read(self) -> None:
        if self._fd >= 0 and not self._take():
            self.close()

    def _take(self) -> bool:
        """Read one chunk; return whether the pipe may hold or get more."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return True
        # What waits for its newline is not looked at again: a line may come byte by byte.
        first, newline, others = data.partition(b"\n")
        self._rest += first
        if newline:
            self._pass_on_rest()
            *lines, last = others.split(b"\n")
            for line in lines:
                self._pass_on(line)
            self._rest += last
        if len(self._rest) > _LONGEST:
            self._pass_on_rest()
        return bool(data)

    def _pass_on_rest(self) -> None:
        line = bytes(self._rest)
        self._rest.clear()
        self._pass_on(line)

    def _pass_on(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        self.last.append(text)
        self._line(text)

    def close(self) -> None:
        """Pass on what is left and close the pipe; calling it again does nothing."""
        if self._fd < 0:
            return
        self._loop.unwatch_readable(self._fd)
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        # No more than a pipe holds: a program that outlives the node may write for ever.
        for _ in range(_ROUNDS):
            if not (poll.poll(0) and self._take()):
                break
        if self._rest:
            self._pass_on_rest()
        os.close(self._fd)
        self._fd = -1

"""Writes lines to standard error, and never waits for its reader.

Rule 1: only a thread may wait in write(2), and it runs only while there is something to write. A file or
an object without a descriptor is written at once.
Rule 2: lines that find no room are dropped and counted; the count is written as soon as there is room.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import stat
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LineWriter", "StandardError", "write_all"]

_ROOM: Final = 1024 * 1024
"""Characters that may wait for the reader."""
_LAST_WRITE: Final = 1.0
"""Seconds that the end of the process waits for the reader."""
_SHORT: Final = select.PIPE_BUF // 4
"""Characters of a line for which a writable pipe has room for certain."""
_LINGER: Final = 1.0
"""Seconds the thread waits for more to write before it ends."""


class LineWriter:
    """Writes lines to `sys.stderr`, whatever that is at the time.

    Args:
        dropped: makes the line that says how many were dropped.
    """

    def __init__(self, dropped: Callable[[int], str]) -> None:
        self._dropped_line = dropped
        self._dropped = 0
        self._waiting: deque[tuple[Any, str]] = deque()
        self._size = 0
        self._changed = threading.Condition()  # reentrant: a signal handler may log
        self._thread: threading.Thread | None = None

    def write(self, line: str, count: int = 1) -> None:
        """Write *line*, or *count* of them in one text, now or from the thread, or drop it; from any thread."""
        stream = sys.stderr
        if stream is None:
            return
        if not _may_wait(stream):
            self._put(stream, line + "\n")
            return
        with self._changed:
            if self._size > _ROOM:
                self._dropped += count
            elif self._running():
                self._waiting.append((stream, line + "\n"))
                self._size += len(line) + 1
                self._changed.notify_all()
            elif len(line) < _SHORT and _has_room(stream):
                self._put(stream, line + "\n")
            else:
                self._dropped += count

    def flush(self, seconds: float = _LAST_WRITE) -> None:
        """Wait until all is written, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._size, seconds)

    def _running(self) -> bool:
        """Return whether the thread runs, after starting it if need be."""
        if self._thread is None or not self._thread.is_alive():  # after a fork it is not
            if self._thread is None:
                atexit.register(self.flush)
            # A daemon, because nothing else ends a thread whose reader has stopped reading.
            self._thread = threading.Thread(target=self._run, name="actors log", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the system has no more: the next line tries again
                return False
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._changed.wait(_LINGER)
                if not self._waiting:
                    self._thread = None
                    return
                batch = list(self._waiting)
                self._waiting.clear()
            for stream, text in batch:
                self._put(stream, text)
            with self._changed:
                self._size -= sum(len(text) for _, text in batch)
                dropped, self._dropped = self._dropped, 0
                self._changed.notify_all()
            if dropped:
                self._put(batch[-1][0], self._dropped_line(dropped) + "\n")

    def _put(self, stream: Any, text: str) -> None:
        try:
            if isinstance(stream, StandardError) or type(stream) is io.TextIOWrapper:
                # Not by its buffer, whose lock a waiting thread would hold when the interpreter ends.
                write_all(_descriptor_of(stream), text.encode("utf-8", "backslashreplace"))
            else:
                stream.write(text)
                stream.flush()
        except Exception:  # noqa: BLE001 - it may be a user's object; a log must not end the system
            self._dropped += 1


class StandardError(io.TextIOBase):
    """Takes the place of `sys.stderr` in a program of ours: whoever prints there does not wait either.

    Args:
        take: writes lines that are complete.
        fd: its own number.
        real: where those lines go, if that is another one.

    Attributes:
        real: the descriptor that lines of the log are written to.
    """

    def __init__(self, take: Callable[[list[str]], None], fd: int, real: int | None = None) -> None:
        self._take = take
        self._fd = fd
        self.real: int = fd if real is None else real
        self._rest = ""

    def write(self, text: str) -> int:
        """Write the lines that are complete now."""
        lines, newline, rest = (self._rest + text).rpartition("\n")
        self._rest = rest  # first, as what writes a line may print
        if newline:
            self._take(lines.split("\n"))
        return len(text)

    def finish(self) -> None:
        """Write what no newline has ended."""
        rest, self._rest = self._rest, ""
        if rest:
            self._take([rest])

    def fileno(self) -> int:
        """Return the descriptor itself, which may make its users wait."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self.real)

    def writable(self) -> bool:
        """Return True."""
        return True


def _may_wait(stream: Any) -> bool:
    """Return whether a write may wait for somebody who reads: of a pipe, a terminal, a socket."""
    try:
        return not stat.S_ISREG(os.fstat(_descriptor_of(stream)).st_mode)
    except (AttributeError, OSError, TypeError, ValueError):
        return False


def _descriptor_of(stream: Any) -> Any:
    return stream.real if isinstance(stream, StandardError) else stream.fileno()


def _has_room(stream: Any) -> bool:
    poll = select.poll()
    poll.register(_descriptor_of(stream), select.POLLOUT)
    return bool(poll.poll(0))


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*, however long that takes."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # somebody has made it non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()

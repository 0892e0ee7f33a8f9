"""What a command of ours, and the threads in it, print: lines of the log as well.

Rule 1: for a terminal, text stays as it is; else each line is a record, as those of nodes are.
Rule 2: whoever prints never waits for the reader.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from actors._base.line_writer import StandardError
from actors._base.log import as_terminal, write_records, write_text
from actors._base.printed_lines import PrintedLines

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["output_to_log", "say"]

_PATIENCE: Final = 1.0
"""Seconds that a text without its newline, or a part of a traceback, waits for the rest."""


class _Records(StandardError):
    """Takes the place of standard output or standard error, and makes records of what is printed."""

    def __init__(self, fd: int) -> None:
        super().__init__(self._take_lines, fd)
        self._lines = PrintedLines()
        self._lock = threading.RLock()  # reentrant: a signal handler may print
        self._since = 0.0
        self._timer: threading.Timer | None = None

    def write(self, text: str) -> int:
        """Write the records that are complete now, and the rest soon."""
        with self._lock:
            super().write(text)
            self._since = time.monotonic()
            self._watch_time()
        return len(text)

    def finish(self) -> None:
        """Write what is held."""
        with self._lock:
            super().finish()
            write_records("", self._lines.rest())

    def _take_lines(self, lines: list[str]) -> None:
        write_records("", self._lines.take(lines))

    def _watch_time(self) -> None:
        if self._timer is None and (self.unfinished or self._lines.waits is not None):
            self._timer = threading.Timer(_PATIENCE, self._waited)
            self._timer.daemon = True
            with suppress(
                RuntimeError
            ):  # no thread can be started: it is written with what comes next
                self._timer.start()

    def _waited(self) -> None:
        with self._lock:
            self._timer = None
            if time.monotonic() - self._since >= _PATIENCE:
                self.finish()
            self._watch_time()


@contextmanager
def output_to_log() -> Iterator[None]:
    """Let everything that is printed in this process go the same way as log lines, within the block."""
    before = (sys.stdout, sys.stderr)
    records = not as_terminal()
    if records:
        sys.stdout = _taken_over(sys.stdout, records=True)
    sys.stderr = _taken_over(sys.stderr, records=records)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, StandardError):
                stream.finish()
        sys.stdout, sys.stderr = before


def say(text: str) -> None:
    """Print *text* for people, to standard error, as it is and behind what was written before."""
    write_text(text)


def _taken_over(stream: Any, *, records: bool) -> Any:
    try:
        fd = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return stream  # it has no descriptor
    if isinstance(stream, StandardError):
        return stream
    return (
        _Records(fd) if records else StandardError(lambda lines: write_text("\n".join(lines)), fd)
    )

"""What a command of ours, and the threads in it, print: lines of the log as well.

Rule 1: for a terminal, text stays as it is; else each line is a record, as those of nodes are: also what C code
and other programs write to the descriptors themselves.
Rule 2: whoever prints never waits for the reader.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from actors._base.descriptor_output import take_descriptors
from actors._base.line_writer import StandardError
from actors._base.log import as_terminal, flush_lines, own_node, write_records, write_text
from actors._base.printed_lines import PrintedLines

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["becomes_records", "make_records", "output_to_log", "say"]

_LONGEST: Final = 48 * 1024
"""Characters of a line, of which a longer one is written in parts."""
_PIECE: Final = 16 * 1024
_PATIENCE: Final = 1.0
"""Seconds that a text without its newline, or a part of a traceback, waits for the rest."""
_STDOUT: Final = 1
_STDERR: Final = 2
_NUMBERS: Final = {_STDOUT: "stdout", _STDERR: "stderr"}


class _Speaker:
    """What one thread prints as one node.

    Attributes:
        since: when it has printed last, by the monotonic clock.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._lines = PrintedLines()
        self._rest = ""
        self.since = 0.0

    @property
    def holds(self) -> bool:
        """Whether there is a text that no newline has ended, or a traceback that may go on."""
        return bool(self._rest) or self._lines.waits is not None

    def say(self, text: str) -> None:
        """Write the records that are complete now."""
        self.since = time.monotonic()
        for at in range(0, len(text), _PIECE):
            # The rest first, as what writes a line may print.
            *lines, self._rest = (self._rest + text[at : at + _PIECE]).split("\n")
            if len(self._rest) > _LONGEST - _PIECE:
                lines, self._rest = [*lines, self._rest], ""
            if lines:
                write_records(self._node, self._lines.take(lines))

    def finish(self) -> None:
        """Write what is held."""
        rest, self._rest = self._rest, ""
        found = self._lines.take([rest]) if rest else []
        write_records(self._node, [*found, *self._lines.rest()])


class _Records(StandardError):
    """Takes the place of standard output or standard error, and makes records of what is printed."""

    def __init__(self, fd: int, real: int | None = None) -> None:
        super().__init__(lambda _lines: None, fd, real)
        self._speakers: dict[tuple[str, int], _Speaker] = {}
        self._lock = threading.RLock()  # reentrant: a signal handler may print
        self._timer: threading.Timer | None = None

    def write(self, text: str) -> int:
        """Write the records that are complete now, and the rest soon."""
        node = own_node()
        key = node, threading.get_ident()
        with self._lock:
            speaker = self._speakers.setdefault(key, _Speaker(node))
            speaker.say(text)
            if not speaker.holds:
                self._speakers.pop(key, None)
            self._watch_time()
        return len(text)

    def finish(self) -> None:
        """Write what is held."""
        self._finish(time.monotonic())

    def _finish(self, said_before: float) -> None:
        with self._lock:
            for key, speaker in list(self._speakers.items()):
                if speaker.since <= said_before:
                    del self._speakers[key]
                    speaker.finish()

    def _watch_time(self) -> None:
        if self._timer is None and self._speakers:
            self._timer = threading.Timer(_PATIENCE, self._waited)
            self._timer.daemon = True
            with suppress(RuntimeError):  # no more threads: it is written with what comes next
                self._timer.start()

    def _waited(self) -> None:
        with self._lock:
            self._timer = None
            self._finish(time.monotonic() - _PATIENCE)
            self._watch_time()


@contextmanager
def output_to_log() -> Iterator[None]:
    """Let everything that is printed in this process go the same way as log lines, within the block."""
    before = (sys.stdout, sys.stderr)
    try:
        with _as_records() if not as_terminal() else _as_text():
            yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def _as_text() -> Iterator[None]:
    fd = _descriptor_of(sys.stderr)
    if fd is not None:
        sys.stderr = StandardError(lambda lines: write_text("\n".join(lines)), fd)
    try:
        yield
    finally:
        _finish()


@contextmanager
def _as_records() -> Iterator[None]:
    """Make records of what is printed, and of what comes to the descriptors past Python."""
    streams = {"stdout": _descriptor_of(sys.stdout), "stderr": _descriptor_of(sys.stderr)}
    own = [fd for fd, name in _NUMBERS.items() if streams[name] == fd]
    past = _Records(_STDERR)
    made: list[_Records] = []

    def end() -> None:
        past.finish()
        for stream in made:
            stream.real = stream.fileno()
        flush_lines()

    with ExitStack() as ends:
        real = ends.enter_context(take_descriptors(own, past.write, end)) if _STDERR in own else {}
        ends.callback(_finish)
        for name, fd in streams.items():
            if fd is not None:
                made.append(_Records(fd, real.get(fd)))
                setattr(sys, name, made[-1])
        yield


def _finish() -> None:
    """Write what has been printed, and what Python itself has not written."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, StandardError):
            stream.finish()
    for own in (sys.__stdout__, sys.__stderr__):
        with suppress(Exception):  # it is closed, or its reader has gone
            print(end="", file=own, flush=True)


def becomes_records() -> bool:
    """Return whether what is printed in this interpreter becomes records."""
    return isinstance(sys.stdout, _Records)


@contextmanager
def make_records() -> Iterator[None]:
    """Make records of what is printed in this interpreter, which is another one's, within the block."""
    sys.stdout, sys.stderr = _Records(_STDOUT), _Records(_STDERR)
    try:
        yield
    finally:
        _finish()


def say(text: str) -> None:
    """Print *text* for people, to standard error, as it is and behind what was written before."""
    write_text(text)


def _descriptor_of(stream: Any) -> int | None:
    """Return the descriptor of a stream that is to be taken over; None if it has none, or has been."""
    try:
        fd: int = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return None if isinstance(stream, StandardError) else fd

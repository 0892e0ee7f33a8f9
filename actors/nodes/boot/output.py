"""What a node, or another program, writes to its pipes, as lines of the log.

Rule 1: whole lines only, so that lines of many programs never mix.
Rule 2: reading never blocks the loop, and what a program wrote before it died is still read.
Rule 3: memory is bounded however long a line is, and a text without a newline is written after a second.
"""

from __future__ import annotations

import os
import select
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.json_line import LONGEST
from actors._base.log import write_lines, write_records
from actors._base.printed_lines import PrintedLines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._base.loop import Loop, Timer

__all__ = ["LinesReader", "PrintedOutput", "WrittenRecords", "read_output"]

_ROUNDS: Final = 4
"""Chunks to read at the end; a pipe holds two, if nobody has made it larger."""
_CHUNK: Final = 48 * 1024
"""Bytes, and the longest line that is printed: the record that is made of it is somewhat longer."""
_SOON: Final = 0.01
_UNFINISHED: Final = 1.0
"""Seconds that a text without a newline waits for one."""


class Lines(Protocol):
    """What becomes of lines that were read; a longer one than `longest` bytes comes in parts."""

    longest: int

    @property
    def waits(self) -> float | None: ...
    def take(self, lines: list[str]) -> None: ...
    def take_part(self, text: str) -> None: ...
    def flush(self) -> None: ...


class WrittenRecords:
    """Lines that a node has made records of itself.

    Args:
        node: its name.
    """

    longest: int = LONGEST
    waits: float | None = None

    def __init__(self, node: str) -> None:
        self._node = node

    def take(self, lines: list[str]) -> None:
        """Write lines as they are."""
        write_lines(self._node, lines)

    def take_part(self, text: str) -> None:
        """Write the beginning of a line whose rest never came, because the node has died."""
        write_records(self._node, PrintedLines().take([text]))

    def flush(self) -> None:
        """Nothing is held."""


class PrintedOutput:
    """Lines that a program has printed, which become records.

    Args:
        name: of the program, in every record.
        facts: others that every record has.
    """

    longest: int = _CHUNK

    def __init__(self, name: str, facts: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._name = name
        self._facts = facts
        self._lines = PrintedLines()

    @property
    def waits(self) -> float | None:
        """Seconds after which to flush, if nothing more comes; None if nothing is held."""
        return self._lines.waits

    def take(self, lines: list[str]) -> None:
        """Write the records that are complete."""
        self._write(self._lines.take(lines))

    def take_part(self, text: str) -> None:
        """Write a text that no newline has ended."""
        self.take([text])

    def flush(self) -> None:
        """Write what is held."""
        self._write(self._lines.rest())

    def _write(self, records: list[dict[str, Any]]) -> None:
        write_records(self._name, [{**record, **self._facts} for record in records])


def read_output(
    loop: Loop,
    fd: int,
    name: str,
    *,
    facts: Mapping[str, Any] = MappingProxyType({}),
    remember: int = 20,
) -> LinesReader:
    """Make records of the log of what *name* prints to the pipe *fd*, until it is closed.

    Args:
        loop: which reads it.
        fd: the reading end, which is closed at the end of the pipe or by `LinesReader.close`.
        name: the ``node`` of the records.
        facts: what else every record has.
        remember: how many of the last lines are kept, as they were printed, in `LinesReader.last`.
    """
    return LinesReader(loop, fd, PrintedOutput(name, facts), remember=remember)


class LinesReader:
    """Reads one pipe and passes on its lines; remembers the last few."""

    def __init__(self, loop: Loop, fd: int, lines: Lines, *, remember: int = 20) -> None:
        os.set_blocking(fd, False)
        self.last: deque[str] = deque(maxlen=remember)
        self._loop = loop
        self._fd = fd
        self._lines = lines
        self._rest = bytearray()
        self._since = 0.0
        self._timer: Timer | None = None
        loop.watch_readable(fd, self._read)

    def shown(self, most: int) -> str:
        """Return the last lines, *most* of them, each behind a line break: for errors."""
        return "".join(f"\n  {line}" for line in list(self.last)[-most:])

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
        if newline or not self._rest:
            self._since = self._loop.now()
        self._rest += first
        if newline:
            *whole, rest = others.split(b"\n")
            self._pass_on([self._last_part(), *whole])
            self._rest = bytearray(rest)
        while len(self._rest) > self._lines.longest:
            self._pass_on_part()
        self._watch_time()
        return bool(data)

    def _last_part(self) -> bytes:
        while len(self._rest) > self._lines.longest:
            self._pass_on_part()
        return bytes(self._rest)

    def _pass_on(self, lines: list[bytes]) -> None:
        texts = [line.decode("utf-8", "backslashreplace") for line in lines]
        self.last.extend(texts)
        self._lines.take(texts)

    def _pass_on_part(self) -> None:
        part = self._rest[: self._lines.longest]
        del self._rest[: self._lines.longest]
        text = part.decode("utf-8", "backslashreplace")
        self.last.append(text)
        self._lines.take_part(text)

    @property
    def _waits(self) -> float | None:
        return _UNFINISHED if self._rest else self._lines.waits

    def _watch_time(self) -> None:
        """Look again when what is held has waited long enough."""
        waits = self._waits
        if self._timer is None and waits is not None:
            left = self._since + waits - self._loop.now()
            self._timer = self._loop.call_later(max(left, _SOON), self._waited)

    def _waited(self) -> None:
        self._timer = None
        waits = self._waits
        if waits is not None and self._loop.now() - self._since >= waits:
            self._finish()
        self._watch_time()

    def _finish(self) -> None:
        if self._rest:
            self._pass_on_part()
        self._lines.flush()

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
        os.close(self._fd)
        self._fd = -1
        self._finish()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

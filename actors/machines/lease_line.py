"""The connection on which an agent asks for its lease, at either end, in a thread: records of a fixed size.

A question has a number, and how the clocks differ as far as the agent knows. The answer has the number, and
the parent's clock. Nobody waits in here: `read` and `write` do what can be done now, and `wants` says for what
to poll.
"""

from __future__ import annotations

import select
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ANSWER",
    "QUESTION",
    "Answer",
    "ClockOffset",
    "LeaseLine",
    "Question",
    "Session",
    "to_ns",
]

QUESTION: Final = struct.Struct("<QqQ")
ANSWER: Final = struct.Struct("<QQ")
_CHUNK: Final = 4096
_OWED: Final = 64 * 1024
"""Bytes that wait to be written; an end that reads nothing gets no more."""
_NANOSECONDS: Final = 1_000_000_000


class Session(Protocol):
    """What is used of a `TlsSession`; its methods are those of a socket."""

    @property
    def owes(self) -> bool: ...
    def fileno(self) -> int: ...
    def send(self, data: Any) -> int: ...
    def push(self) -> None: ...
    def recvmsg_into(self, buffers: Sequence[Any], anc: int = 0, flags: int = 0) -> Any: ...
    def close(self) -> None: ...


class Question(NamedTuple):
    """Times in nanoseconds."""

    number: int
    offset: int
    """What the parent's clock is ahead of the agent's."""
    error: int
    """By how much that may be wrong."""


class Answer(NamedTuple):
    """Times in nanoseconds."""

    number: int
    clock: int
    """The parent's, CLOCK_BOOTTIME."""


class ClockOffset(NamedTuple):
    """How the CLOCK_BOOTTIME of two machines differs, in seconds."""

    ahead: float
    """What the parent's is ahead of the agent's."""
    error: float
    """By how much that may be wrong: half of the round trip that it was measured by."""

    @classmethod
    def of_ns(cls, ahead: int, error: int) -> ClockOffset:
        """Make it of nanoseconds."""
        return cls(ahead / _NANOSECONDS, error / _NANOSECONDS)


def to_ns(seconds: float) -> int:
    """Return seconds as nanoseconds."""
    return int(seconds * _NANOSECONDS)


class LeaseLine:
    """One end, which owns its session.

    Args:
        session: the connection, non-blocking.
        reads: the layout of the records that come.

    Attributes:
        ended: why nothing more comes; empty while it may.
    """

    def __init__(self, session: Session, reads: struct.Struct) -> None:
        self.session: Session = session
        self.ended: str = ""
        self._reads = reads
        self._in = bytearray()
        self._out = bytearray()
        self._chunk = memoryview(bytearray(_CHUNK))

    @property
    def wants(self) -> int:
        """What to poll its descriptor for."""
        return select.POLLIN | (select.POLLOUT if self._out or self.session.owes else 0)

    def write(self, record: bytes) -> None:
        """Send a record, as far as the connection takes it now."""
        if len(self._out) < _OWED:
            self._out += record
        self.go_on()

    def go_on(self) -> None:
        """Write what is owed, as far as the connection takes it now."""
        try:
            self.session.push()
            while self._out:
                del self._out[: self.session.send(bytes(self._out))]
        except BlockingIOError:
            return
        except OSError as error:
            self._end(str(error))

    def read(self) -> list[tuple[int, ...]]:
        """Return the records that have come; none after `ended`."""
        while not self.ended:
            try:
                count = self.session.recvmsg_into([self._chunk])[0]
            except BlockingIOError:
                break
            except OSError as error:
                self._end(str(error))
                break
            if not count:
                self._end("the other end has closed it")
            self._in += self._chunk[:count]
        whole = len(self._in) - len(self._in) % self._reads.size
        records = list(self._reads.iter_unpack(self._in[:whole]))
        del self._in[:whole]
        return records

    def _end(self, why: str) -> None:
        self.ended = self.ended or why

    def close(self) -> None:
        """Close the session."""
        self._end("closed here")
        self.session.close()

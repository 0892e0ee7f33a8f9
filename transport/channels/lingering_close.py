"""The end of a TCP connection by which nothing is lost that was sent over it.

A TCP close over unread bytes is a reset, which takes what is under way with it. So the rest is written first,
then writing ends, then what still comes is read and dropped until the peer has closed, and only then the
socket is closed.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from actors.transport.wire.loop import ChannelLoop

__all__ = ["LingeringClose", "LingeringSession"]


class LingeringSession(Protocol):
    """What is closed."""

    lease: float

    @property
    def owes(self) -> bool:
        """Whether the socket has not taken all that was encrypted."""

    def fileno(self) -> int:
        """The descriptor."""

    def push(self) -> None:
        """Write what it owes."""

    def send(self, data: memoryview, flags: int = ..., /) -> int:
        """Take bytes to write; returns how many."""

    def shut(self) -> None:
        """End writing."""

    def discard(self) -> bool:
        """Read and drop what there is; returns whether the peer has ended."""

    def close(self) -> None:
        """Close the descriptor."""


class LingeringClose:
    """Closes a session; at once if the peer has ended already, and in later turns of the loop if not.

    It gives up on a peer that takes nothing, or does not close, for as long as the session's lease.

    Args:
        loop: the event loop.
        session: which is closed at the end, in any case.
        rest: what is still to be written.
        gone: called when it is closed.
    """

    def __init__(
        self,
        loop: ChannelLoop,
        session: LingeringSession,
        rest: Iterable[bytes],
        gone: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._session = session
        self._rest = deque(memoryview(part) for part in rest)
        self._gone = gone
        self._fd = session.fileno()
        self._shut = self._progress = self._waiting = self._closed = False
        self._timer = loop.call_later(session.lease, self._on_time_passed)
        loop.watch_readable(self._fd, self._read)
        self._write()
        if not self._closed:
            self._read()

    def abandon(self) -> None:
        """Close the session now, whatever is lost; a second call does nothing."""
        self._close()

    def _write(self) -> None:
        try:
            self._write_all()
        except (BlockingIOError, InterruptedError):
            self._watch_writable(wanted=True)
        except OSError:
            self._close()  # nobody reads any more
        else:
            self._watch_writable(wanted=False)

    def _write_all(self) -> None:
        """Write the rest and end writing.

        Raises:
            BlockingIOError: the socket takes no more now.
        """
        session, rest = self._session, self._rest
        while rest:
            count = session.send(rest[0])
            self._progress = True
            rest[0] = rest[0][count:]
            if not rest[0]:
                rest.popleft()
        if session.owes:
            session.push()
            if session.owes:
                raise BlockingIOError
        if not self._shut:
            self._shut = True
            session.shut()

    def _watch_writable(self, *, wanted: bool) -> None:
        if wanted == self._waiting:
            return
        self._waiting = wanted
        if wanted:
            self._loop.watch_writable(self._fd, self._write)
        else:
            self._loop.unwatch_writable(self._fd)

    def _read(self) -> None:
        try:
            ended = self._session.discard()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            ended = True
        if ended:
            self._close()

    def _on_time_passed(self) -> None:
        if not self._progress or self._shut:
            self._close()
            return
        self._progress = False
        self._timer = self._loop.call_later(self._session.lease, self._on_time_passed)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._watch_writable(wanted=False)
        self._loop.unwatch_readable(self._fd)
        self._timer.cancel()
        self._rest.clear()
        self._session.close()
        self._gone()

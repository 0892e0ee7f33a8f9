"""Disconnects a client that takes nothing of what it is sent.

Rule 1: nothing is done for each write: all open connections are looked at, several times in the limit, as long
as there are any.
Rule 2: whatever the client takes begins its time anew, however little that is: what it has acknowledged has
left the kernel's queue, long before the kernel takes more from this process.

The model is nginx's ``send_timeout``.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final, NamedTuple, Protocol

__all__ = ["SendWatch", "Sender", "Unsent", "waiting_bytes"]

_LOOKS: Final = 4
"""Looks in the limit."""
_NONE: Final[tuple[Sender, ...]] = ()


class Unsent(NamedTuple):
    """What one connection, or one stream of it, has to send."""

    size: int
    """Bytes that wait for the client."""
    paused: bool
    """Whether nothing is added before the client has taken some of it."""
    taken: int
    """Counts how often the client has taken enough for more to be sent."""


class Sender(Protocol):
    """A connection, or a stream of it."""

    def unsent(self) -> Unsent: ...
    def give_up(self) -> None:
        """End it at once: the client does not take what it is sent."""


class ServedClient(Protocol):
    """A connection, as the watch sees it."""

    def senders(self) -> Iterable[Sender]: ...


def waiting_bytes(transport: asyncio.Transport) -> int:
    """Return how much waits for the client, here and in the kernel; 0 if nothing does here."""
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket") if size else None
    if sock is not None and sock.fileno() >= 0:
        queued = array("i", [0])
        with suppress(OSError):
            ioctl(sock.fileno(), TIOCOUTQ, queued)
        size += queued[0]
    return size


class SendWatch:
    """Watches the connections of one server.

    Args:
        limit: seconds in which a client has to take something.
        clients: the open connections by number; None for one without a protocol.
        late: called with the number of a connection whose client has taken nothing, before that is ended.
    """

    def __init__(
        self,
        limit: float,
        clients: Mapping[int, ServedClient | None],
        late: Callable[[int], None],
    ) -> None:
        self._limit = limit
        self._clients = clients
        self._late = late
        self._seen: dict[Sender, tuple[Unsent, float]] = {}
        """What was there at the last look, and since when the client has taken nothing of it."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take note that there is a connection."""
        if self._timer is None and self._limit < math.inf:
            self._timer = loop.call_later(self._limit / _LOOKS, self._look, loop)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now, before, self._seen = loop.time(), self._seen, {}
        for number, client in list(self._clients.items()):
            for sender in _NONE if client is None else tuple(client.senders()):
                unsent = sender.unsent()
                if not unsent.size:
                    continue
                last, since = before.get(sender, (unsent, now))
                if _has_taken(last, unsent):
                    since = now
                if now - since >= self._limit:
                    self._late(number)
                    sender.give_up()
                else:
                    self._seen[sender] = unsent, since
        if self._clients:
            self.begin(loop)


def _has_taken(last: Unsent, now: Unsent) -> bool:
    """Whether the client may have taken something; without a pause, more may have been added than it took."""
    if now.taken != last.taken or now.size < last.size:
        return True
    return now.size > last.size and not (now.paused and last.paused)

"""The two queues between two threads, and the endpoint of each thread: counters and wake-ups, no decoding.

The sender appends an item, then wakes the receiver unless `receiver_awake` is set; the receiver first clears
`receiver_awake` and only then reads. There are no locks: each counter has one writer, and whatever one side
has to tell the other is an item of a deque, whose own lock orders the rest.
"""

import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from actors.transport.channels.wakeup import Wakeup
from actors.transport.types.twins import COMPILED, bind
from actors.transport.wire.frames import Lane
from actors.transport.wire.outbox import close_all

__all__ = ["END", "ROOM", "Endpoint", "OneWayQueue", "Packed", "endpoint_pair"]


class Packed(NamedTuple):
    """Packed messages; with descriptors, one message, and whoever has the item owns them."""

    body: bytes
    fds: tuple[int, ...]


class _Signal:
    """An item that is not a message."""


END: Final = _Signal()
"""The last item in the data lane: the sender has closed."""
ROOM: Final = _Signal()
"""There is room again in the other direction."""


class OneWayQueue:
    """One direction. `taken` and `fds_taken` are written only by the receiver, all else by the sender."""

    __slots__ = (
        "bell",
        "fds_sent",
        "fds_taken",
        "lanes",
        "receiver_awake",
        "sender_waits",
        "sent",
        "taken",
        "wakeup",
    )

    def __init__(self) -> None:
        self.lanes: tuple[deque[tuple[int, Any]], deque[tuple[int, Any]]] = (deque(), deque())
        """Control and data: sizes, each with a message, a `Packed` or a `_Signal`."""
        self.wakeup: Wakeup = Wakeup()
        self.bell: Any = COMPILED.Bell() if COMPILED else None
        """Rung for each item; seen by a receiver that looks for a moment before it sleeps, see `bell_watch`."""
        self.receiver_awake: bool = True
        """Whether the receiver will read without being woken, as it does first of all when it starts.
        The receiver clears this before it reads."""
        self.sender_waits: bool = False
        """Whether the sender waits for room, set before it appends the item that fills the queue. The
        receiver clears it when it sends `ROOM`."""
        self.sent: int = 0
        self.taken: int = 0
        self.fds_sent: int = 0
        self.fds_taken: int = 0

    def drop(self) -> None:
        """Drop all items; both sides may do so at the same time."""
        for queue in self.lanes:
            while queue:
                try:
                    self.drop_item(queue.popleft()[1])
                except IndexError:
                    break

    def drop_item(self, item: Any) -> None:
        """Close the descriptors of an item."""
        if type(item) is Packed:
            close_all(item.fds)


bind(OneWayQueue)


class Endpoint:
    """One side of the pair, whether a channel uses it yet or not."""

    def __init__(
        self, inbound: OneWayQueue, outbound: OneWayQueue, first_close: deque[None]
    ) -> None:
        self.inbound = inbound
        self.outbound = outbound
        self._first_close = first_close
        self._closed = False

    def __del__(self, at_exit: Callable[[], bool] = sys.is_finalizing) -> None:
        # As a socket does: an endpoint may be dropped on its way to the thread that should use it.
        # The module may have lost its names when the interpreter ends, and then the other side has ended.
        if not at_exit():
            self.close()

    def close(self) -> None:
        """Close this side: the other side receives what was sent to it, then the end.

        May be called from another thread once the loop of this side has ended. A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self.outbound.lanes[Lane.DATA].append((0, END))
        self.outbound.wakeup.wake()
        self.inbound.drop()
        try:
            self._first_close.pop()
        except IndexError:
            # The other side closed first: from now on neither side wakes the other or takes an item.
            for queue in (self.inbound, self.outbound):
                queue.drop()
                queue.wakeup.close()


def endpoint_pair() -> tuple[Endpoint, Endpoint]:
    """Two connected endpoints.

    Raises:
        OSError: there are no descriptors left.
    """
    here = OneWayQueue()
    try:
        there = OneWayQueue()
    except OSError:
        here.wakeup.close()
        raise
    first_close: deque[None] = deque([None])
    return Endpoint(here, there, first_close), Endpoint(there, here, first_close)

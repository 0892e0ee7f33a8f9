"""The two ways between two threads, and the endpoint_pair to them: queues, counters, bells; no messages.

The sending side adds an item and rings if the other does not look anyway; the receiving side first
says that it will not look any more, and only then looks. No locks: each counter has one writer, and
whatever one side has to tell the other is an item of a queue, whose own lock orders the rest.
"""

from collections import deque
from typing import Any, Final, NamedTuple

from actors.transport.channels.wakeup import Wakeup
from actors.transport.wire.frames import Lane
from actors.transport.wire.outbox import close_all

__all__ = ["END", "ROOM", "Endpoint", "OneWayQueue", "Packed", "endpoint_pair"]


class Packed(NamedTuple):
    """Packed messages; the descriptors that go with the one there then is belong to who has this."""

    body: bytes
    fds: tuple[int, ...]


class _Signal:
    """What one side tells the other beside messages."""


END: Final = _Signal()
"""Nothing follows: the last item in the lane of data."""
ROOM: Final = _Signal()
"""There is room again in the other direction."""


class OneWayQueue:
    """One direction. What is named after taking is written by its receiver, the rest by its sender."""

    __slots__ = (
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
        """Sizes, each with a message as it is, `Packed` ones or a sign; control and data."""
        self.wakeup = Wakeup()
        self.receiver_awake = True
        """Whether the receiver looks without being rung for: at first it does, when it comes. It
        takes this back before it looks."""
        self.sender_waits = False
        """Whether the sender waits for room, said before it adds what fills the queue. The receiver
        takes it back with `ROOM`."""
        self.sent = self.taken = 0
        self.fds_sent = self.fds_taken = 0

    def drop(self) -> None:
        """Throw away what nobody will take; both sides may do so at once."""
        for queue in self.lanes:
            while queue:
                try:
                    self.drop_item(queue.popleft()[1])
                except IndexError:
                    break

    def drop_item(self, item: Any) -> None:
        """Close what an item holds."""
        if type(item) is Packed:
            close_all(item.fds)


class Endpoint:
    """One side of a passage, whether somebody stands there or not."""

    def __init__(self, inbound: OneWayQueue, outbound: OneWayQueue, first: deque[None]) -> None:
        self.inbound = inbound
        self.outbound = outbound
        self._other_open = first
        self._closed = False

    def __del__(self) -> None:
        # As a socket does: one that was dropped on its queue to whoever should stand here.
        self.close()

    def close(self) -> None:
        """End this side: the other gets what is on its queue to it, and then hears of the end.

        Whoever runs a loop beside it calls this when that has ended; calling it again does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self.outbound.lanes[Lane.DATA].append((0, END))
        self.outbound.wakeup.wake()
        self.inbound.drop()
        try:
            self._other_open.pop()
        except IndexError:
            # The other side has closed before: nobody rings, hears or takes anything any more.
            for queue in (self.inbound, self.outbound):
                queue.drop()
                queue.wakeup.close()


def endpoint_pair() -> tuple[Endpoint, Endpoint]:
    """Make a passage: its two sides.

    Raises:
        OSError: there are no descriptors left for it.
    """
    here = OneWayQueue()
    try:
        there = OneWayQueue()
    except OSError:
        here.wakeup.close()
        raise
    first: deque[None] = deque([None])
    return Endpoint(here, there, first), Endpoint(there, here, first)

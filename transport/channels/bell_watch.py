"""A thread that looks for the next message for a moment, before it sleeps until it is woken.

To be woken costs each of two threads more than 10 us, and the same again where the sender still has the
interpreter's lock. Who looks has let go of that lock, and takes it when there is a message and the sender has
let go of it too. Rule: it looks only after it has had a message, and while `Spin` says that this pays; and each
look is short while the other thread does nothing, so that timers and descriptors have their turns.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from actors.transport.channels.ring_extension import messages_before_ring
from actors.transport.channels.spin import Spin
from actors.transport.channels.thread_pair import OneWayQueue
from actors.transport.wire.loop import ChannelLoop

__all__ = ["BellWatch"]

_OVER: Final = 0
_FOUND: Final = 1
_WINDOW: Final = 50_000
"""Nanoseconds for which a thread looks on; with those of a ring's reader, asks took twice as long."""
_BUSY: Final = 20e-6
"""Seconds of a turn of the loop from which on it has other things to do."""
_ASKED: Final = 4096
"""Windows after which it is asked again whether there is a second CPU."""


class BellWatch:
    """When one end of a thread channel looks, and when it sleeps.

    Args:
        inbound: the queue that is read.
        outbound: the queue that the other end reads.
        loop: of the channel.
        poll: reads the queue.
    """

    __slots__ = (
        "_asked",
        "_began",
        "_bell",
        "_loop",
        "_may_spin",
        "_others",
        "_poll",
        "_queue",
        "_spin",
        "after",
    )

    def __init__(
        self,
        inbound: OneWayQueue,
        outbound: OneWayQueue,
        loop: ChannelLoop,
        poll: Callable[[], object],
    ) -> None:
        self.after: int = 0
        """Messages of the channel from which on it looks; 0 is never."""
        self._queue = inbound
        self._bell: Any = inbound.bell
        self._others: Any = outbound.bell
        self._loop = loop
        self._poll = poll
        self._may_spin: Callable[[], bool]
        self._spin: Spin
        self._asked = 0
        self._began = 0.0

    def allow(self, may_spin: Callable[[], bool]) -> None:
        """Look from now on.

        Args:
            may_spin: returns whether this process has a second CPU now.

        Raises:
            ValueError: as `messages_before_ring`.
        """
        if self._bell is not None:
            self.after = messages_before_ring()
            self._may_spin = may_spin
            self._spin = Spin(self._bell.preemptions)

    def woken(self) -> None:
        """The other end has woken this one."""
        if self.after:
            self._spin.woken()

    def begin(self) -> bool:
        """Look for the next message, if that pays; return whether the sender need not wake this end."""
        if not self._spin.pays:
            return False
        self._asked -= 1
        if self._asked <= 0:
            self._asked = _ASKED
            self._spin.allowed = self._may_spin()
            if not self._spin.allowed:
                return False
        self._queue.receiver_awake = True
        self._bell.watch(_WINDOW)
        self._look_soon()
        return True

    def _look_soon(self) -> None:
        self._began = perf_counter()
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        busy = perf_counter() - self._began > _BUSY
        state = _OVER if busy else self._bell.look(self._others)
        if state == _FOUND:
            self._spin.found()
        elif state == _OVER:
            if not busy:
                self._spin.missed()
            self._bell.sleep()
        else:
            self._look_soon()
            return
        self._poll()

"""The shared memory of one node: the segments it lends, those of others it has mapped, and their upkeep.

Rule 1: one thread owns it; only the notice that a lease has ended may come from other threads.
Rule 2: upkeep runs in small steps while there is something to do, and not at all otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from actors._remoting import protocol as wire
from actors.transport import Attachments, SegmentMappings, SegmentPool, attach_node, detach_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Timer

__all__ = ["SharedMemory"]

_TRIM_EVERY: Final = 2.0
"""Seconds between two trims of unused memory."""
_PAUSE: Final = 0.001
"""Seconds between two steps of touching new memory, each of which takes about as long."""


class SharedMemory:
    """The pool and mappings of one node.

    Args:
        loop: of the node.
        name: of the node, for errors.
        lend: bytes it may lend to others, all together.
    """

    def __init__(self, loop: Loop, name: str, lend: int) -> None:
        # Buffers that actors make on this thread come from the same pool.
        self.pool: SegmentPool = attach_node(self)
        self.pool.set_limit(lend)
        self._name = name
        self._peers: WeakKeyDictionary[Attachments, str] = WeakKeyDictionary()
        self._loop = loop
        self.mappings: SegmentMappings = SegmentMappings(self._wake)
        self._senders: WeakKeyDictionary[Attachments, Callable[[int, list[int]], object]] = (
            WeakKeyDictionary()
        )
        self._trimming: Timer | None = None
        self._warming = False

    def new_attachments(self, peer: str, send: Callable[[int, list[int]], object]) -> Attachments:
        """Make the attachments of a link to *peer*; *send* sends plain numbers to the other end."""
        attachments = Attachments(self.pool, self.mappings, on_cold=self._warm_soon)
        self._senders[attachments] = send
        self._peers[attachments] = peer
        return attachments

    def forget(self, attachments: Attachments) -> None:
        """Send nothing more over a link that has ended."""
        self._senders.pop(attachments, None)

    def describe(self) -> str:
        """Return who has how much of the memory that this node lends, for errors."""
        stats = self.pool.stats()
        held = {peer: self.pool.held_by(key) for key, peer in self._peers.items()}
        has = [f"{peer} has {size}" for peer, size in held.items() if size]
        return (
            f" (largest=); node {self._name} lends {stats.held} of {stats.limit} bytes"
            f" (lend_per_node=): {', '.join(has) or 'no other node has any'}"
        )

    def stats(self) -> dict[str, Any]:
        """Return how much this node lends, in bytes, and how many leases of others it has."""
        return {**self.pool.stats()._asdict(), "mapped_leases": self.mappings.count()}

    def close(self) -> None:
        """Release everything: every other node is gone."""
        if self._trimming is not None:
            self._trimming.cancel()
        for attachments in list(self._senders):
            attachments.close()
            attachments.reclaim()
        self.mappings.take_returned()
        detach_node(self)

    # -- leases that ended ---------------------------------------------------------------------

    def _wake(self) -> None:
        try:
            self._loop.call_threadsafe(self.give_back)
        except RuntimeError:
            return  # the loop has ended, and with it every link

    def give_back(self) -> None:
        """Tell the other nodes which of their leases have ended."""
        for attachments, batch in self.mappings.take_returned().items():
            send = self._senders.get(attachments)  # type: ignore[call-overload] # peers are attachments here
            if send is not None:
                send(wire.BACK, batch)

    # -- upkeep ----------------------------------------------------------------------------------

    def _warm_soon(self) -> None:
        if not self._warming:
            self._warming = True
            self._loop.call_later(_PAUSE, self._warm)
        if self._trimming is None:
            self._trimming = self._loop.call_later(_TRIM_EVERY, self._trim)

    def _warm(self) -> None:
        if self.pool.warm():
            self._loop.call_later(_PAUSE, self._warm)
        else:
            self._warming = False

    def _trim(self) -> None:
        self._trimming = None
        self.pool.trim()
        for attachments, send in list(self._senders.items()):
            numbers = attachments.take_retired() if attachments.open else []
            if numbers:
                send(wire.RETIRED, numbers)
        if self.pool.stats().resident:
            self._trimming = self._loop.call_later(_TRIM_EVERY, self._trim)

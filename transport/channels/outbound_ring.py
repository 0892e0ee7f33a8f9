"""The ring that this end of a channel writes to, and which of ring and socket carries what is sent next.

Rule 1: the peer reads one of the two at a time, and is told in that one to go on with the other: a mark in the
ring leads to the socket, a frame with the bit TO_RING leads back. So nothing overtakes.
Rule 2: what does not fit into the ring, carries descriptors, or is for a peer that sleeps goes over the socket,
which wakes it.
"""

from collections.abc import Callable
from typing import Any, Final

from actors.transport.channels.ring_extension import RING
from actors.transport.errors import FrameError

__all__ = ["OutboundRing"]

_WRITTEN: Final[int] = RING.WRITTEN if RING else 0
_BELL: Final[int] = RING.BELL if RING else 0
_ROOMY: Final[int] = RING.ROOM // 2 if RING else 0
"""Free bytes from which a frame over the socket leads back to the ring."""
_PAST: Final = 16
"""Frames that go over the socket before it is looked again whether the ring is wanted."""


class OutboundRing:
    """The sending side of a ring.

    Args:
        writer: of the extension.
        frames: how many frames were sent, and received.
        sizes: the same in bytes.
        carried: how many frames went through rings.
        ring_bell: called when the peer fell asleep while a record was written.
        failed: called with the error that ends the channel: the peer has written nonsense.

    Attributes:
        current: whether the peer reads from the ring next.
    """

    def __init__(
        self,
        writer: Any,
        frames: list[int],
        sizes: list[int],
        carried: list[int],
        *,
        ring_bell: Callable[[], object],
        failed: Callable[[FrameError], object],
    ) -> None:
        self.current: bool = False
        self._frames_past = _PAST
        self._writer = writer
        self._frames = frames
        self._sizes = sizes
        self._carried = carried
        self._ring_bell = ring_bell
        self._failed = failed

    def wanted(self) -> bool:
        """Whether to try it for the next frame; now and then also while the peer reads from the socket."""
        if self.current:
            return True
        self._frames_past += 1
        if self._frames_past < _PAST:
            return False
        self._frames_past = 0
        return self.leave()

    def put(self, lane: int, body: bytes) -> bool:
        """Write a frame into the ring; False if it has to go over the socket."""
        if not self.current:
            return False
        try:
            done = self._writer.put(lane, body, self._frames[0])
        except FrameError as error:
            self._fail(error)
            return True
        if done < _WRITTEN:
            return False
        self._frames[0] += 1
        self._carried[0] += 1
        self._sizes[0] += len(body)
        if done == _BELL:
            self._ring_bell()
        return True

    def leave(self) -> bool:
        """Lead the peer to the socket, for a frame that is written to it next.

        Returns:
            whether that frame may lead back to the ring: there is room, and the peer likes to look into it.
        """
        try:
            if not self.current:
                return bool(self._writer.free() >= _ROOMY)
            self.current = False
            return bool(self._writer.mark(self._frames[0]) >= _ROOMY)
        except FrameError as error:
            self._fail(error)
            return False

    def close(self) -> None:
        """Unmap the memory; the peer still reads what is in it."""
        self.current = False
        self._writer.close()

    def _fail(self, error: FrameError) -> None:
        self.current = False
        self._failed(error)

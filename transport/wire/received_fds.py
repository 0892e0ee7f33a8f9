"""Descriptors of frames: how many one may carry, and those received that no frame has claimed yet; no I/O."""

from collections import deque
from collections.abc import Iterable, Sized
from typing import Final

from actors.transport.errors import FrameError
from actors.transport.wire.frames import MAX_FDS
from actors.transport.wire.outbox import close_all

__all__ = ["ReceivedFds", "check_count"]

_LOST: Final = "the kernel dropped descriptors: over the limit of a frame, or of this process"


def check_count(fds: Sized) -> None:
    """Check that a frame may carry so many.

    Raises:
        FrameError: none, or too many.
    """
    if not 0 < len(fds) <= MAX_FDS:
        raise FrameError(f"a message carries 1 to {MAX_FDS} descriptors, got {len(fds)}")


class ReceivedFds:
    """Descriptors that were received and that no frame has claimed yet, in order; it owns them.

    Attributes:
        lost: whether the kernel dropped some.
    """

    def __init__(self) -> None:
        self.fds: deque[int] = deque()
        self.lost = False

    def add(self, fds: Iterable[int], *, lost: bool) -> None:
        """Add what one read returned."""
        self.fds.extend(fds)
        self.lost = self.lost or lost

    def take(self, count: int) -> list[int]:
        """Return the oldest `count` descriptors, which the caller owns.

        Raises:
            FrameError: fewer have been received.
        """
        if count > len(self.fds):
            came = f"a frame claims {count} descriptors, {len(self.fds)} came"
            raise FrameError(_LOST if self.lost else came)
        return [self.fds.popleft() for _ in range(count)]

    def check_leftovers(self, *, more: bool) -> None:
        """Check that nothing is left unclaimed, unless *more* of a frame is to come.

        Raises:
            FrameError: something is left, or was lost.
        """
        if self.lost:
            raise FrameError(_LOST)
        if self.fds and not more:
            raise FrameError(f"{len(self.fds)} descriptors came that no frame claims")

    def close(self) -> None:
        """Close what no frame claimed."""
        close_all(self.fds)
        self.fds.clear()

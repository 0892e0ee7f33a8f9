"""Descriptors of frames: how many one may carry, and those received that no frame has claimed yet; no I/O.

The descriptors of one frame are written alone and with its first byte, so that one read returns those of
one frame, or the ones of it for which this process had a number free.
"""

from collections import deque
from collections.abc import Sequence, Sized
from typing import Final

from actors.transport.errors import FrameError
from actors.transport.wire.frames import MAX_FDS
from actors.transport.wire.outbox import close_all

__all__ = ["ReceivedFds", "check_count"]

_TOO_MANY: Final = "the kernel dropped descriptors that no frame claims"


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
        reads: for each read that returned some: the descriptors, and whether the kernel dropped others.
    """

    def __init__(self) -> None:
        self.reads: deque[tuple[Sequence[int], bool]] = deque()

    def add(self, fds: Sequence[int], *, lost: bool) -> None:
        """Add what one read returned."""
        self.reads.append((fds, lost))

    def take(self, count: int) -> list[int]:
        """Return the descriptors of the next frame that claims some, which the caller owns.

        Returns:
            as many as the frame claims; none if the kernel dropped one, as this process has too many
            open: then the others are closed here.

        Raises:
            FrameError: another number of them was sent.
        """
        if not count:
            return []
        fds, lost = self.reads.popleft() if self.reads else ((), False)
        if len(fds) == count and not lost:
            return list(fds)
        close_all(fds)
        if lost and len(fds) < count:
            return []
        if len(fds) > count:
            raise FrameError(f"{len(fds) - count} descriptors came that no frame claims")
        raise FrameError(f"a frame claims {count} descriptors, {len(fds)} came")

    def check_leftovers(self, *, more: bool) -> None:
        """Check that nothing is left unclaimed, unless *more* of a frame is to come.

        Raises:
            FrameError: something is left.
        """
        if self.reads and not more:
            fds, lost = self.reads[0]
            raise FrameError(
                _TOO_MANY if lost else f"{len(fds)} descriptors came that no frame claims"
            )

    def close(self) -> None:
        """Close what no frame claimed."""
        for fds, _ in self.reads:
            close_all(fds)
        self.reads.clear()

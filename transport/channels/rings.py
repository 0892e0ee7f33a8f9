"""The two rings of one channel, one each way: how they are made and given back, and what the ends say of them.

Each end makes the ring that it writes to, and the other one maps it or refuses; with a ring of the peer comes
one of this end. A ring that hardly carries anything any more is given back by its writer.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import partial
from typing import Final, Protocol

from actors.transport.channels.inbound_ring import InboundRing
from actors.transport.channels.outbound_ring import OutboundRing
from actors.transport.channels.ring_extension import RING, messages_before_ring
from actors.transport.errors import FrameError
from actors.transport.memory import memfd
from actors.transport.wire.frames import FrameDecoder
from actors.transport.wire.loop import ChannelLoop, ChannelTimer
from actors.transport.wire.outbox import close_all

__all__ = ["IDLE_AFTER", "RingNote", "Rings"]

IDLE_AFTER: Final = 10.0
"""Seconds without traffic after which a ring is given back."""
_TRAFFIC: Final = 100
"""Messages in that time from which there is traffic: heartbeats alone are none."""


class RingNote(IntEnum):
    """What a channel says of its rings, in a frame of its own that has this as its only byte."""

    OFFER = 1
    """Here is the descriptor of a ring to read from."""
    ACCEPT = 2
    """Write to the ring that you offered."""
    REFUSE = 3
    """I read from no ring; do not offer another one."""
    CLOSE = 4
    """Nothing more comes over the ring."""
    BELL = 5
    """Nothing: it wakes, and leads to the ring."""


class RingChannel(Protocol):
    """The channel, as its rings see it."""

    @property
    def messages(self) -> int:
        """How many were sent and received."""

    def write_note(self, note: bytes, fds: tuple[int, ...] = ()) -> None:
        """Write a frame about the rings, and close its descriptors."""

    def deliver_record(self, lane: int, body: bytes, *, more: bool) -> None:
        """Deliver a frame that came through the ring."""

    def fail_sending(self, error: FrameError) -> None:
        """End the channel soon."""

    def fail_receiving(self, error: Exception) -> None:
        """End the channel."""


def _never() -> bool:
    return False


class Rings:
    """The rings of one channel.

    Args:
        channel: whose they are.
        loop: of the channel.
        decoder: of its frames.
        frames: the channel's counters of frames sent and received.
        sizes: the same in bytes.

    Attributes:
        outbound: the ring that this end writes to, if there is one.
        inbound: the ring that this end reads from, if there is one.
        counting: whether `make` has to be called at the message of the number `made_at`.
        carried: how many frames have gone through rings, and come out of them.
    """

    def __init__(
        self,
        channel: RingChannel,
        loop: ChannelLoop,
        decoder: FrameDecoder,
        frames: list[int],
        sizes: list[int],
    ) -> None:
        self.outbound: OutboundRing | None = None
        self.inbound: InboundRing | None = None
        self.counting: bool = False
        self.made_at: int = 0
        self.carried: list[int] = [0, 0]
        self._channel = channel
        self._loop = loop
        self._decoder = decoder
        self._frames = frames
        self._sizes = sizes
        self._may_spin: Callable[[], bool] = _never
        self._after = 0
        self._offered: OutboundRing | None = None
        """A ring that the peer has not accepted yet."""
        self._refused_here = False
        self._messages_before = 0
        self._timer: ChannelTimer | None = None

    def allow(self, may_spin: Callable[[], bool]) -> None:
        """Make rings from now on.

        Args:
            may_spin: returns whether this process has a second CPU now.

        Raises:
            ValueError: as `messages_before_ring`.
        """
        self._after = self.made_at = messages_before_ring()
        if RING is not None and self._after:
            self._may_spin = may_spin
            self.counting = True

    def make(self) -> None:
        """Make a ring if this process has a second CPU, and else try it again after as many messages."""
        self.made_at = self._channel.messages + self._after
        if self._may_spin():
            self._offer()

    def _offer(self) -> None:
        """Make a ring and offer it, unless there is no descriptor or memory for it."""
        try:
            fd = memfd.create(RING.SIZE)
        except OSError:
            return
        try:
            writer = RING.Writer(fd, FrameError)
        except OSError:
            os.close(fd)
            return
        self.counting = False
        self._offered = OutboundRing(
            writer,
            self._frames,
            self._sizes,
            self.carried,
            ring_bell=partial(self._channel.write_note, _NOTES[RingNote.BELL]),
            failed=self._channel.fail_sending,
        )
        self._channel.write_note(_NOTES[RingNote.OFFER], (fd,))

    def take_note(self, note: bytes, fds: Sequence[int], *, lost: bool) -> None:
        """Take what the peer says of a ring.

        Args:
            note: the body of its frame.
            fds: its descriptors, which are closed here.
            lost: whether the kernel dropped them.

        Raises:
            FrameError: it must not say that now; or the descriptor is not that of a ring.
        """
        try:
            kind = _KINDS.get(note)
            if (fds or lost) and kind is not RingNote.OFFER:
                raise FrameError(f"descriptors came with {note!r}, a note on rings that has none")
            match kind:
                case RingNote.OFFER if self.inbound is None and not self._refused_here:
                    self._take_offer(fds, lost=lost)
                case RingNote.ACCEPT if self._offered is not None:
                    self._begin()
                case RingNote.REFUSE if self._offered is not None:
                    self._offered.close()
                    self._offered = None
                case RingNote.CLOSE if self.inbound is not None:
                    self.inbound.close()
                    self.inbound = None
                case RingNote.BELL if self.inbound is not None:
                    pass
                case _:
                    raise FrameError(f"a note on rings must not be {note!r} now")
        finally:
            close_all(fds)

    def _take_offer(self, fds: Sequence[int], *, lost: bool) -> None:
        reader = None
        if self._may_spin() and not lost:
            if len(fds) != 1:
                raise FrameError(f"a ring has one descriptor, {len(fds)} came")
            memfd.check(fds[0], RING.SIZE)
            with suppress(OSError):  # no memory to map it with
                reader = RING.Reader(fds[0], FrameError)
        if reader is None:
            self._refused_here = True
            self._channel.write_note(_NOTES[RingNote.REFUSE])
            return
        self.inbound = InboundRing(
            reader,
            self._loop,
            self._decoder,
            deliver=self._channel.deliver_record,
            failed=self._channel.fail_receiving,
        )
        self._channel.write_note(_NOTES[RingNote.ACCEPT])
        if self.counting:
            self._offer()

    def _begin(self) -> None:
        """Write to the ring from now on: the peer has mapped it."""
        self.outbound, self._offered = self._offered, None
        self._messages_before = self._channel.messages
        self._timer = self._loop.call_later(IDLE_AFTER, self._check_traffic)

    def _check_traffic(self) -> None:
        """Give the ring back if it carries nothing, or if there is no second CPU any more."""
        if self.outbound is None:
            return
        messages, before = self._channel.messages, self._messages_before
        self._messages_before = messages
        may_spin = self._may_spin()
        if self.inbound is not None:
            self.inbound.spin.allowed = may_spin
        if may_spin and messages - before >= _TRAFFIC:
            self._timer = self._loop.call_later(IDLE_AFTER, self._check_traffic)
            return
        ring, self.outbound = self.outbound, None
        ring.leave()
        self._channel.write_note(_NOTES[RingNote.CLOSE])
        ring.close()
        self.made_at = messages + self._after
        self.counting = True

    def enter_inbound(self) -> None:
        """Read from the ring next, as a frame says.

        Raises:
            FrameError: there is none.
        """
        if self.inbound is None:
            raise FrameError("a frame leads to a ring, and there is none")
        self.inbound.current = True

    def close(self) -> None:
        """Unmap all: the channel has ended."""
        self.abandon()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abandon(self) -> None:
        """Unmap all; in a process that was forked the loop is that of the other one."""
        self.counting = False
        for ring in (self.inbound, self.outbound, self._offered):
            if ring is not None:
                ring.close()
        self.inbound = self.outbound = self._offered = None


_NOTES: Final = {kind: bytes([kind]) for kind in RingNote}
_KINDS: Final = {note: kind for kind, note in _NOTES.items()}

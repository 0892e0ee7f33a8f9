"""The ring that this end of a channel reads: records out of it, and when to look into it.

Rule 1: either this end looks by itself, in every turn of its loop, or it sleeps, and then the peer writes to
the socket. Before it sleeps it says so in the ring, and looks once more.
Rule 2: it looks by itself for a moment after it has found something, while `Spin` says that this pays; each
look is short, so that timers and other descriptors have their turns.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from actors.transport.channels.ring_extension import RING
from actors.transport.channels.spin import Spin
from actors.transport.errors import FrameError
from actors.transport.wire.frames import FrameDecoder
from actors.transport.wire.loop import ChannelLoop

__all__ = ["InboundRing"]

_LOOK: Final = 1_000
"""Nanoseconds that one look takes: about as long as the rest of an idle turn of the loop."""
_MARK: Final[int] = RING.MARK if RING else 0
_FOUND: Final[int] = RING.FOUND if RING else 0
_OVER: Final[int] = RING.OVER if RING else 0
_ASLEEP: Final[int] = RING.ASLEEP if RING else 0
_AWAY: Final[int] = RING.AWAY if RING else 0
_ROOM: Final[int] = RING.ROOM if RING else 0


class Deliver(Protocol):
    """Takes the lane and the body of a record, and whether others were behind it."""

    def __call__(self, lane: int, body: bytes, *, more: bool) -> object: ...


class InboundRing:
    """The receiving side of a ring.

    Args:
        reader: of the extension.
        loop: of the channel.
        frames: of the channel, which knows how many frames came before a record.
        deliver: takes each record; may close this.
        failed: called with the error that ends the channel.

    Attributes:
        current: whether the peer's next message is in the ring.
        spin: when to look on.
    """

    def __init__(
        self,
        reader: Any,
        loop: ChannelLoop,
        frames: FrameDecoder,
        *,
        deliver: Deliver,
        failed: Callable[[Exception], object],
    ) -> None:
        self.current: bool = False
        self.spin: Spin = Spin(reader.preemptions)
        self._reader = reader
        self._loop = loop
        self._frames = frames
        self._deliver = deliver
        self._failed = failed
        self._looking = False
        """Whether `_look` runs in the next turn."""

    def take(self, number: int | None = None) -> None:
        """Deliver what is in the ring, up to a mark.

        Args:
            number: of the frames before the mark; None if that is not known to be there.

        Raises:
            FrameError: the peer has written nonsense. Others are those of the receiver.
        """
        most = _ROOM
        while self.current and most > 0:
            record = self._reader.take(self._frames.count if number is None else number)
            if record is None:
                return
            kind, more, body = record
            most -= len(body) + 1
            if kind == _MARK:
                self.current = False
                return
            self._frames.count += 1
            if number is not None:
                number += 1
            self._deliver(kind, body, more=more)

    def take_to_mark(self, number: int) -> None:
        """Deliver what is in the ring before a frame that has come over the socket.

        Args:
            number: of frames and records before that frame and those records.

        Raises:
            FrameError: as in `take`; or no mark leads to that frame.
        """
        if not self.current:
            return
        self.take(number)
        if self.current:
            raise FrameError("a frame came over the socket, and nothing in the ring leads to it")

    def woken(self) -> None:
        """Go on with the ring, if it is its turn, after something has come over the socket."""
        self.spin.woken()
        if not self.current:
            if self.spin.pays:
                self._reader.wake()
            return
        self.take()
        self._look_on()

    def _look_on(self) -> None:
        """Begin a window, or sleep."""
        if not self.current or self._looking:
            return
        if self.spin.pays:
            self._reader.watch(self.spin.window)
            self._reader.wake()
            self._look_again()
        else:
            self._sleep()

    def close(self) -> None:
        """Unmap the memory."""
        self.current = False
        self._reader.close()

    def _look_again(self) -> None:
        self._looking = True
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        in_turn = self.current
        if not in_turn:
            return
        try:
            state = self._reader.look(_LOOK)
            if state == _FOUND:
                self.spin.found()
                self.take()
                self._reader.watch(self.spin.window)
            elif state == _OVER:
                self.spin.missed()
            if not self.current:
                return  # a mark, or the end
            if state == _OVER or not self.spin.pays:
                self._sleep()
            else:
                self._look_again()
        except Exception as error:  # noqa: BLE001 - a receiver that cannot take a message ends the channel
            self._failed(error)

    def _sleep(self) -> None:
        if not self._reader.sleep(_ASLEEP if self.spin.pays else _AWAY):
            self._look_again()

"""What a socket channel and a thread channel have in common: callbacks, limits, and how it ends.

A channel never waits, blocks or logs. Whatever ends it is reported once, after all that was received has
been delivered.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from actors.transport.codec.decoder import Decoder
from actors.transport.codec.encoder import Encoder
from actors.transport.errors import FrameError, TransportError
from actors.transport.wire.frames import Lane
from actors.transport.wire.limits import Limits
from actors.transport.wire.loop import ChannelLoop
from actors.transport.wire.outbox import close_all

__all__ = ["MessageChannel"]

Carrier = TypeVar("Carrier")


def _ignore(*_args: object) -> None:
    """The default of the callbacks."""


class MessageChannel(Generic[Carrier]):
    """One end of a channel; every method is called on the thread of its loop.

    Args:
        carrier: what carries the messages, which the channel owns: a socket or a thread's `Endpoint`.
        loop: the event loop, as five functions.
        encoder: packs what is sent; its introductions go before the messages that need them.
        decoder: unpacks what arrives.
        receive: called with received messages of one lane, which it then owns. If it raises, the
            channel ends with that error as the cause.
        receive_fds: called with a message and its descriptors, which it then owns; with none if the
            kernel dropped one of them, because this process has too many open.
        closed: called exactly once at the end, with None if we closed and the error otherwise.
        on_room: called each time a `congested` channel has room again, below low water of bytes and of
            descriptors; not if it ends before that.
        limits: sizes.
    """

    def __init__(
        self,
        carrier: Carrier,
        loop: ChannelLoop,
        *,
        encoder: Encoder,
        decoder: Decoder,
        receive: Callable[[list[Any], Lane], object],
        receive_fds: Callable[[Any, list[int]], object] | None = None,
        closed: Callable[[TransportError | None], object] = _ignore,
        on_room: Callable[[], object] = _ignore,
        limits: Limits | None = None,
    ) -> None:
        self._loop = loop
        self._batches = encoder.batches
        self._decoder = decoder
        self._receive = receive
        self._receive_fds = receive_fds
        self._on_closed = closed
        self.on_room = on_room
        self._limits = limits or Limits()
        self._closed = False
        self._broken: TransportError | None = None
        self.congested: bool = False
        """Whether senders should wait for `on_room`; a plain attribute, read once per message."""
        self._received = 0
        self._open(carrier, encoder)

    def _open(self, carrier: Carrier, encoder: Encoder) -> None:
        """Take the carrier over and begin to read from it."""
        raise NotImplementedError

    def _release(self) -> None:
        """Close the carrier and drop what waits."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether the channel has ended."""
        return self._closed

    def _deliver_messages(
        self, messages: list[Any], lane: Lane, fds: Sequence[int], *, lost: bool = False
    ) -> None:
        """Deliver the messages of one frame; its descriptors are closed if they cannot be delivered.

        Args:
            messages: of the frame.
            lane: its lane.
            fds: its descriptors.
            lost: whether it had some, and the kernel dropped them.
        """
        self._received += len(messages)
        if not fds and not lost:
            if messages:
                self._receive(messages, lane)
        elif len(messages) == 1 and self._receive_fds is not None:
            self._receive_fds(messages[0], list(fds))
        else:
            close_all(fds)
            if len(messages) != 1:
                raise FrameError(f"descriptors come with exactly one message, got {len(messages)}")
            raise FrameError("descriptors came, and this channel has no `receive_fds`")

    def _end_failed(self, error: Exception) -> None:
        """End because the peer's bytes broke the protocol, or because the receiver raised on a message."""
        if isinstance(error, FrameError):
            self._end(error)
            return
        broken = FrameError(f"the receiver failed on a message: {type(error).__name__}: {error}")
        broken.__cause__ = error
        self._end(broken)

    def _end(self, error: TransportError | None) -> None:
        """The one place where a channel ends."""
        if self._closed:
            return
        self._closed = True
        self._broken = error
        self._release()
        self._on_closed(error)

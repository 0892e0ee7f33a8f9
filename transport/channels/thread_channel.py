"""One end of a passage between two threads: messages in, the same objects out; it never waits or logs.

It is to its user what a channel is: whatever ends it is reported once, after all that was received
has been delivered.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from actors.transport.channels.thread_copy import ByReference, InProcessEncoder
from actors.transport.channels.thread_pair import END, ROOM, Endpoint, OneWayQueue, Packed
from actors.transport.codec.decoder import Decoder
from actors.transport.codec.encoder import Encoder
from actors.transport.errors import ChannelBroken, FrameError, TooBig, TransportError, raise_ended
from actors.transport.wire.frames import Lane
from actors.transport.wire.limits import ChannelStats, Limits
from actors.transport.wire.loop import ChannelLoop
from actors.transport.wire.outbox import close_all
from actors.transport.wire.received_fds import check_count

__all__ = ["ThreadChannel"]

_MESSAGES: Final = 64
"""Delivered at most in one turn of the loop."""
_BASE: Final = 64
"""What a message counts beside the text and bytes in it, so that many small ones add up too."""
_ALL: Final = sys.maxsize
_SMALL: Final = frozenset({int, float, bool, type(None)})


def _ignore(*_args: object) -> None:
    """The callback of who did not ask for one."""


class ThreadChannel:
    """Sends and receives messages through one endpoint, which it owns from here on.

    Args:
        endpoint: one side of a passage; the other may be in another thread.
        loop: the event loop, as a channel's; every method is called on it.
        encoder: packs what cannot be handed over as it is; use `encoder` of this object instead.
        decoder: unpacks that.
        receive: called with messages of one lane. If it raises, the passage ends and that is the
            cause. What it gets is its own.
        receive_fds: called with a message and its descriptors, which it then owns.
        closed: called exactly once at the end, with None if we closed and the error otherwise.
        on_room: called once each time a `congested` passage is emptied below low water.
        limits: sizes; a message that is handed over counts the text and bytes among its fields.
    """

    def __init__(
        self,
        endpoint: Endpoint,
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
        self._endpoint = endpoint
        self._inbound = endpoint.inbound
        self._outbound = endpoint.outbound
        self._loop = loop
        self.encoder = InProcessEncoder(encoder)
        self._batches = encoder.batches
        self._shared_from = encoder.attachments.thresholds.share
        self._decoder = decoder
        self._receive = receive
        self._receive_fds = receive_fds
        self._on_closed = closed
        self.on_room = on_room
        self._limits = limits or Limits()
        self._high = self._limits.high_water
        self._frame = self._limits.frame
        self._closed = False
        self._broken: TransportError | None = None
        self.congested = False
        """Whether senders should wait for `on_room`; a plain attribute, read once per message."""
        self._sent = self._received = self._polls = self._wakes = 0
        loop.watch_readable(self._inbound.wakeup.fd, self._on_wakeup)
        loop.call_soon(self._poll)

    @property
    def closed(self) -> bool:
        """Whether the passage has ended."""
        return self._closed

    @property
    def queued_bytes(self) -> int:
        """Bytes that were sent here and not yet taken by the other side."""
        return self._outbound.sent - self._outbound.taken

    def stats(self) -> ChannelStats:
        """Counters since it began; a frame is here a time that the other side was rung for, or looked."""
        return ChannelStats(
            messages_sent=self._sent,
            messages_received=self._received,
            bytes_sent=self._outbound.sent,
            bytes_received=self._inbound.taken,
            frames_sent=self._wakes,
            frames_received=self._polls,
            fds_sent=self._outbound.fds_sent,
            fds_received=self._inbound.fds_taken,
            queued_bytes=self.queued_bytes,
        )

    # ------------------------------------------------------------ sending

    def send(self, message: list[Any], lane: Lane = Lane.DATA) -> int:
        """Hand one message over; it is the other side's from here on.

        Args:
            message: a number from 1 and plain fields; user values as `encoder` returned them.
            lane: the queue; CONTROL overtakes DATA.

        Returns:
            its size in bytes: of the text and bytes in it, if it was not packed.

        Raises:
            ChannelClosed, ChannelBroken, TooBig, Unsendable: as `Channel.send`.
        """
        if self._closed:
            raise_ended(self._broken)
        item: Any = message
        size = _prepare(message, self._shared_from)
        if not size:
            item = Packed(self._pack(message), ())
            size = len(item.body)
        elif size > self._frame:
            raise TooBig(size, self._frame)
        out = self._outbound
        self._sent += 1
        out.sent = total = out.sent + size
        if total - out.taken >= self._high and not self.congested:
            self.congested = out.sender_waits = True
        out.lanes[lane].append((size, item))
        if not out.receiver_awake:
            self._wake_receiver()
        return size

    def send_fds(
        self,
        message: list[Any],
        fds: Sequence[int],
        lane: Lane = Lane.CONTROL,
        *,
        keep_open: bool = False,
    ) -> None:
        """Hand one message with descriptors over, behind what its lane holds already.

        Args:
            message: as in `send`.
            fds: 1 to 16 descriptors, the passage's from here on: the other side gets these very
                numbers; they are closed when dropped or refused.
            lane: the queue.
            keep_open: the descriptors stay the caller's, and the other side gets others like them.

        Raises:
            FrameError: no descriptors, or too many. Every other error is as in `send`.
        """
        try:
            check_count(fds)
            if self._closed:
                raise_ended(self._broken)
            body = self._pack(message)
            owned = tuple(map(os.dup, fds)) if keep_open else tuple(fds)
        except BaseException:
            close_all(() if keep_open else fds)
            raise
        out = self._outbound
        out.fds_sent += len(owned)
        if out.fds_sent - out.fds_taken >= self._limits.fds and not self.congested:
            self.congested = out.sender_waits = True
        self._sent += 1
        self._enqueue(lane, len(body), Packed(body, owned))

    def flush(self) -> None:
        """Hand over what was packed before there was a passage; `send` waits for nothing."""
        if self._closed or not self._batches.pending:
            return
        for lane in Lane:
            for body in self._batches.take(lane):
                self._enqueue(lane, len(body), Packed(body, ()))

    def close(self) -> None:
        """End it; what was sent is still delivered. Calling it again does nothing."""
        self._end(None)

    def _pack(self, message: list[Any]) -> bytes:
        body = self._batches.check(self._batches.pack_one(message))
        # What introduces the classes in it.
        self.flush()
        return body

    def _enqueue(self, lane: Lane, size: int, item: Any) -> None:
        self._outbound.sent += size
        self._outbound.lanes[lane].append((size, item))
        if not self._outbound.receiver_awake:
            self._wake_receiver()

    def _wake_receiver(self) -> None:
        self._outbound.receiver_awake = True
        self._wakes += 1
        self._outbound.wakeup.wake()

    # ------------------------------------------------------------ receiving

    def _on_wakeup(self) -> None:
        if not self._closed:
            self._inbound.wakeup.clear()
            self._poll()

    def _poll(self) -> None:
        """Deliver up to one turn's worth."""
        if self._closed:
            return
        queue = self._inbound
        # Before the look, and in this order: what comes after it rings.
        queue.receiver_awake = False
        self._polls += 1
        try:
            more = self._take_turn()
        except FrameError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - a receiver that cannot take a message ends the passage, with its error as cause
            why = f"the receiver failed on a message: {type(error).__name__}: {error}"
            broken = FrameError(why)
            broken.__cause__ = error
            self._end(broken)
        else:
            if not self.closed:
                self._after_poll(queue, more=more)

    def _after_poll(self, queue: OneWayQueue, *, more: bool) -> None:
        if queue.sender_waits and self._has_room(queue):
            queue.sender_waits = False
            self._enqueue(Lane.CONTROL, 0, ROOM)
        if more:
            queue.receiver_awake = True
            self._loop.call_soon(self._poll)

    def _has_room(self, queue: OneWayQueue) -> bool:
        few = queue.fds_sent - queue.fds_taken <= self._limits.fds // 2
        return few and queue.sent - queue.taken < self._limits.low_water

    def _take_turn(self) -> bool:
        """Deliver, control first; return whether there may be more."""
        until = self._received + _MESSAGES
        size = self._inbound.taken + self._limits.per_turn
        more = True
        while more and self._received < until and self._inbound.taken < size:
            # Both are asked, not only looked at: asking is what orders this after `receiver_awake`.
            more = self._take(Lane.CONTROL, until - self._received)
            more |= self._take(Lane.DATA, until - self._received)
        return more

    def _take(self, lane: Lane, most: int) -> bool:
        """Deliver up to so many messages of one lane; return whether there may be more."""
        if self._closed:
            return False
        size, batch, other = _pop(self._inbound.lanes[lane], most)
        self._inbound.taken += size
        if lane is Lane.DATA:
            # What was sent in the other lane before these, and so is there now, goes before them.
            while self._inbound.lanes[Lane.CONTROL] and self._take(Lane.CONTROL, _ALL):
                pass
        if batch and not self.closed:
            self._received += len(batch)
            self._receive(batch, lane)
        if other is not None:
            self._take_special(other, lane)
        return other is not None or len(batch) == most

    def _take_special(self, item: Any, lane: Lane) -> None:
        if self._closed:
            self._inbound.drop_item(item)
        elif item is END:
            self._end(ChannelBroken("the peer closed the channel"))
        elif item is ROOM:
            self.congested = False
            self.on_room()
        else:
            self._take_packed(item, lane)

    def _take_packed(self, item: Packed, lane: Lane) -> None:
        self._inbound.fds_taken += len(item.fds)
        try:
            messages = self._decoder.feed(item.body)
            if item.fds and (len(messages) != 1 or self._receive_fds is None):
                raise FrameError(
                    "descriptors come with exactly one message, and somebody here must want it"
                )  # noqa: TRY301 - the descriptors are closed like after any other
        except BaseException:
            close_all(item.fds)
            raise
        self._received += len(messages)
        if item.fds and self._receive_fds is not None:
            self._receive_fds(messages[0], list(item.fds))
        elif messages:
            self._receive(messages, lane)

    def _end(self, error: TransportError | None) -> None:
        """The one place where a passage ends."""
        if self._closed:
            return
        self._closed = True
        self._broken = error
        self._loop.unwatch_readable(self._inbound.wakeup.fd)
        self._endpoint.close()
        self._on_closed(error)


def _pop(queue: deque[tuple[int, Any]], most: int) -> tuple[int, list[Any], Any]:
    """Take messages that are handed over, and one item that is not; return their size, too."""
    batch: list[Any] = []
    size = 0
    try:
        while len(batch) < most:
            weight, item = queue.popleft()
            size += weight
            if type(item) is not list:
                return size, batch, item
            batch.append(item)
    except IndexError:
        pass
    return size, batch, None


def _prepare(message: list[Any], big: int) -> int:
    """Make *message* ready to be handed over and return its size; 0 if it has to be packed."""
    size = _BASE
    marked = False
    for field in message:
        cls = type(field)
        if cls in _SMALL:
            continue
        if cls is str:
            size += len(field)
        elif cls is tuple or cls is bytes:
            size += _size_of(field if cls is tuple else (field,), big)
        elif cls is ByReference:
            marked = True
        else:
            return 0
    if marked:
        message[:] = [field.value if type(field) is ByReference else field for field in message]
    return size


def _size_of(parts: tuple[Any, ...], big: int) -> int:
    """The text and bytes among *parts*; bytes from *big* on are counted beside the messages."""
    size = 0
    for part in parts:
        cls = type(part)
        if cls is str or (cls is bytes and len(part) < big):
            size += len(part)
    return size

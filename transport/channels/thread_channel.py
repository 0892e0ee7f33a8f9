"""One end of a channel between two threads: messages in, the same objects out."""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from actors.transport.channels.bell_watch import BellWatch
from actors.transport.channels.message_channel import MessageChannel
from actors.transport.channels.thread_copy import ByReference, InProcessEncoder
from actors.transport.channels.thread_pair import END, ROOM, Endpoint, OneWayQueue, Packed
from actors.transport.codec.encoder import Encoder
from actors.transport.errors import ChannelBroken, TooBig, TransportError, raise_ended
from actors.transport.types.twins import COMPILED, bind
from actors.transport.wire.frames import Lane
from actors.transport.wire.limits import ChannelStats, Limits
from actors.transport.wire.outbox import close_all, dup_all
from actors.transport.wire.received_fds import check_count

__all__ = ["ThreadChannel"]

_MESSAGES: Final = 64
"""Delivered at most in one turn of the loop."""
_BASE: Final = 64
"""What a message counts beside the text and bytes in it, so that many small ones add up too."""
_ALL: Final = sys.maxsize
_SMALL: Final = frozenset({int, float, bool, type(None)})


class _Fields:
    __slots__ = (
        "_closed",
        "_high",
        "_inbound",
        "_most",
        "_outbound",
        "_sent",
        "_shared_from",
        "congested",
    )

    congested: bool
    _closed: bool
    _inbound: OneWayQueue
    _outbound: OneWayQueue
    _sent: int
    _most: int
    _high: int
    _shared_from: int


class _SenderInPython(_Fields):
    """How a message comes into the queue to the other thread."""

    __slots__ = ()

    _broken: TransportError | None
    _limits: Limits

    def _pack(self, message: list[Any]) -> bytes:
        raise NotImplementedError

    def _wake_receiver(self) -> None:
        raise NotImplementedError

    # One function: a call per message costs as much as the rest of it.
    def send(self, message: list[Any], lane: Lane = Lane.DATA) -> int:  # noqa: C901, PLR0912
        """Send one message, which belongs to the other side afterwards.

        Args:
            message: a number from 1 and plain fields; user values as `encoder` returned them.
            lane: its lane; CONTROL overtakes DATA.

        Returns:
            its size in bytes: of the text and bytes in it, if it was not packed.

        Raises:
            ChannelClosed, ChannelBroken, TooBig, Unsendable: as `Channel.send`.
        """
        if self._closed:
            raise_ended(self._broken)
        item: Any = message
        size, at = _BASE, -1
        for field in message:
            at += 1
            kind = type(field)
            if kind in _SMALL:
                continue
            if kind is str:
                size += len(field)
            elif kind is ByReference:
                message[at] = field[0]
            elif kind is tuple or kind is bytes:
                size += _size_of(field if kind is tuple else (field,), self._shared_from)
            else:
                item = Packed(self._pack(message), ())
                size = len(item.body)
                break
        if size > self._most:
            raise TooBig(size, self._limits.message)
        out = self._outbound
        self._sent += 1
        out.sent = total = out.sent + size
        if total - out.taken >= self._high and not self.congested:
            self.congested = out.sender_waits = True
        out.lanes[lane].append((size, item))
        if out.bell is not None:
            out.bell.ring(self._inbound.bell)
        if not out.receiver_awake:
            self._wake_receiver()
        return size


_SenderTwin = _SenderInPython
if not TYPE_CHECKING and COMPILED:

    class _SenderTwin(COMPILED.ThreadChannelMethods, _SenderInPython):
        """The method in C leaves what is rare to that in Python."""

        __slots__ = ()


class ThreadChannel(_SenderTwin, MessageChannel[Endpoint]):
    """Sends and receives messages through one endpoint, which it owns.

    The arguments are those of `MessageChannel`; `encoder` packs only what cannot be passed by reference, so
    senders use the `encoder` of this object instead. What `receive` gets is its own. Limits count the text
    and bytes among the fields of a message that is passed by reference.
    """

    congested: bool

    def _open(self, carrier: Endpoint, encoder: Encoder) -> None:
        self._endpoint = carrier
        self._inbound = carrier.inbound
        self._outbound = carrier.outbound
        self.encoder: InProcessEncoder = InProcessEncoder(encoder)
        self._shared_from = encoder.attachments.thresholds.share
        self._high = self._limits.high_water
        self._most = self._limits.message + self._limits.envelope
        self._sent = self._polls = self._wakes = 0
        # Whole messages go from thread to thread: none has to be let pass.
        self._held = self._batches.bulk.switch_off()
        self.bell_watch: BellWatch = BellWatch(
            self._inbound, self._outbound, self._loop, self._poll
        )
        self._loop.watch_readable(self._inbound.wakeup.fd, self._on_wakeup)
        self._loop.call_soon(self._poll)

    def _release(self) -> None:
        self._loop.unwatch_readable(self._inbound.wakeup.fd)
        self._endpoint.close()

    @property
    def queued_bytes(self) -> int:
        """Bytes sent here and not yet taken by the other side."""
        return self._outbound.sent - self._outbound.taken

    def stats(self) -> ChannelStats:
        """Counters since it began; frames are counted as wake-ups sent and polls made."""
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

    def send_fds(
        self,
        message: list[Any],
        fds: Sequence[int],
        lane: int = Lane.CONTROL,
        *,
        keep_open: bool = False,
    ) -> None:
        """Send one message with descriptors, behind what its lane holds already.

        Args:
            message: as in `send`.
            fds: 1 to 16 descriptors, which the channel owns: the other side gets these very numbers;
                they are closed when dropped or refused.
            lane: its lane.
            keep_open: the descriptors stay the caller's, and the other side gets duplicates.

        Raises:
            FrameError: no descriptors, or too many. Every other error is as in `send`.
        """
        try:
            check_count(fds)
            if self._closed:
                raise_ended(self._broken)
            body = self._pack(message)
            owned = dup_all(fds) if keep_open else tuple(fds)
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
        """Send what was packed before there was a channel; `send` needs no flush."""
        if self._closed or not self._batches.pending:
            return
        for lane in (Lane.CONTROL, Lane.DATA):
            for body in self._batches.take(lane):
                self._enqueue(lane, len(body), Packed(body, ()))
        for _, body in self._batches.take_big():
            self._enqueue(Lane.DATA, len(body), Packed(body, ()))
        held, self._held = self._held, []
        for message in held:
            self.send(message)

    def when_written(self, fn: Callable[[], object]) -> None:
        """Call *fn* soon: what was sent is where the other side takes it from."""
        self._loop.call_soon(fn)

    def close(self) -> None:
        """End it; what was sent is still delivered. A second call does nothing."""
        self._end(None)

    def _pack(self, message: list[Any]) -> bytes:
        body = self._batches.check(self._batches.pack_one(message))
        # The introductions of the classes in it go first.
        self.flush()
        return body

    def _enqueue(self, lane: int, size: int, item: Any) -> None:
        self._outbound.sent += size
        self._outbound.lanes[lane].append((size, item))
        if self._outbound.bell is not None:
            self._outbound.bell.ring(self._inbound.bell)
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
            self.bell_watch.woken()
            self._poll()

    def _poll(self) -> None:
        """Deliver up to one turn's worth."""
        if self._closed:
            return
        queue = self._inbound
        # Cleared before the queue is read: the sender of what comes later wakes us again.
        queue.receiver_awake = False
        if queue.bell is not None:
            queue.bell.read()
        self._polls += 1
        before = self._received
        try:
            more = self._take_turn()
        except Exception as error:  # noqa: BLE001 - a receiver that cannot take a message ends the channel
            self._end_failed(error)
        else:
            if not self.closed:
                self._after_poll(queue, more=more, some=self._received > before)

    def _after_poll(self, queue: OneWayQueue, *, more: bool, some: bool) -> None:
        if queue.sender_waits and self._has_room(queue):
            queue.sender_waits = False
            self._enqueue(Lane.CONTROL, 0, ROOM)
        if more:
            queue.receiver_awake = True
            self._loop.call_soon(self._poll)
        elif some and 0 < self.bell_watch.after <= self._received + self._sent:
            self.bell_watch.begin()

    def _has_room(self, queue: OneWayQueue) -> bool:
        few = queue.fds_sent - queue.fds_taken <= self._limits.fds // 2
        return few and queue.sent - queue.taken < self._limits.low_water

    def _take_turn(self) -> bool:
        """Deliver messages, control first; returns whether there may be more."""
        until = self._received + _MESSAGES
        size = self._inbound.taken + self._limits.per_turn
        more = True
        while more and self._received < until and self._inbound.taken < size:
            # Each deque is popped even if it seems empty: its lock orders this after `receiver_awake`.
            more = self._take(Lane.CONTROL, until - self._received)
            if not self._closed:
                more |= self._take(Lane.DATA, until - self._received)
        return more

    def _take(self, lane: Lane, most: int) -> bool:
        """Deliver at most so many messages of one lane; returns whether there may be more."""
        size, batch, other = _take_items(self._inbound.lanes[lane], most)
        self._inbound.taken += size
        if lane is Lane.DATA:
            # Control sent before these messages is in its lane by now, and is delivered before them.
            while self._inbound.lanes[Lane.CONTROL] and self._take(Lane.CONTROL, _ALL):
                pass
        if self._closed:
            self._inbound.drop_item(other)
            return False
        if batch:
            self._received += len(batch)
            self._receive(batch, lane)
        if other is not None:
            self._take_other(other, lane)
        return other is not None or len(batch) == most

    def _take_other(self, item: Any, lane: Lane) -> None:
        """Handle an item that is not a message passed by reference."""
        if self._closed:
            self._inbound.drop_item(item)
        elif item is END:
            self._end(ChannelBroken("the peer closed the channel"))
        elif item is ROOM:
            self.congested = False
            self.on_room()
        else:
            self._inbound.fds_taken += len(item.fds)
            try:
                messages = self._decoder.feed(item.body)
            except BaseException:
                close_all(item.fds)
                raise
            self._deliver_messages(messages, lane, item.fds)


def _take_items_in_python(queue: deque[tuple[int, Any]], most: int) -> tuple[int, list[Any], Any]:
    """Take messages up to the first item that is none; returns their size, them, and that item."""
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


bind(ThreadChannel, channel_twin=_SenderInPython, by_reference=ByReference)
_take_items: Final = COMPILED.take_queued if COMPILED else _take_items_in_python


def _size_of(parts: tuple[Any, ...], shared_from: int) -> int:
    """The text and bytes among *parts*, without bytes as big as over a socket go by shared memory."""
    size = 0
    for part in parts:
        cls = type(part)
        if cls is str or (cls is bytes and len(part) < shared_from):
            size += len(part)
    return size

"""One end of a socket between two processes: messages in, batches out.

Two processes that talk much also have rings in shared memory (`Rings`), which carry most of the frames then.
"""

import errno
from collections.abc import Callable, Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any, Final

from actors.transport.channels.message_channel import MessageChannel
from actors.transport.channels.rings import Rings
from actors.transport.codec.encoder import Encoder
from actors.transport.errors import ChannelBroken, FrameError, TransportError, raise_ended
from actors.transport.wire.batches import BATCH_LIMIT
from actors.transport.wire.frames import (
    HEADER_SIZE,
    RING_LANE,
    SINGLE_HEADER,
    Frame,
    FrameDecoder,
    Lane,
    encode_header,
)
from actors.transport.wire.limits import ChannelStats
from actors.transport.wire.outbox import Outbox, close_all, dup_all
from actors.transport.wire.received_fds import ReceivedFds, check_count
from actors.transport.wire.socket_io import (
    ANCILLARY,
    CLOEXEC,
    CTRUNC,
    StreamSocket,
    prepare,
    received_fds,
    write,
)

__all__ = ["Channel"]

_CHUNK: Final = 256 * 1024
_BATCHED: Final = (Lane.CONTROL, Lane.DATA)
_NOT_NOW: Final = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM})
"""The kernel has no room: too many descriptors of this user are under way, or there is no memory."""
_AGAIN_AFTER: Final = 0.01
"""Seconds until the next try, as no event says when there is room."""


class Channel(MessageChannel[StreamSocket]):
    """Sends and receives messages over one end of an AF_UNIX stream socketpair, which it owns.

    The arguments are those of `MessageChannel`.
    """

    congested: bool

    def _open(self, carrier: StreamSocket, encoder: Encoder) -> None:
        self._sock = carrier
        self.encoder = encoder
        self._frames = FrameDecoder(self._limits.message + self._limits.envelope)
        self._outbox = Outbox(self._on_last_piece)
        self._received_fds = ReceivedFds()
        # Pages of its own: only those that are read into take memory, and all are given back. On the heap small
        # objects take the room of a freed one, so that each node that came and went cost another.
        self._read_buffer = memoryview(mmap(-1, _CHUNK, MAP_PRIVATE | MAP_ANONYMOUS))
        self._read_buffers = [self._read_buffer]
        self._ended = False
        """Whether sending has ended; what the peer sent may still be read."""
        self._flush_due = False
        self._reply_due = False
        """Whether the next message is written at once."""
        self._waiting = False
        """Whether the loop watches for the socket to take more."""
        self._trying_again = False
        """Whether a timer runs because the kernel has no room."""
        self._when_written: list[Callable[[], object]] = []
        """To be called when the control lane is written."""
        self._alone = 0
        """Messages that were written at once, past the batches."""
        self._fd_messages = 0
        # What was sent, and what was received.
        self._bytes = [0, 0]
        self._frame_counts = [0, 0]
        self._fd_counts = [0, 0]
        self.rings: Rings = Rings(self, self._loop, self._frames, self._frame_counts, self._bytes)
        self._prepare(carrier)
        self._fd = carrier.fileno()
        self._loop.watch_readable(self._fd, self._read)

    def _prepare(self, carrier: Any) -> None:
        prepare(carrier)

    def _close_carrier(self) -> None:
        self._sock.close()

    def _release(self) -> None:
        self._ended = True
        self._loop.unwatch_readable(self._fd)
        self._watch_writable(wanted=False)
        self._outbox.clear()
        self._received_fds.close()
        self._close_carrier()
        self.rings.close()
        self._tell_written()

    @property
    def messages(self) -> int:
        """How many were sent and received."""
        return self._batches.taken + self._alone + self._received

    @property
    def queued_bytes(self) -> int:
        """Bytes sent here and not yet written to the socket."""
        return self._outbox.size + self._batches.pending

    def stats(self) -> ChannelStats:
        """Counters since the channel began."""
        return ChannelStats(
            messages_sent=self._batches.packed + self._alone + self._fd_messages,
            messages_received=self._received,
            bytes_sent=self._bytes[0],
            bytes_received=self._bytes[1],
            frames_sent=self._frame_counts[0],
            frames_received=self._frame_counts[1],
            fds_sent=self._fd_counts[0],
            fds_received=self._fd_counts[1],
            queued_bytes=self.queued_bytes,
            ring_frames_sent=self.rings.carried[0],
            ring_frames_received=self.rings.carried[1],
        )

    # ------------------------------------------------------------ sending

    def send(self, message: list[Any], lane: Lane = Lane.DATA) -> int:
        """Queue one message; it is written at the end of this loop turn, or when 64 KiB are queued.

        The first message sent after something was received is written at once.

        Args:
            message: a number from 1 and plain fields; user values as `encoder` returned them.
            lane: its lane; CONTROL overtakes DATA. A message of the DATA lane of more than 256 KiB lets
                others pass, but none that is sent later and has the same second field.

        Returns:
            its size in bytes.

        Raises:
            ChannelClosed: we closed the channel.
            ChannelBroken: the peer is gone.
            TooBig: over the limit; nothing was queued.
            NoRoom: too many big messages wait, and its kind may be refused; `on_room` says when to try again.
            Unsendable: a field is not plain; nothing was queued.
        """
        if self._ended:
            raise_ended(self._broken)
        if self._reply_due:
            # The first message after something was received is most often the only answer to it.
            self._reply_due = False
            return self._send_now(message, lane)
        batches = self._batches
        size = batches.pack(message, lane)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._on_turn_end)
        elif batches.sealed_size:
            self.flush()
        return size

    def _send_now(self, message: list[Any], lane: Lane) -> int:
        """As `send`, and write it: by itself if nothing waits to be written before it."""
        batches = self._batches
        if batches.open_size or batches.sealed_size or batches.behind or self._outbox.size:
            size = batches.pack(message, lane)
            self.flush()
            return size
        body = batches.pack_one(message)
        size = len(body)
        if size > BATCH_LIMIT:
            batches.add(message, body, lane)
            self.flush()
            return size
        self._alone += 1
        ring = self.rings.outbound
        if ring is not None:
            if not (ring.current and ring.put(lane, body)):
                self._write_single(lane, body)
            return size
        frame = SINGLE_HEADER[lane](size) + body
        # Written out here: most asks and replies go this way.
        try:
            count = self._sock.send(frame)
        except OSError as error:
            count = self._not_written(error)
        self._bytes[0] += count
        if count == len(frame):
            self._frame_counts[0] += 1
        elif not self._ended:
            self._put_aside(lane, body, (), count)
            self._watch_writable(wanted=True)
        return size

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
            fds: 1 to 16 descriptors, which the channel owns and closes, also if this raises.
            lane: its lane, or that of the big message it belongs to.
            keep_open: the descriptors stay the caller's, who may close them after this call.

        Raises:
            FrameError: no descriptors, or too many. Every other error is as in `send`.
        """
        given = () if keep_open else fds
        try:
            check_count(fds)
            if self._ended:
                raise_ended(self._broken)
            if self._batches.pending:
                self._collect()
            body = self._batches.check(self._batches.pack_one(message))
            # A frame with descriptors takes a system call of its own, now or later.
            count, to_ring = self._try_socket(lane, body, fds)
            self._fd_messages += 1
            self._fd_counts[0] += len(fds)
            if self._ended or count == HEADER_SIZE + len(body):
                close_all(given)
                return
            owned = dup_all(fds) if keep_open else tuple(fds)
        except BaseException:
            close_all(given)
            raise
        self._put_aside(lane, body, owned, count, to_ring=to_ring)
        self._flush_soon()

    def flush(self) -> None:
        """Write what the socket takes now; the rest follows when it takes more."""
        if self._ended:
            return
        if not self._outbox.size and (single := self._batches.take_single()) is not None:
            lane, parts = single
            self._write_single(lane, parts[0] if len(parts) == 1 else b"".join(parts))
            return
        self._collect()
        if not self._waiting:
            self._write()

    def when_written(self, fn: Callable[[], object]) -> None:
        """Call *fn* when the socket has taken all that was sent in the control lane, or takes no more."""
        self._when_written.append(fn)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._on_turn_end)

    def _tell_written(self) -> None:
        if self._when_written and (self._ended or not self._outbox.has_control):
            told, self._when_written = self._when_written, []
            for fn in told:
                fn()

    def close(self) -> None:
        """Write what the socket takes without waiting, then end; a second call does nothing."""
        if not self._closed:
            self.flush()
            self._end(None)

    def abandon(self) -> None:
        """Close the descriptor alone, in a process that was forked: the loop is that of the other one."""
        self._ended = self._closed = True
        self._sock.close()
        self.rings.abandon()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._on_turn_end)

    def _on_turn_end(self) -> None:
        self._flush_due = False
        self.flush()
        self._tell_written()

    def _collect(self) -> None:
        """Move what was packed into frames; the control lane, with its introductions, first."""
        ring = self.rings.outbound
        for lane in _BATCHED:
            for body in self._batches.take(lane):
                if ring is None or self._outbox.size or not ring.put(lane, body):
                    self._queue(lane, body)
        for place, body in self._batches.take_big():
            self._queue(place, body)

    def _queue(self, lane: int, body: bytes) -> None:
        """Have a frame written over the socket, behind what its lane holds."""
        ring = self.rings.outbound
        if ring is not None and ring.current:
            ring.leave()
        self._add_frame(lane, body, ())

    def _add_frame(
        self, lane: int, body: bytes, fds: tuple[int, ...], *, to_ring: bool = False
    ) -> None:
        outbox = self._outbox
        outbox.add(lane, body, fds, to_ring=to_ring)
        if outbox.size - outbox.bulk >= self._limits.high_water or outbox.fds >= self._limits.fds:
            self.congested = True

    def _on_last_piece(self, lane: int) -> None:
        """Send what was held until a big message is written."""
        for message in self._batches.bulk.begun(lane):
            self._batches.pack(message)
            self._flush_soon()

    def _write(self) -> None:
        outbox = self._outbox
        while outbox.size:
            try:
                count = write(self._sock, *outbox.gather())
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno not in _NOT_NOW:
                    self._on_write_error(error)
                    return
                self._try_again()
                break
            self._bytes[0] += count
            self._frame_counts[0] += outbox.written(count)
        self._watch_writable(wanted=outbox.size > 0 and not self._trying_again)
        few = outbox.fds <= self._limits.fds // 2
        bulk = self._batches.bulk
        if self.congested and few and outbox.size - outbox.bulk < self._limits.low_water:
            self.congested = bulk.refused = False
            self._loop.call_soon(self.on_room)
        elif bulk.refused and bulk.has_room():
            bulk.refused = False
            self._loop.call_soon(self.on_room)

    def _try_again(self) -> None:
        if not self._trying_again:
            self._trying_again = True
            self._loop.call_later(_AGAIN_AFTER, self._on_time_passed)

    def _on_time_passed(self) -> None:
        self._trying_again = False
        self._on_writable()

    def _write_single(self, lane: Lane, body: bytes) -> None:
        """Write one frame; only what neither ring nor socket takes goes through the outbox."""
        ring = self.rings.outbound
        if ring is None or not ring.wanted():
            to_ring = False
            count = self._write_frame(SINGLE_HEADER[lane](len(body)) + body)
        elif ring.put(lane, body):
            return
        else:
            count, to_ring = self._try_socket(lane, body)
        if count < HEADER_SIZE + len(body) and not self._ended:
            self._put_aside(lane, body, (), count, to_ring=to_ring)
            self._watch_writable(wanted=True)

    def _try_socket(self, lane: int, body: bytes, fds: Sequence[int] = ()) -> tuple[int, bool]:
        """Write what the socket takes of a frame, if the outbox is empty.

        Returns:
            how many bytes it took, and whether the frame leads to the ring.
        """
        ring = self.rings.outbound
        to_ring = ring is not None and ring.leave() and not self._outbox.size
        frame = encode_header(lane, len(fds), len(body), to_ring=to_ring) + body
        count = 0 if self._outbox.size else self._write_frame(frame, fds)
        if ring is not None and to_ring and count:
            ring.current = True
        return count, to_ring and count > 0

    def _put_aside(
        self, lane: int, body: bytes, fds: tuple[int, ...], count: int, *, to_ring: bool = False
    ) -> None:
        """Keep a frame, of which *count* bytes are written, until the socket takes more."""
        self._add_frame(lane, body, fds, to_ring=to_ring)
        self._frame_counts[0] += self._outbox.written(count)

    def write_note(self, note: bytes, fds: tuple[int, ...] = ()) -> None:
        """Write a frame about the rings, and close its descriptors."""
        count, to_ring = (0, False) if self._ended else self._try_socket(RING_LANE, note, fds)
        self._fd_counts[0] += len(fds)
        if self._ended or count == HEADER_SIZE + len(note):
            close_all(fds)
        else:
            self._put_aside(RING_LANE, note, fds, count, to_ring=to_ring)
            self._flush_soon()

    def _write_frame(self, frame: bytes, fds: Sequence[int] = ()) -> int:
        """Write a frame while the outbox is empty; returns how many bytes the socket took."""
        try:
            count = write(self._sock, [frame], fds) if fds else self._sock.send(frame)
        except OSError as error:
            return self._not_written(error)
        self._bytes[0] += count
        self._frame_counts[0] += count == len(frame)
        return count

    def _not_written(self, error: OSError) -> int:
        """Return that the socket took no byte; an *error* by which the peer is gone ends sending."""
        if not isinstance(error, (BlockingIOError, InterruptedError)) and (
            error.errno not in _NOT_NOW
        ):
            self._on_write_error(error)
        return 0

    def _watch_writable(self, *, wanted: bool) -> None:
        if wanted == self._waiting:
            return
        self._waiting = wanted
        if wanted:
            self._loop.watch_writable(self._fd, self._on_writable)
        else:
            self._loop.unwatch_writable(self._fd)

    def _on_writable(self) -> None:
        if not self._ended:
            self._collect()
            self._write()
        self._tell_written()

    def _on_write_error(self, error: OSError) -> None:
        """The peer reads no more; what it sent is still read, in later turns of the loop."""
        self._broken = ChannelBroken(f"the peer does not read any more: {error}")
        self._broken.__cause__ = error
        self._ended = True
        self._watch_writable(wanted=False)
        self._outbox.clear()
        self._tell_written()
        self._loop.call_soon(self._read_to_end)

    def fail_sending(self, error: FrameError) -> None:
        """End the channel soon: the peer broke the protocol, which was seen while something was sent."""
        if not self._ended:
            self._ended = True
            self._broken = error
            self._loop.call_soon(self._end, error)

    # ------------------------------------------------------------ receiving

    def _read_to_end(self) -> None:
        if not self._closed and not self._read():
            self._end(self._broken)
        elif not self._closed:
            self._loop.call_soon(self._read_to_end)

    def _read(self) -> bool:
        """Read and deliver up to one turn's worth; returns whether there may be more."""
        budget = self._limits.per_turn
        while budget > 0 and not self._closed:
            try:
                count, ancillary, flags, _ = self._sock.recvmsg_into(
                    self._read_buffers, ANCILLARY, CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                broken = ChannelBroken(f"the peer is gone: {error}")
                broken.__cause__ = error
                self._end_after_records(broken)
                return False
            if ancillary or flags & CTRUNC:
                self._take_fds(ancillary, lost=flags & CTRUNC != 0)
            if count == 0:
                self._end_after_records(self._why_ended())
                return False
            budget -= count
            self._bytes[1] += count
            last = count < _CHUNK and not self._broken
            self._reply_due = last and not self._flush_due
            self._deliver(self._read_buffer[:count])
            if last:
                return True
        return not self._closed

    def _take_fds(self, ancillary: list[tuple[int, int, bytes]], *, lost: bool) -> None:
        fds = received_fds(ancillary)
        self._received_fds.add(fds, lost=lost)
        self._fd_counts[1] += len(fds)

    def _why_ended(self) -> TransportError:
        pending = self._frames.pending
        if pending:
            return ChannelBroken(f"the peer closed inside a frame, {pending} bytes into it")
        return self._broken or ChannelBroken("the peer closed the channel")

    def _end_after_records(self, why: TransportError) -> None:
        """End, as the peer has: what it has written into the ring came before."""
        ring = self.rings.inbound
        if ring is not None:
            try:
                ring.take()
            except Exception as error:  # noqa: BLE001 - as in `_deliver`
                self._end_failed(error)
        self._end(why)

    def _deliver(self, data: memoryview) -> None:
        rings, frames = self.rings, self._frames
        try:
            if rings.inbound is not None and rings.inbound.current:
                rings.inbound.take_to_mark(frames.count)
            lane = frames.single(data)
            if lane is not None and not self._received_fds.reads:
                frames.count += 1
                self._frame_counts[1] += 1
                messages = self._decoder.feed(data[HEADER_SIZE:])
                self._received += len(messages)
                if messages:
                    self._receive(messages, lane)
                if frames.to_ring and not self._closed:
                    rings.enter_inbound()
            else:
                self._deliver_frames(data)
            if rings.inbound is not None:
                rings.inbound.woken()
            if (
                rings.counting
                and self._batches.taken + self._alone + self._received >= rings.made_at
            ):
                rings.make()
        except Exception as error:  # noqa: BLE001 - a receiver that cannot take a message ends the channel
            self._end_failed(error)

    def _deliver_frames(self, data: memoryview) -> None:
        """Deliver frames, and before each one the records that lead to it."""
        received_fds, rings = self._received_fds, self.rings
        for frame in self._frames.feed(data):
            if rings.inbound is not None:
                rings.inbound.take_to_mark(self._frames.count - 1)
            self._deliver_frame(frame)
            if self._closed:
                return
        if received_fds.reads:
            received_fds.check_leftovers(more=self._frames.pending > 0)

    def _deliver_frame(self, frame: Frame) -> None:
        messages = [] if frame.lane is None else self._decoder.feed(frame.body)
        self._frame_counts[1] += 1
        fds = self._received_fds.take(frame.fd_count)
        lost = frame.fd_count > len(fds)
        if frame.lane is None:
            self.rings.take_note(bytes(frame.body), fds, lost=lost)
        else:
            self._deliver_messages(messages, frame.lane, fds, lost=lost)
        if frame.to_ring and not self._closed:
            self.rings.enter_inbound()

    def deliver_record(self, lane: int, body: bytes, *, more: bool) -> None:
        """Deliver a frame that came through the ring.

        Args:
            lane: its lane, by number.
            body: its body.
            more: whether others were behind it.
        """
        self._frame_counts[1] += 1
        self.rings.carried[1] += 1
        self._bytes[1] += len(body)
        self._reply_due = not more and not self._flush_due
        messages = self._decoder.feed(body)
        self._received += len(messages)
        if messages:
            self._receive(messages, _BATCHED[lane])
        if self.rings.counting and self.messages >= self.rings.made_at:
            self.rings.make()

    def fail_receiving(self, error: Exception) -> None:
        """End the channel: what came through the ring breaks the protocol, or its receiver raised."""
        self._end_failed(error)

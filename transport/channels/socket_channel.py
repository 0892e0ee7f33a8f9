"""One end of a socket between two processes: messages in, batches out."""

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from actors.transport.channels.message_channel import MessageChannel
from actors.transport.codec.encoder import Encoder
from actors.transport.errors import ChannelBroken, TransportError, raise_ended
from actors.transport.wire.batches import BATCH_LIMIT
from actors.transport.wire.frames import (
    HEADER_SIZE,
    SINGLE_HEADER,
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


class Channel(MessageChannel[socket.socket]):
    """Sends and receives messages over one end of an AF_UNIX stream socketpair, which it owns.

    The arguments are those of `MessageChannel`.
    """

    congested: bool

    def _open(self, carrier: socket.socket, encoder: Encoder) -> None:
        self._sock = carrier
        self.encoder = encoder
        self._frames = FrameDecoder(self._limits.message + self._limits.envelope)
        self._outbox = Outbox(self._on_last_piece)
        self._received_fds = ReceivedFds()
        self._read_buffer = memoryview(bytearray(_CHUNK))
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
        prepare(carrier)
        self._fd = carrier.fileno()
        self._loop.watch_readable(self._fd, self._read)

    def _release(self) -> None:
        self._ended = True
        self._loop.unwatch_readable(self._fd)
        self._watch_writable(wanted=False)
        self._outbox.clear()
        self._received_fds.close()
        self._sock.close()
        self._tell_written()

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
        frame = SINGLE_HEADER[lane](size) + body
        # Written out here: most asks and replies go this way.
        try:
            count = self._sock.send(frame)
        except OSError as error:
            count = self._not_written(error)
        self._bytes[0] += count
        if count == len(frame):
            self._frame_counts[0] += 1
        else:
            self._write_rest(lane, body, count)
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
            frame = encode_header(lane, len(fds), len(body)) + body
            # A frame with descriptors takes a system call of its own, now or later.
            count = 0 if self._outbox.size else self._write_frame(frame, fds)
            self._fd_messages += 1
            self._fd_counts[0] += len(fds)
            if self._ended or count == len(frame):
                close_all(given)
                return
            owned = dup_all(fds) if keep_open else tuple(fds)
        except BaseException:
            close_all(given)
            raise
        self._queue(lane, body, owned)
        self._frame_counts[0] += self._outbox.written(count)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._on_turn_end)

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

    def _on_turn_end(self) -> None:
        self._flush_due = False
        self.flush()
        self._tell_written()

    def _collect(self) -> None:
        """Move what was packed into frames; the control lane, with its introductions, first."""
        for lane in _BATCHED:
            for body in self._batches.take(lane):
                self._queue(lane, body)
        for place, body in self._batches.take_big():
            self._queue(place, body)

    def _queue(self, lane: int, body: bytes, fds: tuple[int, ...] = ()) -> None:
        outbox = self._outbox
        outbox.add(lane, body, fds)
        if outbox.size - outbox.bulk >= self._limits.high_water or outbox.fds >= self._limits.fds:
            self.congested = True

    def _on_last_piece(self, lane: int) -> None:
        """Send what was held until a big message is written."""
        for message in self._batches.bulk.begun(lane):
            self._batches.pack(message)
            if not self._flush_due:
                self._flush_due = True
                self._loop.call_soon(self._on_turn_end)

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
        """Write one frame; only what the socket does not take goes through the outbox."""
        frame = SINGLE_HEADER[lane](len(body)) + body
        count = self._write_frame(frame)
        if count < len(frame):
            self._write_rest(lane, body, count)

    def _write_rest(self, lane: Lane, body: bytes, count: int) -> None:
        """Have the rest of a frame, of which the socket took *count* bytes, written when it takes more."""
        if not self._ended:
            self._queue(lane, body)
            self._frame_counts[0] += self._outbox.written(count)
            self._watch_writable(wanted=True)

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
                self._end(broken)
                return False
            if ancillary or flags & CTRUNC:
                self._take_fds(ancillary, lost=flags & CTRUNC != 0)
            if count == 0:
                self._end(self._why_ended())
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

    def _deliver(self, data: memoryview) -> None:
        received_fds = self._received_fds
        try:
            lane = self._frames.single(data)
            if lane is not None and not received_fds.reads:
                self._frame_counts[1] += 1
                messages = self._decoder.feed(data[HEADER_SIZE:])
                self._received += len(messages)
                if messages:
                    self._receive(messages, lane)
                return
            for frame in self._frames.feed(data):
                messages = self._decoder.feed(frame.body)
                self._frame_counts[1] += 1
                fds = received_fds.take(frame.fd_count)
                self._deliver_messages(messages, frame.lane, fds, lost=frame.fd_count > len(fds))
                if self._closed:
                    return
            if received_fds.reads:
                received_fds.check_leftovers(more=self._frames.pending > 0)
        except Exception as error:  # noqa: BLE001 - a receiver that cannot take a message ends the channel
            self._end_failed(error)

"""One end of a socket between two places: messages in, batches out; it never waits, blocks or logs.

The loop is handed in as five functions. Whatever ends the channel is reported once, after all that
was received has been delivered.
"""

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from actors.transport.codec.decoder import Decoder
from actors.transport.codec.encoder import Encoder
from actors.transport.errors import ChannelBroken, FrameError, TransportError, raise_ended
from actors.transport.wire.frames import (
    HEADER_SIZE,
    Frame,
    FrameDecoder,
    Lane,
    encode_header,
    encode_single,
)
from actors.transport.wire.limits import ChannelStats, Limits
from actors.transport.wire.loop import ChannelLoop
from actors.transport.wire.outbox import Outbox, close_all
from actors.transport.wire.received_fds import ReceivedFds, check_count
from actors.transport.wire.socket_io import prepare, receive, write

__all__ = ["Channel"]

_CHUNK: Final = 256 * 1024
_LANES: Final = tuple(Lane)


def _ignore(*_args: object) -> None:
    """The callback of who did not ask for one."""


class Channel:
    """Sends and receives messages over one connected socket, which it owns from here on.

    Args:
        sock: one end of an AF_UNIX stream socketpair.
        loop: the event loop, as five functions; every method is called on it.
        encoder: packs what is sent; its introductions go before the messages that need them.
        decoder: unpacks what arrives.
        receive: called once per frame with its messages and lane. If it raises, the channel ends
            and that is the cause.
        receive_fds: called with a message and its descriptors, which it then owns.
        closed: called exactly once at the end, with None if we closed and the error otherwise.
        on_room: called once each time a `congested` channel falls below low water, of bytes and of
            descriptors; not if it ends before that.
        limits: sizes.
    """

    def __init__(
        self,
        sock: socket.socket,
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
        self._sock = sock
        self._loop = loop
        self.encoder = encoder
        self._batches = encoder.batches
        self._decoder = decoder
        self._receive = receive
        self._receive_fds = receive_fds
        self._on_closed = closed
        self.on_room = on_room
        self._limits = limits or Limits()
        self._frames = FrameDecoder(self._limits.frame)
        self._outbox = Outbox()
        self._received_fds = ReceivedFds()
        self._read_buffer = memoryview(bytearray(_CHUNK))
        self._closed = False
        self._ended = False
        self._broken: TransportError | None = None
        self._flush_due = False
        self._reply_due = False
        self._waiting = False
        self.congested = False
        """Whether senders should wait for `on_room`; a plain attribute, read once per message."""
        self._received = 0
        self._fd_messages = 0
        self._bytes = [0, 0]
        self._frame_counts = [0, 0]
        self._fd_counts = [0, 0]
        prepare(sock)
        self._fd = sock.fileno()
        loop.watch_readable(self._fd, self._read)

    @property
    def closed(self) -> bool:
        """Whether the channel has ended."""
        return self._closed

    @property
    def queued_bytes(self) -> int:
        """Bytes that were sent here and not yet written to the socket."""
        return self._outbox.size + self._batches.pending

    def stats(self) -> ChannelStats:
        """Counters since the channel began."""
        return ChannelStats(
            messages_sent=self._batches.packed + self._fd_messages,
            messages_received=self._received,
            bytes_sent=self._bytes[0],
            bytes_received=self._bytes[1],
            frames_sent=self._frame_counts[0],
            frames_received=self._frame_counts[1],
            fds_sent=self._fd_counts[0],
            fds_received=self._fd_counts[1],
            queued_bytes=self.queued_bytes,
        )

    def send(self, message: list[Any], lane: Lane = Lane.DATA) -> int:
        """Queue one message, written at the end of this loop turn or when 64 KiB have gathered.

        The first one after something was received is written at once.

        Args:
            message: a number from 1 and plain fields; user values as `encoder` returned them.
            lane: the queue; CONTROL overtakes DATA.

        Returns:
            its size in bytes.

        Raises:
            ChannelClosed: we closed the channel.
            ChannelBroken: the peer is gone.
            TooBig: over the frame limit; nothing was queued.
            Unsendable: a field is not plain; nothing was queued.
        """
        if self._ended:
            raise_ended(self._broken)
        batches = self._batches
        size = batches.pack(message, lane)
        if self._reply_due:
            # The first message after something was received is most often the answer to it, and
            # the only one: it does not wait for the turn to end.
            self._reply_due = False
            self.flush()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._on_turn)
        elif batches.sealed_size:
            self.flush()
        return size

    def send_fds(
        self,
        message: list[Any],
        fds: Sequence[int],
        lane: Lane = Lane.CONTROL,
        *,
        keep_open: bool = False,
    ) -> None:
        """Send one message with descriptors, behind what its lane holds already.

        Args:
            message: as in `send`.
            fds: 1 to 16 descriptors, the channel's from here on: closed when written or dropped.
            lane: the queue.
            keep_open: they stay the caller's, who may close them after this call.

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
            # Such a frame takes a system call of its own, now or later.
            count = 0 if self._outbox.size else self._write_past(frame, fds)
            self._fd_messages += 1
            self._fd_counts[0] += len(fds)
            if self._ended or count == len(frame):
                close_all(given)
                return
            owned = tuple(map(os.dup, fds)) if keep_open else tuple(fds)
        except BaseException:
            close_all(given)
            raise
        self._queue(lane, body, owned)
        self._frame_counts[0] += self._outbox.written(count)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._on_turn)

    def flush(self) -> None:
        """Write what the socket takes now; the rest follows when it takes more."""
        if self._ended:
            return
        if not self._outbox.size and (single := self._batches.take_single()) is not None:
            self._write_single(*single)
            return
        self._collect()
        if not self._waiting:
            self._write()

    def close(self) -> None:
        """Write what the socket takes without waiting, then end; calling it again does nothing."""
        if self._closed:
            return
        self.flush()
        self._end(None)

    def _on_turn(self) -> None:
        self._flush_due = False
        self.flush()

    def _collect(self) -> None:
        """Move what was packed into frames, introductions and other control first."""
        for lane in _LANES:
            for body in self._batches.take(lane):
                self._queue(lane, body)

    def _queue(self, lane: Lane, body: bytes, fds: tuple[int, ...] = ()) -> None:
        self._outbox.add(lane, body, fds)
        if self._outbox.size >= self._limits.high_water or self._outbox.fds >= self._limits.fds:
            self.congested = True

    def _write(self) -> None:
        outbox = self._outbox
        while outbox.size:
            try:
                count = write(self._sock, *outbox.gather())
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._on_write_error(error)
                return
            self._bytes[0] += count
            self._frame_counts[0] += outbox.written(count)
        self._watch_writable(sender_waits=outbox.size > 0)
        few = outbox.fds <= self._limits.fds // 2
        if self.congested and few and outbox.size < self._limits.low_water:
            self.congested = False
            self._loop.call_soon(self.on_room)

    def _write_single(self, lane: Lane, parts: list[bytes]) -> None:
        """Write one frame past the outbox; what the socket does not take goes through it."""
        frame = encode_single(lane, parts)
        count = self._write_past(frame)
        if count < len(frame) and not self._ended:
            self._queue(lane, frame[HEADER_SIZE:])
            self._frame_counts[0] += self._outbox.written(count)
            self._watch_writable(sender_waits=True)

    def _write_past(self, frame: bytes, fds: Sequence[int] = ()) -> int:
        """Write a frame that nothing waits before; return how many bytes the socket took."""
        try:
            count = write(self._sock, [frame], fds) if fds else self._sock.send(frame)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._on_write_error(error)
            return 0
        self._bytes[0] += count
        self._frame_counts[0] += count == len(frame)
        return count

    def _watch_writable(self, *, sender_waits: bool) -> None:
        if sender_waits == self._waiting:
            return
        self._waiting = sender_waits
        if sender_waits:
            self._loop.watch_writable(self._fd, self._on_writable)
        else:
            self._loop.unwatch_writable(self._fd)

    def _on_writable(self) -> None:
        if not self._ended:
            self._collect()
            self._write()

    def _on_write_error(self, error: OSError) -> None:
        """The peer takes nothing any more; what it sent is still read, in a turn of its own."""
        self._broken = ChannelBroken(f"the peer does not read any more: {error}")
        self._broken.__cause__ = error
        self._ended = True
        self._watch_writable(sender_waits=False)
        self._outbox.clear()
        self._loop.call_soon(self._read_to_end)

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
                count, fds, lost = receive(self._sock, self._read_buffer)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                self._end_from(ChannelBroken(f"the peer is gone: {error}"), error)
                return False
            if fds or lost:
                self._received_fds.add(fds, lost=lost)
                self._fd_counts[1] += len(fds)
            if count == 0:
                self._end(self._why_ended())
                return False
            budget -= count
            self._bytes[1] += count
            self._deliver(self._read_buffer[:count])
            if count < _CHUNK and not self._broken:
                self._reply_due = not self._flush_due
                return True
        return not self._closed

    def _why_ended(self) -> TransportError:
        if self._frames.pending:
            return ChannelBroken(
                f"the peer closed inside a frame, {self._frames.pending} bytes into it"
            )
        return self._broken or ChannelBroken("the peer closed the channel")

    def _deliver(self, data: memoryview) -> None:
        received = self._received_fds
        try:
            lane = self._frames.single(data)
            if lane is not None and not received.fds and not received.lost:
                self._frame_counts[1] += 1
                messages = self._decoder.feed(data[HEADER_SIZE:])
                self._received += len(messages)
                if messages:
                    self._receive(messages, lane)
                return
            for frame in self._frames.feed(data):
                self._deliver_one(frame)
                if self._closed:
                    return
            if received.fds or received.lost:
                received.check_leftovers(more=self._frames.pending > 0)
        except FrameError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - a receiver that cannot take a message ends the link, with its error as cause
            self._end_from(
                FrameError(f"the receiver failed on a message: {type(error).__name__}: {error}"),
                error,
            )

    def _deliver_one(self, frame: Frame) -> None:
        messages = self._decoder.feed(frame.body)
        self._frame_counts[1] += 1
        self._received += len(messages)
        if not frame.fd_count:
            if messages:
                self._receive(messages, frame.lane)
            return
        self._received_fds.check(frame.fd_count)
        if len(messages) != 1 or self._receive_fds is None:
            raise FrameError(
                "a frame with descriptors holds exactly one message, and somebody here must want it"
            )
        self._receive_fds(messages[0], self._received_fds.take(frame.fd_count))

    def _end_from(self, error: TransportError, cause: BaseException) -> None:
        error.__cause__ = cause
        self._end(error)

    def _end(self, error: TransportError | None) -> None:
        """The one place where a channel ends."""
        if self._closed:
            return
        self._closed = self._ended = True
        self._broken = error
        self._loop.unwatch_readable(self._fd)
        self._watch_writable(sender_waits=False)
        self._outbox.clear()
        self._received_fds.close()
        self._sock.close()
        self._on_closed(error)

"""One end of a connection to another machine: a `Channel` over a `TlsSession`, which carries bytes alone.

No descriptors, no rings, no shared memory. What the session has encrypted cannot be overtaken any more, so
nothing else is given to it before the socket has taken that.
"""

import os
from collections.abc import Callable, Sequence
from errno import ETIMEDOUT
from typing import Any, Final, Protocol

from actors.transport.channels.lingering_close import LingeringClose, LingeringSession
from actors.transport.channels.socket_channel import Channel
from actors.transport.codec.encoder import Encoder
from actors.transport.errors import ChannelBroken, FrameError, Unsendable
from actors.transport.wire.frames import Frame, Lane
from actors.transport.wire.loop import ChannelTimer
from actors.transport.wire.outbox import close_all
from actors.transport.wire.socket_io import StreamSocket

__all__ = ["ChannelSession", "TlsChannel"]

_LOOK_AGAIN: Final = 0.002
"""Seconds, as no event tells that bytes have arrived."""
_LOOKS: Final = 4
"""Looks in a lease whether the other machine answers."""
_NO_DESCRIPTORS: Final = "a descriptor cannot leave this machine"


class ChannelSession(LingeringSession, StreamSocket, Protocol):
    """What a channel needs of a session: a socket's methods, and what it has not passed on."""

    on_owing: Callable[[], object]
    """Called each time the socket has not taken all that was encrypted."""

    written: int
    """Bytes that the socket has taken so far."""

    @property
    def acknowledged(self) -> int:
        """How many of them have arrived."""

    @property
    def silent_for(self) -> float:
        """Seconds for which the other machine has not answered; see `Silence`."""

    def let_peer_wait(self) -> None:
        """Have the kernel not end the connection because the peer leaves bytes unread."""

    @property
    def holds(self) -> bool:
        """Whether there are bytes to be had that were read from the socket before."""


class TlsChannel(Channel):
    """A channel over a session, which it owns; the arguments are those of `MessageChannel`.

    Attributes:
        gone: whether the socket is closed, which is a little later than the channel has ended.
        on_gone: called then.
    """

    _sock: ChannelSession

    def _open(self, carrier: StreamSocket, encoder: Encoder) -> None:
        self.gone: bool = False
        self.on_gone: Callable[[], object] = _nothing
        self._to_arrive = 0
        """How many bytes were written, of the control lane the last, when somebody awaited that."""
        self._next_look: ChannelTimer | None = None
        super()._open(carrier, encoder)
        self._sock.on_owing = self._on_owing
        self._sock.let_peer_wait()
        self._silence_look: ChannelTimer = self._look_for_silence_later()
        if self._sock.holds:
            self._loop.call_soon(self._read_held)

    def _prepare(self, carrier: Any) -> None:
        """Leave the sizes of its buffers to TCP, which fits them to the network unless they are set."""

    # ------------------------------------------------------------ sending

    def send_fds(
        self,
        message: list[Any],  # noqa: ARG002 - as `Channel.send_fds`
        fds: Sequence[int],
        lane: int = Lane.CONTROL,  # noqa: ARG002 - as above
        *,
        keep_open: bool = False,
    ) -> None:
        """Refuse them.

        Raises:
            Unsendable: always.
        """
        close_all(() if keep_open else fds)
        raise Unsendable("message", list(fds), _NO_DESCRIPTORS)

    def _on_owing(self) -> None:
        if not self._ended:
            self._watch_writable(wanted=True)

    def _watch_writable(self, *, wanted: bool) -> None:
        super()._watch_writable(wanted=wanted or (not self._ended and self._sock.owes))

    def _on_writable(self) -> None:
        if not self._ended:
            try:
                self._sock.push()
            except OSError as error:
                self._not_written(error)
        super()._on_writable()

    def when_written(self, fn: Callable[[], object]) -> None:
        """Call *fn* when the other machine has all that was sent in the control lane.

        What waits in the socket of a process that ends is lost, if there are bytes that it has not read.
        """
        self._to_arrive = 0
        super().when_written(fn)

    def _tell_written(self) -> None:
        if not self._when_written or (not self._ended and self._waits_for_arrival()):
            return
        super()._tell_written()

    def _waits_for_arrival(self) -> bool:
        """Whether control messages that were sent may not have arrived; then it looks again by itself."""
        session = self._sock
        if session.owes or self._outbox.has_control:
            return True  # `_on_writable` looks again
        self._to_arrive = self._to_arrive or session.written
        if session.acknowledged >= self._to_arrive:
            return False
        if self._next_look is None:
            self._next_look = self._loop.call_later(_LOOK_AGAIN, self._look_again)
        return True

    def _look_again(self) -> None:
        self._next_look = None
        self._tell_written()

    # ------------------------------------------------------------ receiving

    def _read(self) -> bool:
        more = super()._read()
        if not self._closed and self._sock.holds:
            # No event tells of bytes that are no longer in the socket.
            self._loop.call_soon(self._read_held)
        return more

    def _read_held(self) -> None:
        if not self._closed and self._sock.holds:
            self._read()

    def _deliver_frame(self, frame: Frame) -> None:
        if frame.fd_count or frame.lane is None or frame.to_ring:
            raise FrameError("a frame from another machine leads to no descriptor and to no ring")
        super()._deliver_frame(frame)

    # ------------------------------------------------------------ the end

    def _release(self) -> None:
        session, lingers = self._sock, self._broken is None
        self._silence_look.cancel()
        rest = self._take_unwritten() if lingers else []
        if self._next_look is not None:
            self._next_look.cancel()
        super()._release()
        if lingers:
            LingeringClose(self._loop, session, rest, self._on_socket_closed)
        else:
            session.close()
            self._on_socket_closed()

    def _look_for_silence_later(self) -> ChannelTimer:
        return self._loop.call_later(self._sock.lease / _LOOKS, self._look_for_silence)

    def _look_for_silence(self) -> None:
        """End the channel if the other machine cannot be reached any more."""
        self._silence_look = self._look_for_silence_later()
        if self._sock.silent_for >= self._sock.lease:
            error = TimeoutError(ETIMEDOUT, os.strerror(ETIMEDOUT))
            broken = ChannelBroken(f"the peer is gone: {error}")
            broken.__cause__ = error
            self._end(broken)

    def _close_carrier(self) -> None:
        """Leave that to `_release`."""

    def _take_unwritten(self) -> list[bytes]:
        """Take all that was sent and not written yet, in the order in which it would be."""
        rest = []
        self._collect()
        while self._outbox.size:
            data = b"".join(self._outbox.gather().buffers)
            self._outbox.written(len(data))
            rest.append(data)
            self._collect()
        return rest

    def _on_socket_closed(self) -> None:
        self.gone = True
        self.on_gone()


def _nothing() -> None:
    """The default of the callback."""

"""A TLS session over a TCP socket, which it owns: it plays the socket of a channel; nothing here is decoded.

It never waits, but in the methods that say so. Bytes that were encrypted and that the socket has not taken
are *owed*; while there are any it takes no more, so that what is sent later in another lane can overtake all
but them. Without a context it is plain TCP, which is for one machine alone.
"""

import fcntl
import ipaddress
import select
import socket
import ssl
import sys
import termios
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

from actors.transport.channels.silence import Silence
from actors.transport.channels.tls_channel import TlsChannel

__all__ = ["LEASE", "TlsSession", "is_loopback"]

LEASE: Final = 10.0
"""Seconds for which a peer may be unreachable, unless the system says otherwise."""
_RECORD: Final = 16 * 1024
"""Bytes of a TLS record, at most."""
_CHUNK: Final = 64 * 1024
"""Bytes that are encrypted before they are written."""
_READ: Final = 256 * 1024
_UNSENT: Final = 384 * 1024
"""Bytes that the kernel may keep before it sends them, which nothing can overtake.

With less, the two ends of a big message take turns more often, each time waiting for a CPU of a busy machine.
"""
_HANDSHAKE: Final = 16 * 1024
"""Bytes of a handshake, with chains of certificates; more is no handshake of ours."""
_PROBES: Final = 5


def _nothing() -> None:
    """The default of the callback."""


def is_loopback(host: str) -> bool:
    """Return whether an IP address is one of this machine alone."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class TlsSession:
    """One end of a connection.

    Args:
        sock: a connected TCP socket; it is closed if this raises.
        context: of TLS; None is plain TCP, between two programs of one machine.
        server: whether this end accepted the connection.
        name: what the certificate of the server must be for, if this is the client.
        lease: seconds after which the kernel ends a connection whose peer does not answer, 1 or more.

    Raises:
        ValueError: plain TCP with another machine.
        OSError: the socket is no connected one.

    Attributes:
        channel_type: the class of channel to carry messages over it.
        lease: as the argument.
        address: host and port of the other end.
        peer: the same, for people.
        shaken: whether the handshake is done.
        answered: whether it had something to write; of a server, that a whole client hello has come.
        on_owing: called each time the socket has not taken all that was encrypted.
        written: bytes that the socket has taken so far, as they go over the network.
    """

    channel_type: ClassVar[type[TlsChannel]] = TlsChannel

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext | None,
        *,
        server: bool,
        name: str | None = None,
        lease: float = LEASE,
    ) -> None:
        self._sock = sock
        self._silence = Silence(sock)
        self.lease = lease
        self.on_owing: Callable[[], object] = _nothing
        self._owed: bytes | memoryview = b""
        self._ended = False
        """Whether the peer has ended."""
        self._failed: OSError | None = None
        """Why nothing can be read any more; raised when what came before is taken."""
        self._handshake_bytes = 0
        self.written: int = 0
        self.answered: bool = False
        self._tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            host, port, *_ = sock.getpeername()
            self.address: tuple[str, int] = (host, port)
            self.peer: str = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if context is not None:
                self._tls = context.wrap_bio(
                    self._in, self._out, server_side=server, server_hostname=name
                )
            elif not is_loopback(host):
                raise ValueError(f"plain TCP is for 127.0.0.1 and ::1, not for {host}: use TLS")  # noqa: TRY301 - closed below, as with any other error
            _tune(sock, lease)
        except BaseException:
            sock.close()
            raise
        self.shaken: bool = self._tls is None
        self._raw = memoryview(bytearray(0 if self._tls is None else _READ))

    @property
    def peer_name(self) -> str:
        """The common name in the peer's certificate; empty without one."""
        certificate: Any = {} if self._tls is None else self._tls.getpeercert() or {}
        names = [
            value
            for part in certificate.get("subject", ())
            for key, value in part
            if key == "commonName"
        ]
        return names[0] if names else ""

    @property
    def certificate(self) -> bytes:
        """The certificate that the peer has shown, as DER; empty without one."""
        found = None if self._tls is None else self._tls.getpeercert(binary_form=True)
        return found or b""

    @property
    def plain(self) -> bool:
        """Whether it is plain TCP."""
        return self._tls is None

    # ------------------------------------------------------------ the handshake

    def shake(self) -> bool:
        """Go on with the handshake; returns whether it is done. If not, it waits for what the peer sends.

        Raises:
            OSError: it failed, as `ssl.SSLError` or otherwise; the session is to be closed.
        """
        while not self.shaken:
            assert self._tls is not None
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.answered = self.answered or self.owes
                self.push()
                if not self._read_handshake():
                    return False
            except ssl.SSLError:
                with suppress(OSError):
                    self.push()  # the alert by which the peer learns why
                raise
            else:
                self.shaken = True
                self.push()
        return True

    def _read_handshake(self) -> bool:
        try:
            count = self._sock.recv_into(self._raw[:_RECORD])
        except (BlockingIOError, InterruptedError):
            return False
        if not count:
            raise ConnectionResetError("the peer closed the connection during the TLS handshake")
        self._handshake_bytes += count
        if self._handshake_bytes > 2 * _HANDSHAKE:
            raise ConnectionAbortedError(f"the TLS handshake has more than {_HANDSHAKE} bytes")
        self._in.write(self._raw[:count])
        return True

    # ------------------------------------------------------------ as a socket: writing

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def owes(self) -> bool:
        """Whether the socket has not taken all that was encrypted."""
        return len(self._owed) > 0 or self._out.pending > 0

    def push(self) -> None:
        """Write what is owed, as far as the socket takes it.

        Raises:
            OSError: nobody reads any more.
        """
        while True:
            data = self._owed or self._out.read()
            if not data:
                return
            self._owed = data
            try:
                count = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                self.on_owing()
                return
            self.written += count
            self._owed = b"" if count == len(data) else memoryview(data)[count:]

    def send(self, data: Any, _flags: int = 0) -> int:
        """Take bytes to write; returns how many.

        Raises:
            BlockingIOError: none now, as others are owed.
            OSError: nobody reads any more.
        """
        if self._tls is None:
            count = self._sock.send(data)
            self.written += count
            return count
        if len(data) > _CHUNK:
            return self.sendmsg((data,))
        self._check_room()
        self._tls.write(data)
        self.push()
        return len(data)

    def sendmsg(self, buffers: Sequence[Any], _ancillary: object = ()) -> int:
        """As `send`, from several buffers."""
        if self._tls is None:
            count = self._sock.sendmsg(buffers)
            self.written += count
            return count
        self._check_room()
        taken = 0
        for chunk in _chunks(buffers):
            self._tls.write(chunk)
            taken += len(chunk)
            self.push()
            if self._owed:
                break
        return taken

    @property
    def acknowledged(self) -> int:
        """How many of the bytes written have arrived; all, where the system does not tell."""
        if not sys.platform.startswith("linux"):
            return self.written
        unacknowledged = array("i", [0])
        try:
            fcntl.ioctl(self._sock, termios.TIOCOUTQ, unacknowledged)
        except OSError:
            return self.written
        return self.written - unacknowledged[0]

    @property
    def silent_for(self) -> float:
        """Seconds for which the peer's machine has not answered what it was sent; see `Silence`."""
        return self._silence.seconds()

    def _check_room(self) -> None:
        if self._owed:
            self.push()
            if self._owed:
                raise BlockingIOError

    # ------------------------------------------------------------ as a socket: reading

    @property
    def holds(self) -> bool:
        """Whether there are bytes to be had, or an end, that were read from the socket before."""
        if self._tls is None:
            return False
        return self._in.pending > 0 or self._tls.pending() > 0 or self._failed is not None

    def recv_into(self, buffer: memoryview) -> int:
        """Read what there is; returns 0 at the end.

        Raises:
            BlockingIOError: nothing has come.
            OSError: the connection is broken, or its bytes are no TLS.
        """
        if self._tls is None:
            return self._sock.recv_into(buffer)
        while True:
            if self._failed is not None:
                raise self._failed
            if self._ended:
                return 0
            if self.holds:
                count = self._decrypt(self._tls, buffer)
                if count:
                    return count
                continue
            count = self._sock.recv_into(self._raw)
            if count:
                self._in.write(self._raw[:count])
            else:
                self._ended = True

    def _decrypt(self, tls: ssl.SSLObject, buffer: memoryview) -> int:
        """Decrypt as many records as have come and fit; returns their bytes."""
        size, done = len(buffer), 0
        read: Callable[[int, memoryview], Any] = tls.read
        try:
            while done < size:
                count = read(size - done, buffer[done:])
                if not count:
                    self._ended = True
                    break
                done += count
                if not self._in.pending and not tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass  # of the next record a part has come
        except OSError as error:
            self._failed = error
        return done

    def recvmsg_into(
        self, buffers: Sequence[memoryview], _ancillary_size: int = 0, _flags: int = 0
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Any]:
        """Read into the first buffer; the other parts of the result are those of a socket, and empty."""
        return self.recv_into(buffers[0]), [], 0, None

    # ------------------------------------------------------------ waiting, in a thread of one's own

    def send_waiting(self, data: bytes, seconds: float) -> None:
        """Write all of it.

        Raises:
            TimeoutError: the socket did not take it in so many *seconds*.
            OSError: nobody reads any more.
        """
        until = time.monotonic() + seconds
        rest = memoryview(data)
        while rest or self.owes:
            try:
                rest = rest[self.send(rest) :] if rest else rest
                self.push()
            except (BlockingIOError, InterruptedError):
                pass
            if rest or self.owes:
                self._wait(until, writable=True)

    def receive_waiting(self, size: int, seconds: float) -> bytes:
        """Read that many bytes.

        Raises:
            TimeoutError: they did not come in so many *seconds*; what came is lost.
            ConnectionResetError: the connection ended before.
            OSError: it is broken.
        """
        until = time.monotonic() + seconds
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            try:
                count = self.recv_into(rest)
            except (BlockingIOError, InterruptedError):
                self._wait(until)
                continue
            if not count:
                raise ConnectionResetError(f"{self.peer} closed the connection")
            rest = rest[count:]
        return bytes(data)

    def _wait(self, until: float, *, writable: bool = False) -> None:
        left = until - time.monotonic()
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT if writable or self.owes else select.POLLIN)
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError(f"{self.peer} did not answer in time")

    # ------------------------------------------------------------ the end

    def shut(self) -> None:
        """End writing; the peer reads to the end. A second call does nothing."""
        with suppress(OSError):
            if self._tls is not None and self.shaken:
                with suppress(ssl.SSLError):
                    self._tls.unwrap()  # our notice of the end; that of the peer is not awaited
                self.push()
            self._sock.shutdown(socket.SHUT_WR)

    def discard(self) -> bool:
        """Read and drop what has come, up to 1 MiB; returns whether the peer has ended.

        Raises:
            BlockingIOError: nothing more has come, and there is no end.
            OSError: the connection is broken.
        """
        buffer = self._raw or memoryview(bytearray(_READ))
        return any(not self._sock.recv_into(buffer) for _ in range(4))

    def let_peer_wait(self) -> None:
        """Let the peer leave bytes unread for as long as it likes; that its machine is lost others see."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)

    def close(self) -> None:
        """Close the socket, whatever is under way; see `LingeringClose` for losing nothing."""
        self._sock.close()


def _tune(sock: socket.socket, lease: float) -> None:
    """Send small messages at once, and end what the network has parted for as long as *lease*."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = max(1, int(lease / 2))
    for option, value in (
        ("TCP_USER_TIMEOUT", int(lease * 1000)),
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPALIVE", idle),  # as TCP_KEEPIDLE, on macOS
        ("TCP_KEEPINTVL", max(1, int(lease / 2 / _PROBES))),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_NOTSENT_LOWAT", _UNSENT),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _chunks(buffers: Sequence[Any]) -> Iterator[bytearray | memoryview]:
    """The bytes of the buffers: small ones together, and big ones in parts without a copy."""
    small = bytearray()
    for buffer in buffers:
        view = memoryview(buffer)
        if small and len(small) + len(view) > _RECORD:
            room = _RECORD - len(small)
            small += view[:room]
            yield small
            small, view = bytearray(), view[room:]
        while len(view) > _RECORD:
            yield view[:_CHUNK]
            view = view[_CHUNK:]
        small += view
    if small:
        yield small

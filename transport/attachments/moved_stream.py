"""A socket stream that was moved here: a stream of anyio, for any event loop.

It is made without a loop, since a message is decoded where nothing can be awaited. Bytes that its sender had
read and not used are received first.
"""

import array
import socket
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from io import IOBase
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import SocketStream, UNIXSocketStream

__all__ = ["MovedStream", "MovedUnixStream", "stream_from_socket"]

T = TypeVar("T")
_PIECE: Final = 65536


def _at_least_one(what: str, value: object) -> None:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{what} must be 1 or more, got {value!r}")


class MovedStream(SocketStream):
    """A socket stream of anyio.

    Args:
        sock: the socket, which the stream owns.
        unread: bytes that were read from it before, to be received first.
    """

    def __init__(self, sock: socket.socket, unread: bytes = b"") -> None:
        sock.setblocking(False)
        self._sock = sock
        self._unread = unread
        self._closed = False
        # The guards of anyio's own streams, so that this one can be moved like those.
        self._receive_guard = anyio.ResourceGuard("reading from")
        self._send_guard = anyio.ResourceGuard("writing to")

    @property
    def _raw_socket(self) -> socket.socket:
        return self._sock

    async def receive(self, max_bytes: int = _PIECE) -> bytes:
        """Receive 1 to `max_bytes` bytes.

        Raises:
            EndOfStream, ClosedResourceError, BrokenResourceError, BusyResourceError: as anyio's.
        """
        _at_least_one("max_bytes", max_bytes)
        with self._receive_guard:
            await anyio.lowlevel.checkpoint()
            if self._unread and not self._closed:
                piece, self._unread = self._unread[:max_bytes], self._unread[max_bytes:]
                return piece
            piece = await self._when(anyio.wait_readable, partial(self._sock.recv, max_bytes))
            if not piece:
                raise anyio.EndOfStream
            return piece

    async def send(self, item: bytes) -> None:
        """Send all of these bytes."""
        with self._send_guard:
            await anyio.lowlevel.checkpoint()
            await self._send_all(memoryview(item))

    async def _send_all(self, view: memoryview) -> None:
        while view:
            view = view[await self._when(anyio.wait_writable, partial(self._sock.send, view)) :]

    async def _when(
        self, ready: Callable[[socket.socket], Awaitable[None]], step: Callable[[], T]
    ) -> T:
        """Call *step*, each time the socket is *ready*, until it does not block."""
        while True:
            try:
                return step()
            except (BlockingIOError, InterruptedError):
                await ready(self._sock)
            except OSError as error:
                if self._closed:
                    raise anyio.ClosedResourceError from None
                raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        with self._send_guard:
            self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close it; tasks that wait for it get `ClosedResourceError`."""
        self._closed = True
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()
        await anyio.lowlevel.checkpoint()


class MovedUnixStream(MovedStream, UNIXSocketStream):
    """A moved stream that can also pass descriptors."""

    async def receive_fds(self, msglen: int, maxfds: int) -> tuple[bytes, list[int]]:
        """Receive a message with at most so many descriptors."""
        _at_least_one("maxfds", maxfds)
        fds = array.array("i")
        room = socket.CMSG_LEN(maxfds * fds.itemsize)
        with self._receive_guard:
            await anyio.lowlevel.checkpoint()
            receive = partial(self._sock.recvmsg, msglen, room)
            data, ancillary, _, _ = await self._when(anyio.wait_readable, receive)
        if not data and not ancillary:
            raise anyio.EndOfStream
        for _, _, packed in ancillary:
            fds.frombytes(packed[: len(packed) - len(packed) % fds.itemsize])
        return data, list(fds)

    async def send_fds(self, message: bytes, fds: Collection[int | IOBase]) -> None:
        """Send a message with descriptors, which stay open here."""
        if not (message and fds):
            raise ValueError(f"neither may be empty, got {message!r} and {fds!r}")
        numbers = array.array("i", [fd if isinstance(fd, int) else fd.fileno() for fd in fds])
        passed: list[Any] = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
        with self._send_guard:
            await anyio.lowlevel.checkpoint()
            view = memoryview(message)
            send = partial(self._sock.sendmsg, [view], passed)
            await self._send_all(view[await self._when(anyio.wait_writable, send) :])


def stream_from_socket(sock: socket.socket, unread: bytes = b"") -> MovedStream:
    """The stream of a socket that came with these unread bytes."""
    return (MovedUnixStream if sock.family == socket.AF_UNIX else MovedStream)(sock, unread)

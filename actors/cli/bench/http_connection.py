"""One connection of `actors bench` over HTTP/1.1: a request, then its response, again and again."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from actors.cli.bench.target import Target

__all__ = ["BadResponse", "HttpConnection"]

_LARGEST_HEAD: Final = 64 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\nconnection:[^\r\n]*close", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,15})[^\r\n]*\r\n")
_NO_BODY: Final = {204, 304}
_INTERIM: Final = 200


class BadResponse(Exception):
    """A server has not answered in HTTP, or has closed the connection within a response."""


class HttpConnection(asyncio.Protocol):
    """Asks one thing at a time; it connects when it has to."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._status = 0
        self._left: int | None = 0
        """Bytes of the body that are to come; None until the connection closes, -1 in chunks."""
        self._closes = False

    async def ask(self) -> int:
        """Send the request and return the status of the response, when all of that has come.

        Raises:
            OSError: no connection.
            BadResponse: the response is none, or not whole.
        """
        target, loop = self._target, asyncio.get_running_loop()
        if self._transport is None:
            name = target.host if target.tls else None
            self._transport, _ = await loop.create_connection(
                lambda: self, target.host, target.port, ssl=target.tls, server_hostname=name
            )
        self._status, self._answer = 0, loop.create_future()
        self._transport.write(target.message)
        try:
            return await self._answer
        finally:
            if not self._answer.done() or self._closes or target.closing:
                self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._buffer.clear()
        self._status, self._closes = 0, False

    # -- `asyncio.Protocol` --------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._buffer += data
        try:
            self._read()
        except BadResponse as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """End a response that ends with its connection; fail any other."""
        self._transport = None
        self._closes = True
        if self._status and self._left is None:
            self._finish()
        else:
            self._fail(BadResponse("closed the connection" if error is None else str(error)))

    # -- the response ------------------------------------------------------------------------------

    def _read(self) -> None:
        while not self._status:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _LARGEST_HEAD:
                    raise BadResponse("headers of more than 64 KiB")
                return
            self._read_head(bytes(self._buffer[: end + 2]))
            del self._buffer[: end + 4]
        self._read_body()

    def _read_head(self, head: bytes) -> None:
        status = _STATUS.match(head)
        if status is None:
            raise BadResponse("answered something that is not HTTP/1.1")
        code = int(status[1])
        if code < _INTERIM:
            return
        self._status = code
        self._closes = _CLOSES.search(head) is not None
        length = _LENGTH.search(head)
        if self._target.method == "HEAD" or code in _NO_BODY:
            self._left = 0
        elif _CHUNKED.search(head):
            self._left = -1
        elif length is not None:
            self._left = int(length[1])
        else:
            self._left = None

    def _read_body(self) -> None:
        if self._left is None:
            self._buffer.clear()
        elif self._left >= 0:
            taken = min(self._left, len(self._buffer))
            del self._buffer[:taken]
            self._left -= taken
            if not self._left:
                self._finish()
        else:
            self._read_chunks()

    def _read_chunks(self) -> None:
        while True:
            if self._left == -1:
                size = _CHUNK.match(self._buffer)
                if size is None:
                    if b"\r\n" in self._buffer[:64] or len(self._buffer) > _LARGEST_HEAD:
                        raise BadResponse("a chunk has no size")
                    return
                self._left = -2 - int(size[1], 16)
                del self._buffer[: size.end()]
            missing = -2 - (self._left or 0)  # of this chunk, without the line end behind it
            if not missing:
                self._end_of_chunks()
                return
            if len(self._buffer) < missing + 2:
                taken = min(missing - 1, len(self._buffer))
                del self._buffer[:taken]
                self._left = -2 - (missing - taken)
                return
            del self._buffer[: missing + 2]
            self._left = -1

    def _end_of_chunks(self) -> None:
        """Read the trailers behind the last chunk, which has no bytes."""
        self._left = -2
        while b"\r\n" in self._buffer:
            line, _, rest = self._buffer.partition(b"\r\n")
            self._buffer[:] = rest
            if not line:
                self._finish()
                return
        if len(self._buffer) > _LARGEST_HEAD:
            raise BadResponse("trailers of more than 64 KiB")

    def _finish(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._status)
        self._status = 0

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self._closes = True

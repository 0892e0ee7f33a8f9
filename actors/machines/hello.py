"""The first words on a connection: four bytes of length, and a JSON object; then the entrance's answer.

Rule: not a byte more is read than the hello has, and nothing is decoded but the hello.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.transport.channels.tls_session import TlsSession

__all__ = ["JOIN", "LARGEST", "REFUSED", "WELCOME", "HelloReader", "pack_hello", "read_exactly"]

JOIN: Final = "join"
"""The purpose of who has no ticket, but the secret of the cluster."""
LARGEST: Final = 4096
"""Bytes that a hello may have."""
WELCOME: Final = b"\x01in\n"
"""What the entrance says to whom it lets in; from then on the connection is the purpose's own."""
REFUSED: Final = b"\x00no\n"
"""What it says to who has no good ticket; whoever hears nothing may come again."""
_LENGTH: Final = 4
_SILENT: Final = "it closed the connection before it had said hello"


def pack_hello(ticket: str, hello: Mapping[str, Any], largest: int = LARGEST) -> bytes:
    """Return a hello as bytes.

    Args:
        ticket: which the entrance gave out, or the secret of those who join.
        hello: what else the other end is told: anything that JSON has.
        largest: bytes that the entrance takes.

    Raises:
        ValueError: it is larger, or is not what JSON has.
    """
    try:
        body = json.dumps({**hello, "ticket": ticket}, allow_nan=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"a hello has what JSON has: {error}") from error
    if len(body) > largest:
        raise ValueError(f"a hello has at most {largest} bytes, this one {len(body)}")
    return len(body).to_bytes(_LENGTH, "little") + body


class HelloReader:
    """Reads one hello, as its bytes come.

    Args:
        largest: bytes that it may have, without its length.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._data = bytearray()
        self._need = _LENGTH

    def read(self, session: TlsSession) -> dict[str, Any] | None:
        """Read what has come; returns the hello when it is whole.

        Raises:
            ValueError: it is larger, or no JSON object.
            OSError: the connection has ended.
        """
        if not read_exactly(session, self._data, self._need, _SILENT):
            return None
        size = int.from_bytes(self._data[:_LENGTH], "little")
        if size > self._largest:
            raise ValueError(f"its hello has {size} bytes, and may have {self._largest}")
        self._need = _LENGTH + size
        if not read_exactly(session, self._data, self._need, _SILENT):
            return None
        return _parse(self._data[_LENGTH:])


def read_exactly(session: TlsSession, data: bytearray, size: int, ended: str) -> bool:
    """Append to *data* what has come, until it has *size* bytes; returns whether it has.

    Raises:
        ConnectionResetError: the peer has ended before that; *ended* says what that means.
        OSError: the connection is broken.
    """
    while len(data) < size:
        room = memoryview(bytearray(size - len(data)))
        try:
            count = session.recv_into(room)
        except (BlockingIOError, InterruptedError):
            return False
        if not count:
            raise ConnectionResetError(ended)
        data += room[:count]
    return True


def _parse(body: bytearray) -> dict[str, Any]:
    try:
        hello = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its hello is no JSON: {type(error).__name__}") from None
    if type(hello) is not dict:
        raise ValueError("its hello is no JSON object")
    return hello

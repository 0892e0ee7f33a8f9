"""Finds the server name in a TLS ClientHello, which may not have arrived completely.

Rule 1: sans-I/O, and nothing is decrypted: the first message of a TLS connection is plain.
Rule 2: for a malformed ClientHello there is no value; the node then refuses the handshake.
Rule 3: any client may send anything, so the work is linear in the bytes, which are not copied at each step.
"""

from __future__ import annotations

from typing import Final

from actors.routing.sticky.http_head import NEED_MORE, NeedMore

__all__ = ["server_name"]

_FIRST: Final = b"\x16\x03"  # a handshake record, of version 3.x
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = b"\0\0"
_HOST_NAME: Final = 0
_RECORD_HEAD: Final = 5
_MESSAGE_HEAD: Final = 4
_MOST_RECORDS: Final = 1024
"""A ClientHello in more is none: a client that splits its first message sends two or three."""
_RANDOM_END: Final = 2 + 32  # the version and the client's random bytes

_MOST_EXTENSIONS: Final = 1024
"""Those after them are not looked at: each kind may come once, and there are about sixty."""


class _Truncated(Exception):
    """A length field points beyond the end."""


def server_name(data: bytes) -> bytes | NeedMore | None:
    """Return the host name a TLS client asks for, in lower case.

    Args:
        data: the first bytes of the connection.

    Returns:
        The name; None if the client sent none or this is not TLS; NEED_MORE until the ClientHello,
        which may come in several records, is complete.
    """
    hello = _message(data)
    if hello is None or hello is NEED_MORE:
        return hello
    try:
        name = _name(hello)
    except _Truncated:
        return None
    return None if name is None else name.lower().removesuffix(b".") or None


def _message(data: bytes) -> bytes | NeedMore | None:
    """Return the body of the first handshake message, put together from its records."""
    message = bytearray()
    at = size = 0
    for _ in range(_MOST_RECORDS):
        begin = data[at : at + 2]
        if not _FIRST.startswith(begin):
            return None
        if len(data) < at + _RECORD_HEAD:
            return NEED_MORE
        end = at + _RECORD_HEAD + (data[at + 3] << 8 | data[at + 4])
        message += data[at + _RECORD_HEAD : end]
        if message and message[0] != _CLIENT_HELLO:
            return None
        if not size and len(message) >= _MESSAGE_HEAD:
            size = _MESSAGE_HEAD + int.from_bytes(message[1:4], "big")
        if size and len(message) >= size:
            return bytes(message[_MESSAGE_HEAD:size])
        at = end
    return None


def _name(hello: bytes) -> bytes | None:
    """Return the first host name among the extensions."""
    at = _RANDOM_END
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        _, at = _field(hello, at, width, len(hello))
    if at == len(hello):
        return None
    at, last = _field(hello, at, 2, len(hello))
    for _ in range(_MOST_EXTENSIONS):
        if at == last:
            break
        kind = hello[at : at + 2]
        start, at = _field(hello, at + 2, 2, last)
        if kind == _SERVER_NAME:
            start, end = _field(hello, start, 2, at)
            first, after = _field(hello, start + 1, 2, end)
            return hello[first:after] if hello[start] == _HOST_NAME else None
    return None


def _field(data: bytes, at: int, width: int, limit: int) -> tuple[int, int]:
    """Return where the field begins and ends whose length stands in the *width* bytes from *at* on."""
    start = at + width
    end = start + int.from_bytes(data[at:start], "big")
    if end > limit:
        raise _Truncated
    return start, end

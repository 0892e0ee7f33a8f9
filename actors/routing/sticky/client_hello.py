"""Finds the server name in a TLS ClientHello, which may not have arrived completely.

Rule 1: sans-I/O, and nothing is decrypted: the first message of a TLS connection is plain.
Rule 2: for a malformed ClientHello there is no value; the node then refuses the handshake.
"""

from __future__ import annotations

from typing import Final

from actors.routing.sticky.http_head import NEED_MORE, NeedMore

__all__ = ["server_name"]

_HANDSHAKE: Final = 0x16
_MAJOR: Final = 3
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_RECORD_HEAD: Final = 5
_MESSAGE_HEAD: Final = 4
_RANDOM_END: Final = 2 + 32  # the version and the client's random bytes


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
    message = b""
    while data:
        if data[0] != _HANDSHAKE or data[1:2] not in (b"", bytes([_MAJOR])):
            return None
        if len(data) < _RECORD_HEAD:
            return NEED_MORE
        end = _RECORD_HEAD + int.from_bytes(data[3:5], "big")
        message += data[_RECORD_HEAD:end]
        if message and message[0] != _CLIENT_HELLO:
            return None
        size = _MESSAGE_HEAD + int.from_bytes(message[1:4], "big")
        if len(message) >= max(size, _MESSAGE_HEAD):
            return message[_MESSAGE_HEAD:size]
        data = data[end:]
    return NEED_MORE


def _name(hello: bytes) -> bytes | None:
    """Return the first host name among the extensions."""
    _, rest = _split_field(hello[_RANDOM_END:], 1)  # session id
    _, rest = _split_field(rest, 2)  # cipher suites
    _, rest = _split_field(rest, 1)  # compression methods
    if not rest:
        return None
    extensions, _ = _split_field(rest, 2)
    while extensions:
        kind = int.from_bytes(extensions[:2], "big")
        body, extensions = _split_field(extensions[2:], 2)
        if kind == _SERVER_NAME:
            names, _ = _split_field(body, 2)
            name, _ = _split_field(names[1:], 2)
            return name if names[0] == _HOST_NAME else None
    return None


def _split_field(data: bytes, width: int) -> tuple[bytes, bytes]:
    """Split *data* after the field whose length stands in the first *width* bytes."""
    end = width + int.from_bytes(data[:width], "big")
    if len(data) < max(end, width):
        raise _Truncated
    return data[width:end], data[end:]

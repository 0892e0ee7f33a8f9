"""The keys of an address book: what may be one, and its forms as text, bytes and fields of a message. Pure.

Rule: two keys that are not equal have different texts, so that their actors have different names.
"""

from __future__ import annotations

import reprlib
from typing import Any, Final, TypeAlias

from actors._base.errors import InvalidSpec

__all__ = ["Key", "check_key", "key_bytes", "key_fields", "key_of", "key_text"]

Key: TypeAlias = Any
"""A str, an int, bytes, or a tuple or frozenset of keys."""

_LONGEST: Final = 256
"""Bytes that a key has at most; see `key_bytes`."""
_LEAST_TOO_BIG: Final = 2**64
_DEEPEST: Final = 8
_SIMPLE: Final = frozenset({str, int, bytes})
_LOOK_LIKE_OTHERS: Final = ("b'", 'b"', "frozenset(")
_TUPLE, _SET = "tuple", "frozenset"


def check_key(book: str, key: object) -> None:
    """Refuse what cannot be a key of *book*.

    Raises:
        InvalidSpec: naming the key.
    """
    if not _is_key(key, 0):
        kinds = "a key is a str, an int, bytes, or a tuple or frozenset of them"
        raise InvalidSpec(f"{book}[...]: {kinds}, got {_show(key)}")
    size = len(key_bytes(key))
    if size > _LONGEST or key in {"", b""}:
        raise InvalidSpec(
            f"{book}[...]: a key has 1 to {_LONGEST} bytes, got {size if key else 0}: {_show(key)}"
        )


def _is_key(key: Any, depth: int) -> bool:
    kind = type(key)  # no subclasses: True is equal to 1, and would find the actor of 1
    if kind is int:
        return -_LEAST_TOO_BIG < key < _LEAST_TOO_BIG  # type: ignore[no-any-return] # an int
    if kind is str:
        return _is_text(key)
    if kind is tuple or kind is frozenset:
        few = depth < _DEEPEST and len(key) <= _LONGEST
        return few and all(_is_key(part, depth + 1) for part in key)
    return kind in _SIMPLE


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show(key: object) -> str:
    if isinstance(key, int) and abs(key) >= _LEAST_TOO_BIG:
        return f"an int of {key.bit_length()} bits"
    return reprlib.repr(key)


def key_text(key: Key) -> str:
    """Return a key as text, for the name of its actor: a word as it is, everything else as Python writes it."""
    if type(key) is not str:
        return _literal(key)
    plain = (key[:1].isalpha() or key[:1] == "_") and key.isprintable()
    return key if plain and not key.startswith(_LOOK_LIKE_OTHERS) else repr(key)


def _literal(key: Key) -> str:
    if type(key) is tuple:
        parts = [_literal(part) for part in key]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if type(key) is frozenset:
        return f"frozenset({{{', '.join(sorted(map(_literal, key)))}}})"
    return repr(key)


def key_bytes(key: Key) -> bytes:
    """Return the bytes that say which node a key belongs to.

    Those of a str or of bytes are what the policy `Sticky` hashes when a request has that value: the clients
    of a room are routed to the node that has the room, if the listener and the book have the same group.
    """
    if type(key) is bytes:
        return key
    return (key if type(key) is str else _literal(key)).encode()


def key_fields(key: Key) -> Any:
    """Return a key as plain fields of a message."""
    if type(key) in _SIMPLE:
        return key
    return [_TUPLE if type(key) is tuple else _SET, *map(key_fields, key)]


def key_of(fields: Any) -> Key:
    """Return the key with these fields."""
    if type(fields) is not list:
        return fields
    kind, *parts = fields
    return (tuple if kind == _TUPLE else frozenset)(map(key_of, parts))

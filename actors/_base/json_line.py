"""A record of the log as one line of JSON: always valid, and of bounded length.

Rule: pure. Whatever the facts are, there is a line for them.
"""

from __future__ import annotations

import json
import math
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

from actors._base.printable import printable_json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LONGEST", "json_line", "json_object", "json_text_line"]

LONGEST: Final = 64 * 1024
"""Bytes of a line of the log, with its newline."""
_FIRST: Final = ("timestamp", "level", "event", "node")
"""The keys that come first."""
_BYTES_OF_A_SIGN: Final = 12
"""Of a character, at most, as it is written: an escaped pair of surrogates."""
_KEPT_KEYS: Final = 64
_LARGEST_INT: Final = 1024
"""Bits of a number that is written as one; Python itself refuses to write some that are larger."""


def json_line(facts: dict[str, Any]) -> str:
    """Return a record as JSON; long texts in it are cut if it would be longer than `LONGEST`."""
    first = {key: facts[key] for key in _FIRST if key in facts}
    ordered = first | facts
    if _size_of_texts(ordered.values()) < LONGEST:
        line = _encoded(ordered)
        if _fits(line):
            return line
    return _shortened(ordered)


def json_text_line(timestamp: str, level: str, event: str, node: str) -> str:
    """Return what `json_line` returns for a record of these four, in a third of the time."""
    line = (
        f'{{"timestamp": "{timestamp}", "level": "{level}", "event": {encode_basestring(event)}, '
        f'"node": {encode_basestring(node)}}}'
    )
    if line.isprintable() and len(line) * _BYTES_OF_A_SIGN < LONGEST:
        return line
    return json_line({"timestamp": timestamp, "level": level, "event": event, "node": node})


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that *text* is, None if it is anything else."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str)


def _encoded(facts: dict[str, Any]) -> str:
    try:
        return printable_json(_ENCODER.encode(facts))
    except Exception:  # noqa: BLE001 - facts may be anything, and their methods may fail
        return printable_json(_ENCODER.encode({_text(key): _plain(facts[key]) for key in facts}))


def _plain(value: object) -> Any:
    if value is None or type(value) in {str, bool}:
        return value
    if type(value) is int and value.bit_length() < _LARGEST_INT:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    return _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a method of the user's
        return f"<{type(value).__name__} without a text: {type(error).__name__}>"


def _fits(line: str) -> bool:
    size = len(line)
    if size * _BYTES_OF_A_SIGN < LONGEST:
        return True
    return size < LONGEST and len(line.encode("utf-8", "backslashreplace")) < LONGEST


def _shortened(facts: dict[str, Any]) -> str:
    """Return a line whose long texts are cut, and which says how many characters are missing."""
    kept = {_text(key)[:_KEPT_KEYS]: _plain(facts[key]) for key in list(facts)[:_KEPT_KEYS]}
    most, missing, line = LONGEST, 0, ""
    while not line or not _fits(line):
        most //= 2
        for key, value in kept.items():
            if isinstance(value, str) and len(value) > most:
                missing += len(value) - most
                kept[key] = value[:most]
        if _size_of_texts(kept.values()) < LONGEST:
            line = _encoded({**kept, "cut": missing})
    return line


def _size_of_texts(values: Iterable[object]) -> int:
    return sum(len(value) for value in values if isinstance(value, str))

r"""Text from anywhere, made fit to be printed: nothing in it moves a cursor, hides text or ends a line.

Rule: pure. What is not printable is written as Python or JSON writes it: ``\x1b``, ``\u202e``, ``\ud800``.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["printable", "printable_facts", "printable_json"]

_ASTRAL: Final = 0x10000
"""From here on JSON writes a character as two surrogates."""


def printable(text: str, keep: str = "") -> str:
    """Return *text* with escapes in the place of all signs that are not printable or in *keep*."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else ascii(sign)[1:-1] for sign in text
    )


def printable_json(text: str) -> str:
    """Return the JSON document *text* with escapes in the place of signs that are not printable."""
    if text.isprintable():
        return text
    # A newline can only be one between values: within a string it is escaped already.
    return "".join(
        sign if sign.isprintable() or sign == "\n" else _json_escape(ord(sign)) for sign in text
    )


def _json_escape(code: int) -> str:
    if code < _ASTRAL:
        return f"\\u{code:04x}"
    code -= _ASTRAL
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def printable_facts(value: Any, multiline: frozenset[str], *, keep: str = "") -> Any:
    """Return plain data with all its texts made printable; newlines stay below the keys in *multiline*."""
    if isinstance(value, str):
        return printable(value, keep)
    if isinstance(value, dict):
        return {
            printable(key): printable_facts(item, multiline, keep="\n" if key in multiline else "")
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [printable_facts(item, multiline, keep=keep) for item in value]
    return value

"""What a group may be called, what a member may say of itself, and how much of both there may be. Pure."""

from __future__ import annotations

from typing import Any, Final

from actors._base.errors import InvalidSpec

__all__ = ["MOST_OF_ACTOR", "MOST_OF_NODE", "check_group", "check_meta"]

MOST_OF_ACTOR: Final = 64
"""Groups that one actor may be in."""
MOST_OF_NODE: Final = 65_536
"""Memberships that the actors of one node may have together."""

_LONGEST_NAME: Final = 256
_LARGEST: Final = 4096
"""Bytes, about, of what a member says of itself: every process that watches the group keeps it."""
_DEEPEST: Final = 16
_EACH: Final = 8
"""Bytes that a value counts for, beside the letters or bytes in it."""


def check_group(name: object) -> None:
    """Refuse what cannot be the name of a group.

    Raises:
        InvalidSpec: naming it.
    """
    if not isinstance(name, str) or not name:
        raise InvalidSpec(f"a group has a non-empty text for a name, got {name!r}")
    if len(name) > _LONGEST_NAME:
        raise InvalidSpec(
            f"the name of a group has at most {_LONGEST_NAME} characters, got {len(name)}: {name[:40]!r}…"
        )


def check_meta(group: str, meta: object) -> None:
    """Refuse what a member cannot say of itself: it is kept where the member's classes are not imported.

    Raises:
        InvalidSpec: naming the value.
    """
    size = _size(group, meta, 0)
    if size > _LARGEST:
        raise InvalidSpec(f"join({group!r}): meta has at most {_LARGEST} bytes, got about {size}")


def _size(group: str, value: Any, depth: int) -> int:
    kind = type(value)
    if value is None or kind in {bool, int, float}:
        return _EACH
    if kind in {str, bytes}:
        return _EACH + len(value)
    if kind in {list, tuple, dict} and depth < _DEEPEST:
        parts = [*value, *value.values()] if kind is dict else value
        return _EACH + sum(_size(group, part, depth + 1) for part in parts)
    known = "None, bool, int, float, str, bytes, and lists, tuples and dicts of these"
    raise InvalidSpec(f"join({group!r}): meta is plain data ({known}), got {value!r:.60}")

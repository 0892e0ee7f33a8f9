"""Checks of values that several descriptions have."""

from __future__ import annotations

import re
from typing import Final

from actors.routing.errors import BadListener

__all__ = ["check_count", "check_path", "check_positive"]

_PATH: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def check_path(path: object, what: str) -> None:
    """Refuse what is no import path."""
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise BadListener(f'{what} must be an import path such as "pkg.mod:attr", got {path!r}')


def check_positive(name: str, value: object) -> None:
    """Refuse what is no number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise BadListener(f"{name} must be more than 0, got {value!r}")


def check_count(name: str, value: object) -> None:
    """Refuse what is no whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadListener(f"{name} must be a whole number from 1 up, got {value!r}")

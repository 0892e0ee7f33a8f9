"""Checks of the values that users pass in; nothing checks them again later.

Each raises `InvalidPolicy`, which shows the value that it refuses.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

from actors.supervisors._errors import InvalidPolicy


def check_number(
    what: str, value: Any, *, least: float = 0.0, infinite: bool = False, unit: str = " seconds"
) -> None:
    """Refuse a *value* which is not a number from *least* up, in *unit*; NaN is none."""
    if not _is_number(value) or not value >= least:
        raise InvalidPolicy(f"{what} must be {least:g} or more{unit}, got {value!r}")
    if not infinite and math.isinf(value):
        raise InvalidPolicy(f"{what} must be finite, got {value!r}")


def check_positive(what: str, value: Any) -> None:
    """Refuse a *value* which is not a finite number of seconds above 0."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise InvalidPolicy(f"{what} must be a finite number of seconds above 0, got {value!r}")


def check_count(what: str, value: Any, *, least: int = 0) -> None:
    """Refuse a *value* which is not a whole number from *least* up."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidPolicy(f"{what} must be a whole number, {least} or more, got {value!r}")


def check_member(what: str, value: Any, members: type[Enum]) -> None:
    """Refuse a *value* which is not one of *members*, such as the member's name as a string."""
    if not isinstance(value, members):
        names = ", ".join(member.name for member in members)
        raise InvalidPolicy(f"{what} must be a {members.__name__} ({names}), got {value!r}")


def check_type(what: str, value: Any, kind: type) -> None:
    """Refuse a *value* which is not a *kind*."""
    if not isinstance(value, kind):
        raise InvalidPolicy(f"{what} must be a {kind.__name__}, got {value!r}")


def check_name(what: str, value: Any) -> None:
    """Refuse a *value* which is not a string, or an empty one."""
    if not isinstance(value, str) or not value:
        raise InvalidPolicy(f"{what} must be a string that is not empty, got {value!r}")


def check_callable(what: str, value: Any) -> None:
    """Refuse a *value* which cannot be called."""
    if not callable(value):
        raise InvalidPolicy(f"{what} must be callable, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

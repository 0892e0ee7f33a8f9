"""Functions that have a twin in C, `_speedups.c`: which of the two runs is decided here, once, at import.

The Python functions are the reference: same results, same errors. Tests run both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from actors._extensions import load
from actors.transport.types.tags import LEAVES

__all__ = ["COMPILED", "all_leaves", "all_leaves_in_python"]

COMPILED: Final[Any] = load("actors.transport._speedups")
"""The module of C functions, or None."""


def all_leaves_in_python(values: Iterable[Any]) -> bool:
    """Whether the type of each of some values is in `LEAVES`."""
    return LEAVES.issuperset(map(type, values))


all_leaves: Final[Callable[[Iterable[Any]], bool]] = (
    COMPILED.all_leaves if COMPILED else all_leaves_in_python
)
"""`all_leaves_in_python`, or its twin."""

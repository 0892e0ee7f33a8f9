"""The message path within a node in C, `actors/_actor/_speedups.c`, or its twins in Python: decided here, once.

The Python code is the reference: same results, same errors. A class that has methods of both kinds derives from
either, and says by `bind` where its slots are; nothing else knows which of the two runs.
"""

from __future__ import annotations

from typing import Any, Final

from actors._extensions import load

__all__ = ["COMPILED", "bind"]

COMPILED: Final[Any] = load("actors._actor._speedups")
"""The module of C methods, or None."""


def bind(*classes: type, **objects: Any) -> None:
    """Tell the C methods where the slots of some classes are, and what else they use, by its name there."""
    if COMPILED is not None:
        COMPILED.bind(*classes, **objects)

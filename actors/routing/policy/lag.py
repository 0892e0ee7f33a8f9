"""How far a node's loop lags, judged by how long it takes to acknowledge connections.

Rule 1: pure functions of seconds; no clock.
Rule 2: lag is the time that a connection which came at any moment of the last seconds would have
waited on average: a loop that stands still for d seconds keeps them for d / 2, d seconds long. So
one long stall counts more than many short ones, and a prompt answer says nothing for long.
"""

from __future__ import annotations

from collections.abc import Collection
from math import exp
from typing import Final

__all__ = ["faded", "lags", "stalled"]

_MEMORY: Final = 20.0
"""Seconds after which a stall counts a third."""
_MOST: Final = 0.004
"""More is not remembered, so that a node that has recovered is trusted again within a minute."""
_MUCH: Final = 0.0005
"""What one stall of 140 ms comes to, or ten of 45 ms: a single hiccup moves nothing."""
_MORE: Final = 2.0


def faded(lag: float, seconds: float) -> float:
    """Return what *lag* is worth *seconds* later, nothing having stalled."""
    return lag * exp(-seconds / _MEMORY) if lag else 0.0


def stalled(lag: float, seconds: float) -> float:
    """Return the lag of a node that has just taken *seconds* for an acknowledgement."""
    return min(lag + seconds * seconds / (2 * _MEMORY), _MOST)


def lags(lag: float, others: Collection[float]) -> bool:
    """Whether *lag* is worth going round: much, and much more than that of the best of all nodes.

    On a machine that is short of CPU all nodes lag, each by chance: that moves nothing.
    """
    return lag > _MUCH + _MORE * min(others)

"""How far a node's loop lags, judged by how long it takes to acknowledge connections.

Rule 1: pure functions of seconds; no clock.
Rule 2: the lag is the time that a connection accepted at a random moment of the last seconds would have
waited: a loop that blocks for d seconds delays the connections of d seconds by d / 2 on average. So
one long stall counts more than many short ones, and a prompt acknowledgement adds nothing.
"""

from __future__ import annotations

from math import exp
from typing import Final

__all__ = ["NOISE", "decayed", "lags_behind", "observe"]

_MEMORY: Final = 20.0
"""Seconds after which a stall counts 1/e, about a third."""
_CAP: Final = 0.004
"""The lag never exceeds this, so that a node that has recovered is trusted again within a minute."""
NOISE: Final = 0.0005
"""The lag after one stall of 140 ms, or ten of 45 ms: a single hiccup changes nothing."""
_FACTOR: Final = 2.0


def decayed(lag: float, seconds: float) -> float:
    """Return *lag* after *seconds* without a stall."""
    return lag * exp(-seconds / _MEMORY) if lag else 0.0


def observe(lag: float, seconds: float) -> float:
    """Add an acknowledgement that took *seconds* to *lag*."""
    return min(lag + seconds * seconds / (2 * _MEMORY), _CAP)


def lags_behind(lag: float, least: float) -> bool:
    """Whether a node with *lag* is to be avoided: it is far above noise and above the best node's.

    On a machine that is short of CPU all nodes lag at random; then none is avoided.
    """
    return lag > NOISE + _FACTOR * least

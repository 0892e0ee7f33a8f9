"""Which children restart together, in which order, and when a supervisor shuts itself down.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from actors.supervisors._info import ChildState


class Strategy(Enum):
    """Which siblings are restarted with a child.

    Siblings that were stopped on purpose, or that have finished, stay as they are.
    """

    ONE_FOR_ONE = "ONE_FOR_ONE"
    """None."""
    ONE_FOR_ALL = "ONE_FOR_ALL"
    """All of them."""
    REST_FOR_ONE = "REST_FOR_ONE"
    """Those that were added after it."""


class AutoShutdown(Enum):
    """Which significant children end the supervisor by ending, by themselves and for good.

    Children that are stopped by a call, or with a sibling, do not count.
    """

    NEVER = "NEVER"
    ANY_SIGNIFICANT = "ANY_SIGNIFICANT"
    ALL_SIGNIFICANT = "ALL_SIGNIFICANT"


def affected_by(strategy: Strategy, order: Sequence[str], name: str) -> tuple[str, ...]:
    """Return who is restarted when *name* is, itself included, in start order.

    Args:
        strategy: The supervisor's strategy.
        order: All its children, in start order.
        name: The child that is restarted.
    """
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (name,)
        case Strategy.ONE_FOR_ALL:
            return tuple(order)
        case Strategy.REST_FOR_ONE:
            return tuple(order[order.index(name) :])


def next_to_start(strategy: Strategy, pending: Iterable[tuple[str, ChildState]]) -> str | None:
    """Return which child is to be started now.

    One that cannot start yet holds up those after it, unless the strategy says that they do not
    depend on each other.

    Args:
        strategy: The supervisor's strategy.
        pending: The children without a run that are to have one, in start order.
    """
    for name, state in pending:
        if state is ChildState.RESTARTING:
            return name
        if strategy is not Strategy.ONE_FOR_ONE:
            return None
    return None


def shuts_down(auto: AutoShutdown, *, significant: bool, others: Iterable[bool]) -> bool:
    """Return whether the supervisor ends, now that one child has ended by itself and for good.

    Args:
        auto: The supervisor's rule.
        significant: Whether that child was significant.
        others: For each other significant child, whether it is running or about to.
    """
    match auto:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return significant
        case AutoShutdown.ALL_SIGNIFICANT:
            return significant and not any(others)

"""When a supervisor ends because its significant children have: a pure decision."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class AutoShutdown(Enum):
    """Which significant children end the supervisor by ending, by themselves and for good.

    Children that are stopped by a call, or with a sibling, do not count.
    """

    NEVER = "NEVER"
    ANY_SIGNIFICANT = "ANY_SIGNIFICANT"
    ALL_SIGNIFICANT = "ALL_SIGNIFICANT"


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

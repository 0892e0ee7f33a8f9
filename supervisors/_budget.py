"""How many restarts a supervisor may make within how long.

Reads no clock: the time is handed in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from actors.supervisors._check import check_count, check_positive
from actors.supervisors._exit import Exit


@dataclass(frozen=True, slots=True)
class Budget:
    """At most *restarts* attempts in any *within* seconds, for all children of a supervisor.

    Attributes:
        restarts: Attempts allowed; 0 means that nothing is ever restarted.
        within: Length of the sliding window, in seconds; both of its ends belong to it.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    restarts: int = 3
    within: float = 5.0

    def __post_init__(self) -> None:
        check_count("restarts", self.restarts)
        check_positive("within", self.within)


class RestartLog:
    """The restarts charged to one budget, as far back as they count."""

    __slots__ = ("_entries", "budget")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._entries: deque[tuple[float, Exit | None]] = deque()

    def record(self, now: float, why: Exit | None = None) -> bool:
        """Charge one restart attempt and return whether it is still within the budget.

        Args:
            now: The time in seconds, never less than before.
            why: The end that made it necessary.
        """
        self._entries.append((now, why))
        while self._entries[0][0] < now - self.budget.within:
            self._entries.popleft()
        return len(self._entries) <= self.budget.restarts

    @property
    def first(self) -> Exit | None:
        """The oldest end with an error that still counts, else the oldest end."""
        ends = [why for _, why in self._entries if why is not None]
        return next((why for why in ends if why.error is not None), ends[0] if ends else None)

"""How long one child waits before each restart.

Reads no clock and makes no random numbers: both are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors._known_options import known_options
from actors.supervisors._check import check_count, check_number
from actors.supervisors._errors import InvalidPolicy

_LEAST_RESET_AFTER: Final = 5.0


@known_options(InvalidPolicy)
@dataclass(frozen=True, slots=True)
class Backoff:
    """The restart policy of one child: the first restart is immediate, later ones are delayed.

    The n-th restart in a row after the first waits
    ``min(cap, first * factor**(n - 1)) * (1 + jitter * random())`` seconds. After a start that failed
    *start_cap* is in the place of *cap*.

    Attributes:
        first: Seconds before the second restart in a row.
        factor: What each further wait is multiplied by, 1 or more.
        cap: The longest wait in seconds, before jitter.
        start_cap: The longest wait in seconds after a start that failed, before jitter: nothing is waiting
            there for a run that could have worked. None means *cap*.
        jitter: The largest share of a wait that is added to it at random.
        reset_after: Seconds of running after which the next restart is the first in a row again.
            None means twice the last wait, and at least 5.
        give_up_after: Restarts in a row after which the child is given up. None means never.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    first: float = 0.1
    factor: float = 2
    cap: float = 30
    jitter: float = 0.1
    reset_after: float | None = None
    give_up_after: int | None = None
    start_cap: float | None = None

    def __post_init__(self) -> None:
        check_number("first", self.first)
        check_number("factor", self.factor, least=1, unit="")
        check_number("cap", self.cap)
        if self.first > self.cap:
            raise InvalidPolicy(
                f"first must be at most cap, {self.cap:g} seconds, got {self.first!r}"
            )
        if self.start_cap is not None:
            check_number("start_cap", self.start_cap)
            if self.start_cap < self.cap:
                raise InvalidPolicy(
                    f"start_cap must be at least cap, {self.cap:g} seconds, got {self.start_cap!r}"
                )
        check_number("jitter", self.jitter, unit="")
        if self.reset_after is not None:
            check_number("reset_after", self.reset_after)
        if self.give_up_after is not None:
            check_count("give_up_after", self.give_up_after)

    def delay(self, n: int, random: Callable[[], float], *, start_failed: bool = False) -> float:
        """Return the seconds to wait before a restart.

        Args:
            n: How many restarts in a row came before it; 0 for the first.
            random: Gives a number in [0, 1).
            start_failed: Whether the last one did not get ready.
        """
        if n == 0:
            return 0.0
        cap = self.cap if self.start_cap is None or not start_failed else self.start_cap
        try:
            plain = min(cap, self.first * float(self.factor) ** (n - 1))
        except OverflowError:
            plain = cap if self.first else 0.0
        return plain * (1 + self.jitter * random())


class BackoffState:
    """Counts the restarts in a row of one child, until it has run for long enough."""

    __slots__ = ("_last_delay", "_started", "backoff", "restarts")

    def __init__(self, backoff: Backoff) -> None:
        self.backoff: Backoff = backoff
        self.restarts: int = 0
        """Restarts in a row so far."""
        self._last_delay = 0.0
        self._started: float | None = None

    def started(self, now: float) -> None:
        """Note that the child became ready at *now*, in seconds."""
        self._started = now

    def ended(self, now: float) -> None:
        """Note that the child has ended at *now*; if it ran for long enough, start counting anew."""
        if self._ran_long_enough(now):
            self.restarts = 0
        self._started = None

    def next(
        self, now: float, random: Callable[[], float], *, start_failed: bool = False
    ) -> float | None:
        """Note that the child is down at *now*; return the seconds it waits, None to give up."""
        self.ended(now)
        limit = self.backoff.give_up_after
        if limit is not None and self.restarts >= limit:
            return None
        self._last_delay = self.backoff.delay(self.restarts, random, start_failed=start_failed)
        self.restarts += 1
        return self._last_delay

    def _ran_long_enough(self, now: float) -> bool:
        enough = self.backoff.reset_after
        if enough is None:
            enough = max(_LEAST_RESET_AFTER, 2 * self._last_delay)
        return self._started is not None and now - self._started >= enough

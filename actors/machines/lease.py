"""How long a place may run nodes without hearing from its parent: the arithmetic, without clocks or sockets.

An agent asks for its lease again and again. What it is granted runs from the moment in which it *sent* the
question; the parent counts from the moment in which it *heard* it, which is later, and adds a margin for clocks
that do not run equally fast. No time of one machine is compared with a time of another.

Rule: whatever is lost, late or repeated, the agent's lease is over before the parent's count is, as long as
neither clock runs more than a tenth faster than the other.

The idea is that of C. Gray and D. Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file
cache consistency", 1989.
"""

from __future__ import annotations

from typing import Final

from actors._base.errors import InvalidSpec

__all__ = ["QUESTIONS", "GrantedLease", "HeldLease", "check_length"]

QUESTIONS: Final = 5
"""How often in the time of a lease an agent asks for it."""
_SHORTEST: Final = 1.0
"""Seconds."""
_DRIFT: Final = 0.1
"""How much faster one clock may run than the other, as a part."""
_MARGIN: Final = 0.25
"""Seconds in which the kernel of a loaded machine surely ends what it was told to end."""
_SILENT: Final = 1 / 3
"""After which part of a lease without a question the place is called silent."""
_UNANSWERED: Final = 2 * QUESTIONS
"""Questions whose times an agent keeps: an answer to an older one gives it nothing that it has not lost."""


def check_length(lease: object) -> float:
    """Return the seconds of a lease as the user has given them.

    Raises:
        InvalidSpec: they are no number, or less than one second.
    """
    if isinstance(lease, bool) or not isinstance(lease, int | float):
        raise InvalidSpec(f"lease must be a number of seconds, got {lease!r}")
    if not _SHORTEST <= lease < float("inf"):
        raise InvalidSpec(f"lease must be at least {_SHORTEST:g} s, got {lease!r}")
    return float(lease)


class HeldLease:
    """The lease, as its holder counts it.

    Args:
        length: seconds of a lease.

    Attributes:
        until: when it is over, on the holder's clock; minus infinity before the first grant.
    """

    def __init__(self, length: float) -> None:
        self.length: float = length
        self.until: float = float("-inf")
        self._asked = 0
        self._sent: dict[int, float] = {}

    def ask(self, now: float) -> int:
        """Return the number of a question that is sent now, or later."""
        self._asked += 1
        self._sent[self._asked] = now
        self._sent.pop(self._asked - _UNANSWERED, None)
        return self._asked

    def granted(self, number: int) -> float:
        """Take the answer to a question; return until when the lease is now.

        An answer that came before, or that nobody asked for, changes nothing.
        """
        sent = self._sent.pop(number, None)
        if sent is not None:
            self.until = max(self.until, sent + self.length)
        return self.until


class GrantedLease:
    """The same lease, as the one counts it who grants it.

    Args:
        length: seconds of a lease.
        now: when the holder was heard of first.

    Attributes:
        over_at: when the holder's lease is certainly over, on the clock of whoever grants it.
        silent_at: when the holder has not been heard of for so long that it is worth an event.
    """

    def __init__(self, length: float, now: float) -> None:
        self.length: float = length
        self._heard(now)

    def _heard(self, now: float) -> None:
        self.over_at: float = now + self.length * (1 + _DRIFT) + _MARGIN
        self.silent_at: float = now + self.length * _SILENT

    def heard(self, now: float) -> bool:
        """Take a question; return whether it may be answered.

        It may not once the lease was over: others may have been told so, and what is over stays so.
        """
        if now >= self.over_at:
            return False
        self._heard(now)
        return True

    def left(self, now: float) -> float:
        """Return the seconds until it is over, 0 or more."""
        return max(0.0, self.over_at - now)

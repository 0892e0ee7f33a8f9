"""Limits how many messages a second somebody sends, with a burst at first. Pure: the caller gives the time."""

__all__ = ["RateLimiter"]


class RateLimiter:
    """A token bucket.

    Args:
        per_second: tokens added each second.
        burst: tokens that it holds at most.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._most_saved = (burst - 1) * self._interval
        self._next = float("-inf")

    def take(self, now: float) -> float:
        """Take a token; return how many seconds from *now* it may be used, 0 for at once."""
        usable_at = max(self._next, now - self._most_saved)
        self._next = usable_at + self._interval
        return max(0.0, usable_at - now)

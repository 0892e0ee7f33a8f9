"""How fast somebody may talk: at once for a while, then in turns. Pure: time is handed in."""

__all__ = ["Pace"]


class Pace:
    """So many turns a second, and a few saved up by who was silent.

    Args:
        per_second: turns that come by themselves.
        burst: how many may be taken at once.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._every = 1 / per_second
        self._saved = (burst - 1) * self._every
        self._turn = float("-inf")

    def take(self, now: float) -> float:
        """Take the next turn and return how many seconds it is away; 0 if it has come."""
        turn = max(self._turn, now - self._saved)
        self._turn = turn + self._every
        return max(0.0, turn - now)

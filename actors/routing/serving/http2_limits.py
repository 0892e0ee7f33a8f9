"""What one HTTP/2 client may do that costs a server more than it costs the client.

Rule: pure. Everything that is no request or body costs a token: pings, settings, resets, empty frames. Requests
and bodies give some back, as they come with such frames, and so does time.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Tokens"]

_MOST: Final = 1000.0
_EACH_SECOND: Final = 50.0


class Tokens:
    """How much more a client may do.

    Args:
        now: the time, in seconds.
    """

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = _MOST
        self._at = now

    def take(self, now: float, count: float = 1.0) -> bool:
        """Take *count* tokens, or give some back if it is negative; return whether there were so many."""
        left = min(_MOST, self._left + (now - self._at) * _EACH_SECOND)
        self._at = now
        self._left = min(_MOST, left - count)
        return self._left >= 0

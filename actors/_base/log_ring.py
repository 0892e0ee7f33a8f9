"""The last lines of the log, kept in memory for `actors logs`.

Rule 1: its memory is bounded; who reads too slowly misses the oldest lines and gets their number.
Rule 2: any thread may add lines.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LogRing"]

_MOST: Final = 1024 * 1024
"""Characters that are kept."""


class LogRing:
    """Keeps the last lines, each with the name of the node that it is about.

    Args:
        most: characters that are kept.

    Attributes:
        added: how many lines were ever added: the position behind the last one.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.added = 0
        self._most = most
        self._size = 0
        self._lines: deque[tuple[str, str]] = deque()
        self._lock = threading.Lock()

    def add(self, node: str, lines: Iterable[str]) -> None:
        """Add lines, and forget the oldest ones if there are too many."""
        with self._lock:
            for line in lines:
                self._lines.append((node, line))
                self._size += len(line)
                self.added += 1
            while self._size > self._most:
                self._size -= len(self._lines.popleft()[1])

    def after(self, position: int, most: int) -> tuple[list[tuple[str, str]], int, int]:
        """Return lines from *position* on, at most so many; the position behind them; how many are lost."""
        with self._lock:
            oldest = self.added - len(self._lines)
            begin = max(position, oldest)
            found = list(islice(self._lines, begin - oldest, begin - oldest + most))
        return found, begin + len(found), begin - position

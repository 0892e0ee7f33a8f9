"""What a node tells the router of the connections it was handed, in as few messages as will do.

Rule 1: that connections were taken or refused is told at once: the router waits for it.
Rule 2: that connections have ended is told with the next of those, or a moment later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from actors.routing.interfaces import RouterLoop, RouterTimer

__all__ = ["AckBatcher"]

_MOMENT: Final = 0.002
"""Seconds for which the router may count a connection that has ended."""


class AckBatcher:
    """The connections of one listener on one node.

    Args:
        loop: the node's event loop.
        tell: takes the numbers of connections that were acknowledged, refused and closed.
    """

    def __init__(
        self, loop: RouterLoop, tell: Callable[[list[int], list[int], list[int]], object]
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._acknowledged: list[int] = []
        self._refused: list[int] = []
        self._closed: list[int] = []
        self._timer: RouterTimer | None = None
        self._together = False

    @contextmanager
    def together(self) -> Iterator[AckBatcher]:
        """Tell all that is urgent in one message, at the end of the block."""
        self._together = True
        try:
            yield self
        finally:
            self._together = False
            if self._acknowledged or self._refused:
                self._say()

    def acknowledge(self, connection: int) -> None:
        """Tell that it was taken."""
        self._acknowledged.append(connection)
        if not self._together:
            self._say()

    def refused(self, connection: int) -> None:
        """Tell that it was closed unread."""
        self._refused.append(connection)
        if not self._together:
            self._say()

    def closed(self, connection: int) -> None:
        """Tell soon that it has ended."""
        self._closed.append(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(_MOMENT, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._closed:
            self._say()

    def _say(self) -> None:
        told = self._acknowledged, self._refused, self._closed
        self._acknowledged, self._refused, self._closed = [], [], []
        self._tell(*told)

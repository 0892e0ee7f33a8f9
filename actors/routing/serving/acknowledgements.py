"""What a node tells the router about the connections it was handed, in as few messages as possible.

Rule 1: acknowledgements and refusals are sent at once, because the router waits for them.
Rule 2: closings are sent with the next of those, or 2 ms later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from actors._base.loop import Loop, Timer

__all__ = ["AckBatcher"]

_CLOSED_AFTER: Final = 0.002
"""Seconds for which the router may still count a connection that has ended."""


class AckBatcher:
    """Batches what happens to the connections of one listener on one node.

    Args:
        loop: the node's event loop.
        send: called with the numbers of connections that were acknowledged, refused and closed.
    """

    def __init__(
        self, loop: Loop, send: Callable[[list[int], list[int], list[int]], object]
    ) -> None:
        self._loop = loop
        self._send = send
        self._acknowledged: list[int] = []
        self._refused: list[int] = []
        self._closed: list[int] = []
        self._timer: Timer | None = None
        self._batching = False

    @contextmanager
    def batch(self) -> Iterator[AckBatcher]:
        """Send what is urgent in one message, at the end of the block."""
        self._batching = True
        try:
            yield self
        finally:
            self._batching = False
            if self._acknowledged or self._refused:
                self._flush()

    def acknowledged(self, number: int) -> None:
        """Send that the connection was taken."""
        self._acknowledged.append(number)
        if not self._batching:
            self._flush()

    def refused(self, number: int) -> None:
        """Send that the connection was closed unread."""
        self._refused.append(number)
        if not self._batching:
            self._flush()

    def closed(self, number: int) -> None:
        """Send soon that the connection has ended."""
        self._closed.append(number)
        if self._timer is None:
            self._timer = self._loop.call_later(_CLOSED_AFTER, self._flush_closed)

    def _flush_closed(self) -> None:
        self._timer = None
        if self._closed:
            self._flush()

    def _flush(self) -> None:
        batch = self._acknowledged, self._refused, self._closed
        self._acknowledged, self._refused, self._closed = [], [], []
        self._send(*batch)

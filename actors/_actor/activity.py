"""Says when code of a node's actors begins to run, so that the watch of the loop may sleep until then.

Rule: the loop's thread pays one look at an attribute where an idle actor begins; more only if that is awaited.
"""

from __future__ import annotations

import threading
import time

__all__ = ["Activity"]


class Activity:
    """What the actors of one node and the thread that watches their loop share.

    Attributes:
        awaited: whether no code has begun since `expect`; who begins to run some calls `begin` then.
        since: when code began that was awaited, by `time.monotonic`.
        used: the processor seconds that the loop's thread had used then.
    """

    __slots__ = ("_begun", "awaited", "since", "used")

    def __init__(self) -> None:
        self.awaited: bool = False
        self.since: float = 0.0
        self.used: float = 0.0
        self._begun = threading.Event()

    def begin(self) -> None:
        """Say that code begins to run now; in the loop's thread."""
        self.awaited = False
        self.since, self.used = time.monotonic(), time.thread_time()
        self._begun.set()

    def expect(self) -> None:
        """Await the next code that begins to run; in the watching thread."""
        self._begun.clear()
        self.awaited = True

    def wait(self) -> None:
        """Wait until code begins, or until `release`; in the watching thread."""
        self._begun.wait()

    def release(self) -> None:
        """End the wait of the watching thread; from any thread."""
        self._begun.set()

"""The tasks that read one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Waiter

__all__ = ["Readers"]


class Readers:
    """Tasks that wait until there is something to read.

    Several may read one stream, as with a queue of asyncio: each item goes to one of them, and the end to all.

    Args:
        make_waiter: `Loop.waiter` of the loop that they run in.
    """

    __slots__ = ("_make_waiter", "_waiting")

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self._make_waiter = make_waiter
        self._waiting: list[Waiter] = []

    async def wait(self) -> None:
        """Wait for the next `wake`; another one may have taken what there was, so the caller looks again."""
        waiter = self._make_waiter()
        self._waiting.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def wake(self) -> None:
        """Have all look again."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

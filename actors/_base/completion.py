"""The end of one run of something supervised: told once, to whoever waits and to the supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Waiter
    from actors.supervisors import Exit

__all__ = ["Completion"]


class Completion:
    """Holds how a run ended; the end of a run is final.

    Attributes:
        exit: how it ended, None until then.
        told: the supervisor's callback, once the run has started.
    """

    __slots__ = ("_make_waiter", "_waiters", "exit", "told")

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self._make_waiter = make_waiter
        self._waiters: list[Waiter] | None = None
        self.exit: Exit | None = None
        self.told: Callable[[Exit], None] | None = None

    async def wait(self) -> Exit:
        """Wait for the end and return it; at once when it has come."""
        if self.exit is None:
            waiter = self._make_waiter()
            self._waiters = [*(self._waiters or ()), waiter]
            await waiter
        assert self.exit is not None
        return self.exit

    def come(self, end: Exit) -> bool:
        """Take note of the end; return whether it is news."""
        if self.exit is not None:
            return False
        self.exit = end
        return True

    def tell(self) -> None:
        """Tell everybody of the end that has come."""
        assert self.exit is not None
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        if self.told is not None:
            self.told(self.exit)

"""How one run of a supervised object ended, for its supervisor and everybody who waits for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Waiter
    from actors.supervisors import Exit

__all__ = ["Completion"]


class Completion:
    """The end of one run: set once, then announced.

    Attributes:
        exit: how it ended, None until then.
        on_done: called with the end by `announce`; the supervisor's, once the run has started.
    """

    __slots__ = ("_make_waiter", "_waiters", "exit", "on_done")

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self._make_waiter = make_waiter
        self._waiters: list[Waiter] | None = None
        self.exit: Exit | None = None
        self.on_done: Callable[[Exit], None] | None = None

    async def wait(self) -> Exit:
        """Wait until the end is announced and return it; at once if it is set."""
        if self.exit is None:
            waiter = self._make_waiter()
            self._waiters = [*(self._waiters or ()), waiter]
            await waiter
        assert self.exit is not None
        return self.exit

    def set(self, end: Exit) -> bool:
        """Set the end; return False, and change nothing, if it was set before."""
        if self.exit is not None:
            return False
        self.exit = end
        return True

    def announce(self) -> None:
        """Wake everybody who waits and call `on_done`; the end must be set."""
        assert self.exit is not None
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        if self.on_done is not None:
            self.on_done(self.exit)

"""One run of a child, as its supervisor sees it: what it is, how it ended, who waits for that.

The first word about the end counts, whether `ended` was called or `wait` returned. Nothing here
starts, stops or kills.
"""

from __future__ import annotations

from typing import Protocol

import anyio

from actors.supervisors._child import Child
from actors.supervisors._exit import Exit


class RunObserver(Protocol):
    """Who is told about a run."""

    def heard(self, run: Run) -> None:
        """Take note that *run* has ended."""

    def misbehaved(self, run: Run, verb: str, error: Exception) -> None:
        """Take note that a *verb* of the child raised *error*, which it may not."""


class Run:
    """One run of the child *name*."""

    __slots__ = ("_observer", "_waiting", "child", "exit", "name", "starting", "void")

    def __init__(self, name: str, child: Child, observer: RunObserver) -> None:
        self.name = name
        self.child = child
        self.exit: Exit | None = None
        self.starting: anyio.CancelScope | None = None
        """What interrupts its start."""
        self.void = False
        """Whether it never came to be, so that nothing it says counts."""
        self._observer = observer
        self._waiting: tuple[anyio.CancelScope, ...] = ()

    def ended(self, exit_: Exit) -> None:
        """Take the child's word for how it ended."""
        if self.exit is not None or self.void:
            return
        self.exit = exit_
        for scope in self._waiting:
            scope.cancel()
        self._observer.heard(self)

    def abandon(self) -> None:
        """Stop believing that it will ever end."""
        if self.exit is None:
            self.exit = Exit.ABANDONED

    def interrupt(self) -> None:
        """Cancel its start, if that still waits."""
        if self.starting is not None:
            self.starting.cancel()

    async def ends(self, scope: anyio.CancelScope) -> bool:
        """Wait for the end as long as *scope* allows; return whether it has come."""
        if self.exit is None:
            with scope:
                exit_ = await self._hear(scope)
            if scope.cancelled_caught or exit_ is None:
                return self.exit is not None
            self.ended(exit_)
        return True

    async def _hear(self, scope: anyio.CancelScope) -> Exit | None:
        self._waiting += (scope,)
        try:
            return await self.child.wait()
        except Exception as error:  # noqa: BLE001 - a child whose wait() fails is reported, and then killed
            self.misbehaved("wait", error)
            return None
        finally:
            self._waiting = tuple(one for one in self._waiting if one is not scope)

    def misbehaved(self, verb: str, error: Exception) -> None:
        """Pass on that a verb of the child raised."""
        self._observer.misbehaved(self, verb, error)

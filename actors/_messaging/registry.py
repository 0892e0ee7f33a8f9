"""The registry: which actor has which name. One per system, in the process that made the system.

Rule: a name is claimed before its actor starts and released before any watcher hears of its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._base.errors import NameTaken

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Waiter
    from actors._messaging.ref import Ref

__all__ = ["Registry"]


class Registry:
    """The names of running actors, and of those that are starting."""

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self._make_waiter = make_waiter
        self._refs: dict[str, Ref[Any]] = {}
        self._starting: dict[str, list[Waiter]] = {}

    def __iter__(self) -> Any:
        return iter(self._refs)

    async def find(self, name: str) -> Ref[Any] | None:
        """Return the actor called *name*; wait for it if it is starting."""
        while name in self._starting:
            waiter = self._make_waiter()
            self._starting[name].append(waiter)
            await waiter
        return self._refs.get(name)

    def get(self, name: str) -> Ref[Any] | None:
        """Return the actor called *name*, if it has started."""
        return self._refs.get(name)

    def claim(self, name: str) -> None:
        """Claim *name* for an actor that is about to start.

        Raises:
            NameTaken: another actor has it, or is starting with it.
        """
        if name in self._refs or name in self._starting:
            raise NameTaken(name, self._refs.get(name, "an actor that is starting"))
        self._starting[name] = []

    def settle(self, name: str, ref: Ref[Any] | None) -> None:
        """End the claim: *ref* has the name now, or the name is free because the start failed."""
        waiters = self._starting.pop(name, [])
        if ref is not None:
            self._refs[name] = ref
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def release(self, name: str, uid: int) -> None:
        """Free *name*, if the actor with number *uid* has it."""
        ref = self._refs.get(name)
        if ref is not None and ref.uid == uid:
            del self._refs[name]

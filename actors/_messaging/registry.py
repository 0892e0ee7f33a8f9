"""The registry: which living actor has which name. One per system, in the process that made it.

Rule: a name is taken before its actor starts and given back before anybody hears of its end.
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
    """Names of living actors, and of those that are just being started."""

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self._make_waiter = make_waiter
        self._refs: dict[str, Ref[Any]] = {}
        self._starting: dict[str, list[Waiter]] = {}

    def __iter__(self) -> Any:
        return iter(self._refs)

    async def find(self, name: str) -> Ref[Any] | None:
        """Return who has *name*, waiting for one that is just being started."""
        while name in self._starting:
            waiter = self._make_waiter()
            self._starting[name].append(waiter)
            await waiter
        return self._refs.get(name)

    def get(self, name: str) -> Ref[Any] | None:
        """Return who has *name* now."""
        return self._refs.get(name)

    def claim(self, name: str) -> None:
        """Take *name* for an actor that is about to start.

        Raises:
            NameTaken: another living actor has it, or is starting under it.
        """
        if name in self._refs or name in self._starting:
            raise NameTaken(name, self._refs.get(name, "an actor that is starting"))
        self._starting[name] = []

    def settle(self, name: str, ref: Ref[Any] | None) -> None:
        """The start is over: *ref* has the name, or nobody has."""
        waiters = self._starting.pop(name, [])
        if ref is not None:
            self._refs[name] = ref
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def release(self, name: str, uid: int) -> None:
        """Give *name* back, if it is this actor's."""
        ref = self._refs.get(name)
        if ref is not None and ref.uid == uid:
            del self._refs[name]

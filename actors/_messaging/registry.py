"""The registry: which actor has which name. One per system, in the process that made the system.

Rule 1: a name is claimed before its actor starts and released before any watcher hears of its end.
Rule 2: who waits for an actor that starts is refused if that start waits, directly or through others, for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._base.errors import CallCycle, NameTaken
from actors._messaging.deadlock import cycle_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actors._base.loop import Waiter
    from actors._messaging.ref import Ref

__all__ = ["Registry"]


class _Claim:
    """A name whose actor starts; its number is known as soon as the actor is made."""

    __slots__ = ("name", "uid", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.uid: int | None = None
        self.waiters: list[Waiter] = []


class Registry:
    """The names of running actors, and of those that are starting."""

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self._make_waiter = make_waiter
        self._refs: dict[str, Ref[Any]] = {}
        self._starting: dict[str, _Claim] = {}
        self._awaited: dict[int, list[_Claim]] = {}
        """By the number of an actor, the starts that it waits for."""

    def __iter__(self) -> Any:
        return iter(self._refs)

    async def find(self, name: str, chain: Sequence[Sequence[Any]] = ()) -> Ref[Any] | None:
        """Return the actor called *name*; wait for it if it is starting.

        Args:
            name: whose address is wanted.
            chain: the actors that wait for the answer, a number and a name each.

        Raises:
            CallCycle: it starts only when one of them has its answer.
        """
        while (claim := self._starting.get(name)) is not None:
            self._refuse_cycle(claim, chain)
            waiter = self._make_waiter()
            claim.waiters.append(waiter)
            for uid, _ in chain:
                self._awaited.setdefault(uid, []).append(claim)
            try:
                await waiter
            finally:
                self._forget(claim, chain)
        return self._refs.get(name)

    def _forget(self, claim: _Claim, chain: Iterable[Sequence[Any]]) -> None:
        for uid, _ in chain:
            self._awaited[uid].remove(claim)
            if not self._awaited[uid]:
                del self._awaited[uid]

    def _refuse_cycle(self, claim: _Claim, chain: Sequence[Sequence[Any]]) -> None:
        asking: dict[int, str] = dict(chain)  # type: ignore[arg-type] # pairs, as lists or tuples
        seen: set[_Claim] = set()
        todo = [(claim, [claim.name])]
        while todo:
            start, way = todo.pop()
            if start.uid in asking:
                first = asking[start.uid]
                names = [name for _, name in chain]
                cycle = [*names[names.index(first) :], *way]
                raise CallCycle(
                    f"actor {claim.name!r}", cycle_text("finding it by its name", cycle)
                )
            if start.uid is not None and start not in seen:
                seen.add(start)
                todo += [(next_, [*way, next_.name]) for next_ in self._awaited.get(start.uid, ())]

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
        self._starting[name] = _Claim(name)

    def starting(self, name: str) -> int | None:
        """Return the number of the actor that starts with this name, None if there is none yet."""
        claim = self._starting.get(name)
        return None if claim is None else claim.uid

    def starts(self, name: str, uid: int) -> None:
        """Note that the actor which *name* is claimed for, if it is, has the number *uid*."""
        if name in self._starting:
            self._starting[name].uid = uid

    def settle(self, name: str, ref: Ref[Any] | None) -> None:
        """End the claim: *ref* has the name now, or the name is free because the start failed."""
        claim = self._starting.pop(name, None)
        if ref is not None:
            self._refs[name] = ref
        for waiter in () if claim is None else claim.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def release(self, name: str, uid: int) -> None:
        """Free *name*, if the actor with number *uid* has it."""
        ref = self._refs.get(name)
        if ref is not None and ref.uid == uid:
            del self._refs[name]

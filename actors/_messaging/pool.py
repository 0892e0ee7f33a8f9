"""A pool: several supervised copies of an actor behind one address.

Rule 1: no actor stands between: the sender chooses a member, by what its own node knows of them.
Rule 2: a message goes to one member and is never sent to another: the first may have handled it.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Concatenate, Final, Generic, NoReturn, ParamSpec, Self, TypeVar

from actors._base.errors import InvalidSpec
from actors._messaging.ref import DeadlineRef, Ref
from actors.transport import register

__all__ = ["ROUTES", "Pool"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")

ROUTES: Final = ("turns", "shortest")


@lru_cache(maxsize=1024)
def _counter(_system: str, _first: int) -> Iterator[int]:
    """Return what counts sends, by a pool's first member: shared by all `Pool` objects of one pool here."""
    return itertools.count()


class Pool(Generic[A]):
    """The address of a pool; made by ``system.start(pool(...))`` and ``system.lookup(name)``.

    It is sendable, and has the verbs of a `Ref`. Members that cannot be reached now, because their
    node is down or they have ended, are passed over.

    Attributes:
        name: its name.
        members: the addresses of all members, in order.
        route: "turns": one after the other, as counted here; "shortest": the one with the fewest
            messages waiting, as far as this node knows.
    """

    __slots__ = ("_counter", "members", "name", "route")

    def __init__(self, name: str, members: Sequence[Ref[A]], route: str) -> None:
        if not members or route not in ROUTES:
            raise InvalidSpec(f"a pool has members and a route, got {members!r} and {route!r}")
        self.name = name
        self.members = tuple(members)
        self.route = route
        self._counter = _counter(self.members[0].host.system_id, self.members[0].uid)

    def __repr__(self) -> str:
        return f"<Pool {self.name} of {len(self.members)}>"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled: an address is valid in its system; send it in a message"
        )

    def __len__(self) -> int:
        return len(self.members)

    def choose(self) -> Ref[A]:
        """Return the member for the next message."""
        able = [member for member in self.members if member.host.reachable(member)] or self.members
        turn = next(self._counter)
        if self.route == "turns":
            return able[turn % len(able)]
        # Start at another member each time, so that equally idle ones are used evenly.
        start = turn % len(able)
        return min((*able[start:], *able[:start]), key=lambda member: member.host.backlog(member))

    async def ask(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Ask one member; see `Ref.ask`."""
        return await self.choose().ask(method, *args, **kwargs)

    async def tell(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Tell one member; see `Ref.tell`."""
        await self.choose().tell(method, *args, **kwargs)

    def tell_nowait(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Tell one member now or raise; see `Ref.tell_nowait`."""
        self.choose().tell_nowait(method, *args, **kwargs)

    async def tell_all(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Tell every member, one after the other; raises as `Ref.tell` for the first that fails."""
        for member in self.members:
            await member.tell(method, *args, **kwargs)

    def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AbstractAsyncContextManager[AsyncIterator[R]]:
        """Open a stream of one member; see `Ref.stream`."""
        return self.choose().stream(method, *args, **kwargs)

    def within(self, seconds: float) -> DeadlineRef[A]:
        """Return one member with a deadline; see `Ref.within`."""
        return self.choose().within(seconds)


register(
    Pool,
    lambda pool: [pool.name, list(pool.members), pool.route],
    lambda parts: Pool(*parts),
)

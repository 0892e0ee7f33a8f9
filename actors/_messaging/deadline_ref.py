"""A ref with a deadline: the same verbs, which end in time, as does the message itself."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from actors._messaging.ask import admit_until, ask_in_turn
from actors._messaging.envelope import TURN, Envelope
from actors._messaging.fencing import refuse_fenced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from actors._base.loop import Loop
    from actors._messaging.envelope import Handler, Target

__all__ = ["DeadlineRef"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")


class LoopOwner(Protocol):
    """The node it is on."""

    @property
    def loop(self) -> Loop: ...


class RefAddress(Protocol):
    """The ref, as its deadline sees it."""

    _target: Target | None

    @property
    def home(self) -> LoopOwner: ...
    def _handler(self, method: object) -> Handler: ...
    def _resolve(self) -> Target: ...
    def _open(
        self, method: object, args: Any, kwargs: Any, seconds: float | None
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]: ...


class DeadlineRef(Generic[A]):
    """A ref with a deadline; see `Ref.within`."""

    __slots__ = ("_ref", "_seconds")

    def __init__(self, ref: RefAddress, seconds: float) -> None:
        self._ref = ref
        self._seconds = seconds

    async def ask(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """As `Ref.ask`; raises `DeadlineExceeded` (a TimeoutError) when the time is up."""
        ref = self._ref
        loop = ref.home.loop
        envelope = Envelope(ref._handler(method), args, kwargs, loop.waiter())  # noqa: SLF001 - the same noun with a deadline
        envelope.deadline = loop.now() + self._seconds
        target = ref._target or ref._resolve()  # noqa: SLF001 - as above
        return await ask_in_turn(ref, loop, target, envelope, TURN.get())  # type: ignore[no-any-return] # typed by P, R

    async def tell(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `Ref.tell`; the wait for room ends, and the message expires, when the time is up."""
        refuse_fenced()
        ref = self._ref
        loop = ref.home.loop
        envelope = Envelope(ref._handler(method), args, kwargs)  # noqa: SLF001 - as above
        envelope.deadline = loop.now() + self._seconds
        target = ref._target or ref._resolve()  # noqa: SLF001 - as above
        if not target.offer(envelope):
            await admit_until(ref, target, envelope, self._seconds)

    @asynccontextmanager
    async def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[AsyncIterator[R]]:
        """As `Ref.stream`; the whole stream ends when the time is up."""
        ref = self._ref
        async with ref._open(method, args, kwargs, self._seconds) as items:  # noqa: SLF001 - as above
            yield items

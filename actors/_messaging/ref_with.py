"""A ref with a deadline, a priority, or both: what `Ref.within` and `Ref.priority` return."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from anyio import move_on_after

from actors._base.errors import DeadlineExceeded, SendError
from actors._base.options import check_within
from actors._messaging.ask import ask_in_turn, refuse_in_turn, send_in_turn, send_until
from actors._messaging.mailbox_options import check_priority
from actors._messaging.turn import TURN, in_own_thread, refuse_fenced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

    from actors._messaging.mailbox import Envelope
    from actors._messaging.mailbox_options import Bounded
    from actors._messaging.turn import Target

__all__ = ["RefWith"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")


class Addressed(Protocol):
    """The ref itself."""

    bounds: Bounded

    @property
    def host(self) -> Any: ...
    def message(
        self, method: object, args: Any, kwargs: Any, priority: int = 0
    ) -> tuple[Target, Envelope, float | None]: ...
    def open(
        self, method: object, args: Any, kwargs: Any, seconds: float | None, priority: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]: ...
    def whose_timeout(self) -> str: ...
    async def wait_ready(self) -> None: ...


class RefWith(Generic[A]):
    """A ref whose messages have a deadline, a priority, or both; see `Ref.within` and `Ref.priority`."""

    __slots__ = ("_priority", "_ref", "_seconds")

    def __init__(self, ref: Addressed, seconds: float | None = None, priority: int = 0) -> None:
        self._ref = ref
        self._seconds = seconds
        self._priority = priority

    def within(self, seconds: float) -> RefWith[A]:
        """As `Ref.within`; the priority stays."""
        check_within(seconds)
        return RefWith(self._ref, seconds, self._priority)

    def priority(self, priority: int) -> RefWith[A]:
        """As `Ref.priority`; the deadline stays."""
        check_priority(self._ref, self._ref.bounds, priority)
        return RefWith(self._ref, self._seconds, priority)

    @overload
    async def ask(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R: ...
    @overload
    async def ask(
        self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    async def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `Ref.ask`; raises `DeadlineExceeded` (a TimeoutError) when the time is up."""
        ref, whose = self._ref, ""
        target, envelope, seconds = self.message(method, args, kwargs)
        loop = ref.host.loop
        envelope.reply = loop.waiter()
        if seconds is not None:
            envelope.deadline = loop.now() + seconds
            whose = ref.whose_timeout() if self._seconds is None else ""
        return await ask_in_turn(ref, loop, target, envelope, TURN.get(), whose)

    async def tell(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `Ref.tell`; the wait for room ends, and the message expires, when the time is up."""
        refuse_fenced()
        target, envelope = self._told(method, args, kwargs)
        try:
            if target.try_send(envelope):
                return
            if self._seconds is None:
                await send_in_turn(self._ref, target, envelope, TURN.get())
            else:
                await send_until(self._ref, target, envelope, self._seconds)
        except SendError as error:
            await refuse_in_turn(error)

    def tell_nowait(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `Ref.tell_nowait`; the message expires when the time is up."""
        refuse_fenced()
        actor = in_own_thread()
        if actor is not None:
            actor.in_loop(self.tell_nowait, method, *args, **kwargs)
            return
        target, envelope = self._told(method, args, kwargs)
        if not target.try_send(envelope):
            turn = TURN.get()
            if turn is None or turn.target is not target:
                raise target.no_room(envelope)
            target.send_past_bound(envelope)

    async def wait_ready(self) -> None:
        """As `Ref.wait_ready`; raises `DeadlineExceeded` (a TimeoutError) when the time is up."""
        seconds = self._seconds
        if seconds is None:
            return await self._ref.wait_ready()
        with move_on_after(seconds):
            return await self._ref.wait_ready()
        raise DeadlineExceeded(self._ref, f"not ready in {seconds:g} s")

    @asynccontextmanager
    async def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R] | Iterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[AsyncIterator[R]]:
        """As `Ref.stream`; the whole stream ends when the time is up. Each item has the priority, too."""
        ref = self._ref
        async with ref.open(method, args, kwargs, self._seconds, self._priority) as items:
            yield items

    def message(
        self, method: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Target, Envelope, float | None]:
        """As `Ref.message`, with the seconds of the deadline."""
        target, envelope, timeout = self._ref.message(method, args, kwargs, self._priority)
        return target, envelope, timeout if self._seconds is None else self._seconds

    def _told(self, method: object, args: Any, kwargs: Any) -> tuple[Target, Envelope]:
        target, envelope, _ = self._ref.message(method, args, kwargs, self._priority)
        if self._seconds is not None:
            envelope.deadline = self._ref.host.loop.now() + self._seconds
        return target, envelope

"""The loop shim as an interface: waiter, wake, call-soon, timer, watch-fd, task, now.

Rule 1: the message path touches an event loop only through this.
Rule 2: nothing here knows an actor, a message or a node.

A waiter is an `asyncio.Future` on asyncio, so that the hot path pays for C code only; the trio
waiter offers the same few methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable

__all__ = ["Interrupt", "Loop", "Task", "Timer", "Waiter"]


class Waiter(Protocol):
    """One reply on its way: awaited by one task, resolved once by another."""

    def __await__(self) -> Generator[Any, None, Any]: ...
    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def set_result(self, value: Any, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> object: ...


class Task(Protocol):
    """A task that somebody owns."""

    def cancel(self) -> object: ...


class Interrupt(Protocol):
    """Runs one step of a task so that it can be broken off without ending the task."""

    requested: bool

    def request(self) -> None: ...
    async def run(self, step: Callable[[], Awaitable[None]]) -> None: ...


class Loop(Protocol):
    """What the message path needs of an event loop; one per node."""

    backend: str

    @property
    def passes(self) -> tuple[type[BaseException], ...]:
        """What is not an actor's failure: what ends the node, and cancellation from further out."""

    def cancelled_by(self, error: BaseException) -> bool:
        """Whether *error* is the cancellation of the calling task that somebody asked for."""

    def now(self) -> float: ...
    def waiter(self) -> Waiter: ...
    def call_soon(self, fn: Callable[..., object], /, *args: Any) -> object: ...
    def call_later(self, seconds: float, fn: Callable[..., object], /, *args: Any) -> Timer: ...
    def call_threadsafe(self, fn: Callable[..., object], /, *args: Any) -> object: ...
    def watch_readable(self, fd: int, fn: Callable[[], object], /) -> object: ...
    def unwatch_readable(self, fd: int, /) -> object: ...
    def watch_writable(self, fd: int, fn: Callable[[], object], /) -> object: ...
    def unwatch_writable(self, fd: int, /) -> object: ...
    def start(
        self,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        name: str,
        fresh: bool = False,
    ) -> Task: ...
    def interrupt(self) -> Interrupt: ...
    def tasks(self) -> Iterable[tuple[str, Any]]: ...
    async def pause(self) -> None: ...

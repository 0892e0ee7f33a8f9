"""What actors need of an event loop, implemented for asyncio (uvloop included) and for trio.

Rule: code that handles messages uses an event loop only through this interface.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable

__all__ = [
    "Block",
    "Interrupt",
    "Loop",
    "Stepper",
    "Task",
    "Timer",
    "Waiter",
    "from_monotonic",
    "to_monotonic",
]


class Waiter(Protocol):
    """A future with one waiting task. On asyncio it is an `asyncio.Future`, which is C code."""

    def __await__(self) -> Generator[Any, None, Any]: ...
    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def set_result(self, value: Any, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Waker(Protocol):
    """What wakes an actor that waits for a message; a waiter, mostly."""

    def done(self) -> bool: ...
    def set_result(self, value: Any, /) -> None: ...


class Timer(Protocol):
    """A call that is to be made later."""

    def cancel(self) -> object: ...


class Task(Protocol):
    """A running task."""

    def cancel(self) -> object: ...


class Interrupt(Protocol):
    """Runs one step of a task, which `request` cancels without ending the task.

    Attributes:
        requested: whether the current or last step was cancelled by `request`.
    """

    requested: bool

    def request(self) -> None: ...
    async def run(self, step: Callable[[], Awaitable[None]]) -> None: ...


class Stepper(Protocol):
    """Runs first steps of coroutines as if its task, which waits, did that; see `first_step`."""

    def step(
        self, fn: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **kwargs: Any
    ) -> Any: ...


class Successor(Protocol):
    """Lets the calling task end, and another go on in its place, at once or much later."""

    @property
    def unknown(self) -> bool:
        """Whether nobody knows the calling task who did not when this was made, so that it may end."""

    def start(self, fn: Callable[[], Coroutine[Any, Any, Any]], /, *, name: str) -> object:
        """Go on with *fn*, in another task that has the context of the one that made this."""


class Block(Protocol):
    """The rest of what the calling task does, up to `leave`: others can cancel it.

    Attributes:
        over: whether it was left, or its task has ended.
        mine: whether the calling task is the one that made it.
    """

    @property
    def over(self) -> bool: ...
    @property
    def mine(self) -> bool: ...
    def cancel(self) -> None: ...
    def leave(self, error: BaseException | None, /) -> bool:
        """Return whether *error*, with which it is left, is only the cancellation asked for by `cancel`."""

    def when_over(self, fn: Callable[[], object], /) -> None:
        """The event loop ends: call *fn* when the task has ended, left or not."""


class Loop(Protocol):
    """The event loop of a node."""

    backend: str

    @property
    def passes(self) -> tuple[type[BaseException], ...]:
        """Exceptions that are not failures of an actor: they end the node, or cancel it from outside."""

    def cancelled_by(self, error: BaseException) -> bool:
        """Whether *error* is a requested cancellation of the calling task, not one a handler raised."""

    def now(self) -> float:
        """Return the time of this loop's clock in seconds, also while a callback keeps the loop."""

    def waiter(self) -> Waiter: ...
    def current_task(self) -> object:
        """Return the task whose code calls, or None."""

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
    def stepper(self) -> Stepper | None:
        """Return what runs first steps for the calling task, which was started fresh; None if nothing can."""

    def successor(self) -> Successor | None:
        """Return how the calling task, which was started fresh, can be replaced; None if it cannot."""

    def block(self) -> Block: ...
    def elsewhere(self) -> bool:
        """Return whether the calling code runs in another event loop than this one."""

    def run_again(self, fn: Callable[[], Coroutine[Any, Any, object]], /) -> bool:
        """Run *fn* to its end in this loop, which has stopped; return whether that could be done."""

    def tasks(self) -> Iterable[tuple[str, Any]]: ...
    async def pause(self) -> None: ...


def to_monotonic(loop: Loop, at: float) -> float:
    """Return a time of *loop*'s clock as one of `time.monotonic`, which all processes of a machine share."""
    return at - loop.now() + time.monotonic()


def from_monotonic(loop: Loop, at: float) -> float:
    """Return a time of `time.monotonic` as one of *loop*'s clock."""
    return at - time.monotonic() + loop.now()

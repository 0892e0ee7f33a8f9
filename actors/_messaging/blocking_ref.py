"""Refs for other threads: the same verbs, which block the calling thread and never the loop.

Rule 1: when the system ends, every waiting thread gets `SystemStopped`.
Rule 2: on the loop's own thread they are refused: the loop would wait for itself.
Rule 3: in a process that was forked they are refused: no loop runs there.
"""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeVar, overload

from actors._base.errors import ActorsError, SystemStopped
from actors._messaging.turn import TURN, refuse_fenced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from actors._base.loop import Loop, Task
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.ref import Ref
    from actors._messaging.ref_with import RefWith
    from actors._messaging.turn import Turn
    from actors.supervisors import Exit

__all__ = ["BlockingRef", "ThreadPortal"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
_FORKED: Final = (
    "this process was forked from the one in which the system runs, and reaches nobody there; have the work "
    "done by a pool of the system, or connect by actors.connect()"
)
_PORTALS: Final[weakref.WeakSet[ThreadPortal]] = weakref.WeakSet()


class ThreadPortal:
    """Runs coroutines in a loop for other threads, which block until the result is there."""

    def __init__(self, loop: Loop, propagation: Propagation | None) -> None:
        self._loop = loop
        self._propagation = propagation
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._waiting: set[Future[Any]] = set()
        self._closed: Callable[[], ActorsError] | None = None
        _PORTALS.add(self)

    def forked(self) -> None:
        """In a fork: refuse everything. Whoever held the lock is not here, and nor is the loop."""
        self._thread = 0
        self._lock = threading.Lock()
        self._waiting = set()
        self._closed = lambda: ActorsError(_FORKED)

    def run(self, step: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run *step* in a task of the loop and return its result, blocking this thread.

        Raises:
            ActorsError: this is the loop's own thread.
            SystemStopped: the system has ended, or did meanwhile.
        """
        refuse_fenced()
        self.refuse_own_thread()
        future: Future[R] = Future()
        values = {} if self._propagation is None else self._propagation.values()
        settle = partial(self._settle, step, future, TURN.get(), values)
        with self._lock:
            if self._closed is not None:
                raise self._closed()
            try:
                self._loop.call_threadsafe(self._start, settle, future)
            except RuntimeError as error:  # the loop is closed
                raise _system_ended() from error
            self._waiting.add(future)
        try:
            return future.result()
        except BaseException:
            # For example Ctrl-C: nobody waits any more.
            future.cancel()
            raise
        finally:
            self._forget(future)

    def refuse_own_thread(self) -> None:
        """Refuse to block the loop's own thread.

        Raises:
            ActorsError: this is it.
        """
        if self.on_own_thread:
            raise ActorsError(
                "a blocking call on the loop's own thread would wait for itself: await the ref's own verbs"
            )

    @property
    def on_own_thread(self) -> bool:
        """Whether the calling thread is the loop's own."""
        return threading.get_ident() == self._thread

    def call(self, fn: Callable[[], object], future: Future[Any] | None = None) -> None:
        """Call *fn* on the loop's thread: at once there, soon from any other.

        Args:
            fn: what to call.
            future: fails with `SystemStopped` when the system ends before it is done.

        Raises:
            SystemStopped: the system has ended.
        """
        here = self.on_own_thread
        with self._lock:
            if self._closed is not None and not here:
                raise self._closed()
            if not here:
                try:
                    self._loop.call_threadsafe(fn)
                except RuntimeError as error:  # the loop is closed
                    raise _system_ended() from error
            if future is not None and self._closed is None:
                self._waiting.add(future)
        if future is not None:
            future.add_done_callback(self._forget)
        if here:
            fn()

    @contextmanager
    def entered(self, block: AbstractAsyncContextManager[R]) -> Iterator[R]:
        """Enter *block* in the loop, and leave it at the end of the ``with``. Raises as `run`."""
        entered = self.run(block.__aenter__)
        try:
            yield entered
        finally:
            with suppress(SystemStopped):  # the system ended, and the block with it
                self.run(partial(block.__aexit__, None, None, None))

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._waiting.discard(future)

    def call_and_wait(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
        """Call *fn* in the loop's thread, and return what it returned. Raises as `run`."""

        async def step() -> R:
            return fn(*args, **kwargs)

        return self.run(step)

    def each(self, items: AsyncIterator[R]) -> Iterator[R]:
        """Yield what *items* yields, blocking this thread for each item. Raises as `run`."""

        async def following() -> tuple[bool, Any]:
            try:
                return True, await anext(items)
            except StopAsyncIteration:
                return False, None

        while True:
            there, item = self.run(following)
            if not there:
                return
            yield item

    def _start(self, settle: Callable[[], Coroutine[Any, Any, None]], future: Future[Any]) -> None:
        if future.done():
            return
        task: Task = self._loop.start(settle, name="blocking call", fresh=True)

        def abandoned(done: Future[Any]) -> None:
            if done.cancelled() and self._closed is None:
                self._loop.call_threadsafe(task.cancel)

        future.add_done_callback(abandoned)

    async def _settle(
        self,
        step: Callable[[], Coroutine[Any, Any, R]],
        future: Future[R],
        turn: Turn | None,
        values: dict[str, Any],
    ) -> None:
        # In a thread started by a handler, deadlock detection and deadlines are those of its actor.
        TURN.set(turn)
        if self._propagation is not None:
            self._propagation.apply(values)
        try:
            result = await step()
        except Exception as error:  # noqa: BLE001 - raised in the waiting thread
            _fail(future, error)
        else:
            with suppress(InvalidStateError):  # cancelled meanwhile
                future.set_result(result)
        finally:
            _fail(future, _system_ended())

    def close(self, error: Callable[[], ActorsError] | None = None) -> None:
        """Refuse later calls; those that wait raise `SystemStopped`, or what *error* makes."""
        with self._lock:
            self._closed = closed = self._closed or error or _system_ended
            waiting = list(self._waiting)
        for future in waiting:
            _fail(future, closed())


def _system_ended() -> ActorsError:
    return SystemStopped("the system has ended: it takes no more blocking calls")


def _fail(future: Future[Any], error: BaseException) -> None:
    """Raise *error* in the waiting thread, if it still waits."""
    with suppress(InvalidStateError):
        future.set_exception(error)


class BlockingRef(Generic[A]):
    """A ref for threads that are not the loop's; see `System.blocking`."""

    __slots__ = ("_portal", "_ref", "_verbs")

    def __init__(self, portal: ThreadPortal, ref: Ref[A], verbs: Ref[A] | RefWith[A]) -> None:
        given: object = ref
        if isinstance(given, BlockingRef):
            raise ActorsError(f"{given!r} is a blocking ref already: call its own verbs")
        self._portal = portal
        self._ref = ref
        self._verbs = verbs

    def __repr__(self) -> str:
        return f"<Blocking {self._ref!r}>"

    def within(self, seconds: float) -> BlockingRef[A]:
        """Return the same with a deadline; see `Ref.within`."""
        return BlockingRef(self._portal, self._ref, self._verbs.within(seconds))

    def priority(self, priority: int) -> BlockingRef[A]:
        """Return the same with a priority; see `Ref.priority`."""
        return BlockingRef(self._portal, self._ref, self._verbs.priority(priority))

    @overload
    def ask(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R: ...
    @overload
    def ask(
        self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `Ref.ask`, blocking this thread until the reply.

        Raises:
            ActorsError: called on the loop's own thread.
            SystemStopped: the system ended first.
        """
        return self._portal.run(partial(self._verbs.ask, method, *args, **kwargs))

    def tell(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `Ref.tell`, blocking this thread until the message has its place. Raises as `ask`."""
        self._portal.run(partial(self._verbs.tell, method, *args, **kwargs))

    @contextmanager
    def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R] | Iterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Iterator[Iterator[R]]:
        """As `Ref.stream`: ``with counter.stream(Counter.upto) as items``. Raises as `ask`."""
        with self._portal.entered(self._verbs.stream(method, *args, **kwargs)) as items:
            yield self._portal.each(items)

    @property
    def ref(self) -> Ref[A]:
        """The address itself, to hand to an actor."""
        return self._ref

    @property
    def name(self) -> str:
        """The name of the actor."""
        return self._ref.name

    def stop(self, *, grace: float | None = None, drain: bool = False) -> None:
        """As `Ref.stop`."""
        self._portal.run(partial(self._ref.stop, grace=grace, drain=drain))

    def kill(self) -> None:
        """As `Ref.kill`."""
        self._portal.call_and_wait(self._ref.kill)

    def wait_ready(self) -> None:
        """As `Ref.wait_ready`, with the deadline of `within`. Raises as `ask`."""
        self._portal.run(self._verbs.wait_ready)

    def wait(self) -> Exit:
        """As `Ref.wait`."""
        return self._portal.run(self._ref.wait)


def _after_fork() -> None:
    for portal in list(_PORTALS):
        portal.forked()


os.register_at_fork(after_in_child=_after_fork)

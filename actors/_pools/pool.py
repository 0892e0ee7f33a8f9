"""A pool's address: messages to its members, and functions that its workers run.

Rule: a task is bound to a worker when that worker is free, never before; see `queue`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    Self,
    TypeVar,
    TypeVarTuple,
    Unpack,
    overload,
)

from anyio import create_task_group

from actors._base.options import check_within
from actors._pools.blocking_pool import BlockingPool
from actors._pools.executor import PoolExecutor
from actors._pools.pool_map import MapOptions, PoolMap
from actors._pools.task import TaskKind
from actors.transport import register_immutable

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable

    from actors._messaging.ref import Ref
    from actors._pools.client import PoolClient
    from actors._pools.facts import PoolFacts
    from actors._pools.figures import PoolStats

__all__ = ["DeadlinePool", "Pool"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_DEFAULT_WINDOW: Final = 4
"""Calls of a `map` that are under way for each worker, unless its window is given."""


class Pool(Generic[A]):
    """The address of a pool; made by ``system.start(pool(...))`` and ``system.pool(name)``.

    It is small and sendable, and stays valid when workers, their supervisor or their nodes are
    restarted or reloaded. A pool of functions runs functions; one with a class also has the verbs of a
    `Ref`, each for whichever member is free first.

    Attributes:
        name: its name.
    """

    __slots__ = ("client", "facts")

    def __init__(self, facts: PoolFacts, client: PoolClient) -> None:
        self.facts: PoolFacts = facts
        self.client: PoolClient = client

    @property
    def name(self) -> str:
        """Its name."""
        return self.facts.name

    def __repr__(self) -> str:
        of = self.facts.cls_path.rpartition(":")[2] or "functions"
        return f"<Pool {self.name} of {of}>"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and other.client is self.client

    def __hash__(self) -> int:
        return hash(self.facts.number)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled: an address is valid in its system; send it in a message"
        )

    # -- functions -----------------------------------------------------------------------------

    @overload
    async def run(
        self,
        fn: Callable[[*Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        priority: int = 0,
        retry: int = 0,
    ) -> R: ...
    @overload
    async def run(
        self,
        fn: Callable[[*Ts], R],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        priority: int = 0,
        retry: int = 0,
    ) -> R: ...
    async def run(  # type: ignore[misc] # mypy does not find `*Ts` in `*Any`
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends the work itself, in another process
        priority: int = 0,
        retry: int = 0,
    ) -> Any:
        """Run ``fn(*args)`` on the first free worker and return its result.

        Args:
            fn: a function that can be imported by its name: of a module, a builtin, a class, or a
                `functools.partial` of one, which also gives keyword arguments. A coroutine function
                runs on the worker's loop, any other in a thread of the worker.
            *args: positional arguments; a snapshot is taken now. It waits here while the queue is full.
            timeout: seconds from now until it fails and ends, running or not.
            priority: higher runs first; within one priority, first come first served.
            retry: how often it is tried again when its worker dies and nobody asked for that.

        Raises:
            NotSendable: the function, an argument or the result cannot travel.
            DeadlineExceeded: the timeout is over; what did not end by itself was ended.
            WorkerLost: the worker died while it ran the task; `OutOfMemory`, `PoisonTask` are such.
            TaskExited: it raised SystemExit or KeyboardInterrupt.
            InvalidSpec: an option that can never work.
            ActorStopped: the pool has ended.
            Exception: whatever the function raises, as itself.
        """
        task = self.client.function(fn, args, timeout=timeout, priority=priority, retry=retry)
        return await self.client.run(task, timeout)

    @overload
    async def run_nowait(
        self,
        fn: Callable[[*Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        priority: int = 0,
        retry: int = 0,
    ) -> R: ...
    @overload
    async def run_nowait(
        self,
        fn: Callable[[*Ts], R],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        priority: int = 0,
        retry: int = 0,
    ) -> R: ...
    async def run_nowait(  # type: ignore[misc] # as above
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        priority: int = 0,
        retry: int = 0,
    ) -> Any:
        """As `run`, but refused at once when the queue is full.

        Raises:
            MailboxFull: it is.
        """
        self.client.refuse_if_full()
        task = self.client.function(fn, args, timeout=timeout, priority=priority, retry=retry)
        return await self.client.run(task, timeout)

    @overload
    def map(
        self,
        fn: Callable[[T], Coroutine[Any, Any, R]],
        inputs: Iterable[T] | AsyncIterable[T],
        /,
        *,
        ordered: bool = True,
        **options: Unpack[MapOptions],
    ) -> PoolMap[R]: ...
    @overload
    def map(
        self,
        fn: Callable[[T], R],
        inputs: Iterable[T] | AsyncIterable[T],
        /,
        *,
        ordered: bool = True,
        **options: Unpack[MapOptions],
    ) -> PoolMap[R]: ...
    @overload
    def map(
        self,
        fn: Callable[..., Coroutine[Any, Any, R]],
        inputs: Any,
        more: Any,
        /,
        *others: Any,
        ordered: bool = True,
        **options: Unpack[MapOptions],
    ) -> PoolMap[R]: ...
    @overload
    def map(
        self,
        fn: Callable[..., R],
        inputs: Any,
        more: Any,
        /,
        *others: Any,
        ordered: bool = True,
        **options: Unpack[MapOptions],
    ) -> PoolMap[R]: ...
    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Any,
        chunk: int = 1,
        window: int | None = None,
        ordered: bool = True,
        timeout: float | None = None,
        priority: int = 0,
        retry: int = 0,
    ) -> PoolMap[Any]:
        """Return the results of ``fn(*items)`` for the items of the iterables, as an async iterator.

        ``async for row in pool.map(parse, paths)``. It has ``.done``, how many results there are
        already, and ``.total``, how many there will be, None if an iterable has no length. What the
        function raises is raised in place of its result, and ends the iteration.

        Args:
            fn: as of `run`.
            *iterables: as of `map`: the shortest one counts. One of them may be an async iterable.
            chunk: calls that travel together, for functions that take less than a millisecond.
            window: calls that are under way or wait to be read; more input is not taken before. None
                is enough to keep every worker busy.
            ordered: whether results come in the order of the input, or as they are ready.
            timeout: of each call, or chunk of calls, from the moment it is submitted.
            priority: of each.
            retry: of each.

        Raises:
            InvalidSpec: an option that can never work.
        """
        size = max(1, self.facts.size) * self.facts.at_once
        return PoolMap(
            self.client,
            fn,
            iterables,
            chunk=chunk,
            window=window,
            default_window=_DEFAULT_WINDOW * size,
            ordered=ordered,
            timeout=timeout,
            priority=priority,
            retry=retry,
        )

    @overload
    def as_completed(
        self,
        fn: Callable[[T], Coroutine[Any, Any, R]],
        inputs: Iterable[T] | AsyncIterable[T],
        /,
        **options: Unpack[MapOptions],
    ) -> PoolMap[R]: ...
    @overload
    def as_completed(
        self,
        fn: Callable[[T], R],
        inputs: Iterable[T] | AsyncIterable[T],
        /,
        **options: Unpack[MapOptions],
    ) -> PoolMap[R]: ...
    @overload
    def as_completed(
        self,
        fn: Callable[..., Coroutine[Any, Any, R]],
        inputs: Any,
        more: Any,
        /,
        *others: Any,
        **options: Unpack[MapOptions],
    ) -> PoolMap[R]: ...
    @overload
    def as_completed(
        self,
        fn: Callable[..., R],
        inputs: Any,
        more: Any,
        /,
        *others: Any,
        **options: Unpack[MapOptions],
    ) -> PoolMap[R]: ...
    def as_completed(
        self, fn: Callable[..., Any], /, *iterables: Any, **options: Any
    ) -> PoolMap[Any]:
        """As `map` with ``ordered=False``: each result as soon as it is there."""
        return self.map(fn, *iterables, ordered=False, **options)

    def blocking(self) -> BlockingPool[A]:
        """Return the pool for other threads, whose verbs block the thread that calls them."""
        return BlockingPool(self)

    def executor(self) -> PoolExecutor:
        """Return the pool as a `concurrent.futures.Executor`, for whatever takes one."""
        return PoolExecutor(self.client)

    # -- messages ------------------------------------------------------------------------------

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
        """Ask the first free member; as `Ref.ask`.

        Raises:
            WorkerLost: the member ended while it handled the message.
        """
        return await self.client.run(self.client.message(method, args, kwargs))

    async def tell(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Have the first free member handle a message; waits only for room in the queue."""
        await self.client.wait_for_room(method.__name__)
        self._tell(method, args, kwargs)

    def tell_nowait(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `tell`, but refused at once when the queue is full.

        Raises:
            MailboxFull: it is.
        """
        self.client.refuse_if_full()
        self._tell(method, args, kwargs)

    def _tell(self, method: Any, args: Any, kwargs: Any) -> None:
        self.client.submit(self.client.message(method, args, kwargs, TaskKind.TELL))

    async def tell_all(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Tell every member, one after the other, beside the queue; raises for the first that fails."""
        for member in await self.members():
            await member.tell(method, *args, **kwargs)

    @overload
    async def ask_all(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[R]: ...
    @overload
    async def ask_all(
        self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[R]: ...
    async def ask_all(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Ask every member at the same time, beside the queue; return the replies by slot.

        Raises:
            Exception: the first error of a member; the other asks are cancelled.
        """
        members = await self.members()
        replies: list[Any] = [None] * len(members)

        async def one(slot: int, member: Ref[A]) -> None:
            replies[slot] = await member.ask(method, *args, **kwargs)

        try:
            async with create_task_group() as together:
                for slot, member in enumerate(members):
                    together.start_soon(one, slot, member)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return replies

    @asynccontextmanager
    async def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[AsyncIterator[R]]:
        """Open a stream of the first free member, which serves nobody else until it is closed."""
        async with self.client.lease() as member, member.stream(method, *args, **kwargs) as items:
            yield items

    def within(self, seconds: float) -> DeadlinePool[A]:
        """Return the pool with a deadline for `ask` and `run`, counted from the call.

        Raises:
            ValueError: *seconds* is not more than 0.
        """
        check_within(seconds)
        return DeadlinePool(self, seconds)

    async def wait_for_room(self) -> None:
        """Wait until the queue has room, in the order of those who wait for it.

        For whoever was refused by a verb with ``_nowait``; the others wait by themselves. The system's
        events `pool_full` and `pool_has_room` say it to those who only watch.

        Raises:
            ActorStopped: the pool has ended.
        """
        await self.client.wait_for_room("a wait for room")

    # -- the pool itself ---------------------------------------------------------------------------

    async def members(self) -> list[Ref[A]]:
        """Return the addresses of the members there are now, by slot."""
        return await self.client.places.members()

    async def stats(self) -> PoolStats:
        """Return the pool's figures: tasks, times, and how busy each worker is."""
        return await self.client.places.stats()

    async def resize(self, size: int) -> int:
        """Have *size* workers, within the pool's `min` and `max`; return how many it has then.

        New ones are ready when this returns; those with the highest slots go, after their tasks. If it is
        cancelled, the worker that starts or ends at that moment does so to its end, and no other.
        """
        return await self.client.places.resize(size)

    async def stop(self, *, drain: bool = False) -> None:
        """Stop the pool for good; return when its workers have ended.

        Args:
            drain: take no new tasks, and finish those that wait or run first; else they fail with
                `ActorStopped` and are ended.
        """
        await self.client.places.stop(drain=drain)

    async def wait(self) -> str:
        """Wait until the pool has ended; return why it has."""
        return await self.client.places.wait()


class DeadlinePool(Generic[A]):
    """A pool with a deadline; see `Pool.within`."""

    __slots__ = ("_pool", "_seconds")

    def __init__(self, pool: Pool[A], seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds

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
        """As `Pool.ask`; raises `DeadlineExceeded` when the time is up."""
        client = self._pool.client
        return await client.run(client.message(method, args, kwargs), self._seconds)

    async def run(
        self,
        fn: Callable[[*Ts], Coroutine[Any, Any, R]] | Callable[[*Ts], R],
        /,
        *args: *Ts,
        priority: int = 0,
        retry: int = 0,
    ) -> R:
        """As `Pool.run` with this timeout."""
        return await self._pool.run(
            fn, *args, timeout=self._seconds, priority=priority, retry=retry
        )


# As a ref: its snapshot on the same node is the pool itself.
register_immutable(Pool)

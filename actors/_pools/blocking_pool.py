"""A pool for threads that are not the loop's: the same verbs, which block the calling thread."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    TypeVarTuple,
    Unpack,
    overload,
)

from actors._base.errors import SystemStopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Iterator

    from actors._messaging.blocking_ref import ThreadPortal
    from actors._pools.figures import PoolStats
    from actors._pools.pool_map import MapOptions

__all__ = ["BlockingPool"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class BlockingPool(Generic[A]):
    """A pool for other threads; see `Pool.blocking`.

    Every verb raises what the pool's own raises, `ActorsError` on the loop's own thread, and
    `SystemStopped` when the system ends first.
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: Any) -> None:  # a `Pool[A]`, which makes this
        self._pool = pool

    @property
    def _portal(self) -> ThreadPortal:
        portal: ThreadPortal = self._pool.client.portal
        return portal

    def __repr__(self) -> str:
        return f"<Blocking {self._pool!r}>"

    @overload
    def run(
        self,
        fn: Callable[[*Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        timeout: float | None = None,
        priority: int = 0,
        retry: int = 0,
    ) -> R: ...
    @overload
    def run(
        self,
        fn: Callable[[*Ts], R],
        /,
        *args: *Ts,
        timeout: float | None = None,
        priority: int = 0,
        retry: int = 0,
    ) -> R: ...
    def run(  # type: ignore[misc] # mypy does not find `*Ts` in `*Any`
        self, fn: Callable[..., Any], /, *args: Any, **options: Any
    ) -> Any:
        """As `Pool.run`, blocking this thread until the result is there."""
        run: Any = self._pool.run
        return self._portal.run(partial(run, fn, *args, **options))

    @overload
    def map(
        self,
        fn: Callable[[T], Coroutine[Any, Any, R]],
        inputs: Iterable[T] | AsyncIterable[T],
        /,
        *,
        ordered: bool = True,
        **options: Unpack[MapOptions],
    ) -> Iterator[R]: ...
    @overload
    def map(
        self,
        fn: Callable[[T], R],
        inputs: Iterable[T] | AsyncIterable[T],
        /,
        *,
        ordered: bool = True,
        **options: Unpack[MapOptions],
    ) -> Iterator[R]: ...
    @overload
    def map(
        self, fn: Callable[..., Any], inputs: Any, more: Any, /, *others: Any, **options: Any
    ) -> Iterator[Any]: ...

    def map(self, fn: Callable[..., Any], /, *iterables: Any, **options: Any) -> Iterator[Any]:
        """As `Pool.map`, as an iterator that blocks this thread for each result.

        Raises at the call what `Pool.map` raises there.
        """
        results = self._portal.call_and_wait(self._pool.map, fn, *iterables, **options)
        return self._each(results)

    def _each(self, results: Any) -> Iterator[Any]:
        try:
            yield from self._portal.each(results)
        finally:
            with suppress(SystemStopped):  # the system ended, and the map with it
                self._portal.run(results.aclose)

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
        """As `Pool.ask`, blocking this thread until the reply."""
        return self._portal.run(partial(self._pool.ask, method, *args, **kwargs))

    def tell(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `Pool.tell`, blocking this thread until the queue has room."""
        self._portal.run(partial(self._pool.tell, method, *args, **kwargs))

    def stats(self) -> PoolStats:
        """As `Pool.stats`."""
        return self._portal.run(self._pool.stats)  # type: ignore[no-any-return] # as above

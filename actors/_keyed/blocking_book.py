"""Books of keyed actors for other threads: the same verbs, which block the thread that calls them."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from actors._keyed.book import Keyed, KeyedRef, KeyedRefWith
    from actors._messaging.blocking_ref import ThreadPortal
    from actors._messaging.ref import Ref

__all__ = ["BlockingKeyed", "BlockingKeyedRef"]

A = TypeVar("A")
K = TypeVar("K")
P = ParamSpec("P")
R = TypeVar("R")


class BlockingKeyed(Generic[K, A]):
    """A `Keyed` for plain code: ``rooms["kitchen"].ask(Room.say, "hello")``; see `blocking_system`."""

    __slots__ = ("_book", "_portal")

    def __init__(self, portal: ThreadPortal, book: Keyed[K, A]) -> None:
        self._portal = portal
        self._book = book

    def __repr__(self) -> str:
        return f"<Blocking {self._book!r}>"

    @property
    def book(self) -> Keyed[K, A]:
        """The book itself, to hand to an actor."""
        return self._book

    @property
    def name(self) -> str:
        """Its name."""
        return self._book.name

    def __getitem__(self, key: K) -> BlockingKeyedRef[A]:
        """As `Keyed` does, return the address of *key*; nothing is started by that."""
        ref = self._book[key]
        return BlockingKeyedRef(self._portal, ref, ref)

    def keys(self) -> list[K]:
        """As `Keyed.keys`."""
        return self._portal.run(self._book.keys)

    def count(self) -> int:
        """As `Keyed.count`."""
        return self._portal.run(self._book.count)

    def has(self, key: K) -> bool:
        """As `Keyed.has`."""
        return self._portal.run(partial(self._book.has, key))

    def stop(self, key: K, *, grace: float | None = None) -> bool:
        """As `Keyed.stop`."""
        return self._portal.run(partial(self._book.stop, key, grace=grace))


class BlockingKeyedRef(Generic[A]):
    """The address of a key for plain code: the verbs of `KeyedRef`, which block the thread that calls them."""

    __slots__ = ("_portal", "_ref", "_verbs")

    def __init__(
        self, portal: ThreadPortal, ref: KeyedRef[A], verbs: KeyedRef[A] | KeyedRefWith[A]
    ) -> None:
        self._portal = portal
        self._ref = ref
        self._verbs = verbs

    def __repr__(self) -> str:
        return f"<Blocking {self._ref!r}>"

    def within(self, seconds: float) -> BlockingKeyedRef[A]:
        """Return the same with a deadline; see `KeyedRef.within`."""
        return BlockingKeyedRef(self._portal, self._ref, self._verbs.within(seconds))

    def priority(self, priority: int) -> BlockingKeyedRef[A]:
        """Return the same with a priority; see `KeyedRef.priority`."""
        return BlockingKeyedRef(self._portal, self._ref, self._verbs.priority(priority))

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
        """As `KeyedRef.ask`, blocking this thread until the reply. Raises as `BlockingRef.ask`."""
        return self._portal.run(partial(self._verbs.ask, method, *args, **kwargs))

    def tell(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `KeyedRef.tell`, blocking this thread until the message has its place."""
        self._portal.run(partial(self._verbs.tell, method, *args, **kwargs))

    @contextmanager
    def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R] | Iterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Iterator[Iterator[R]]:
        """As `KeyedRef.stream`: ``with rooms["kitchen"].stream(Room.history) as lines``."""
        with self._portal.entered(self._verbs.stream(method, *args, **kwargs)) as items:
            yield self._portal.each(items)

    @property
    def name(self) -> str:
        """The name of the actor."""
        return self._ref.name

    def ref(self) -> Ref[A]:
        """As `KeyedRef.ref`: the address of the actor that lives now, started if there is none."""
        return self._portal.run(self._ref.ref)

    def wait_ready(self) -> None:
        """As `KeyedRef.wait_ready`."""
        self._portal.run(self._ref.wait_ready)

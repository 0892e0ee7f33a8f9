"""`Pool.map`: a function over many inputs, so many of them under way at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from actors._base.errors import InvalidSpec
from actors._pools.function_worker import call_chunk, function_name, refuse_function
from actors._pools.task import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from actors._base.loop import Waiter
    from actors._pools.client import PoolClient
    from actors._pools.task import PoolTask

__all__ = ["PoolMap"]


class _Chunk:
    """Calls that travel together; `outcomes` are there when its task is over."""

    __slots__ = ("outcomes", "task")

    def __init__(self, task: PoolTask) -> None:
        self.task = task
        self.outcomes: deque[tuple[bool, Any]] | None = None


class PoolMap(AsyncIterator[Any]):
    """The results of a function over many inputs; see `Pool.map`.

    Leaving the loop early leaves what is under way to end by itself; ``async with pool.map(...) as
    results`` or `aclose` ends it at once.

    Attributes:
        done: how many results are there, read or not.
        total: how many there will be; None if an input has no length.
    """

    def __init__(
        self,
        client: PoolClient,
        fn: Callable[..., Any],
        iterables: tuple[Any, ...],
        *,
        chunk: int,
        window: int | None,
        default_window: int,
        ordered: bool,
        timeout: float | None,
        priority: int,
        retry: int,
    ) -> None:
        name = client.facts.name
        refuse_function(name, fn)
        if not iterables:
            raise InvalidSpec(
                f"pool {name!r}: map({function_name(fn)}) needs an iterable of inputs"
            )
        for option, value in (("chunk", chunk), ("window", window)):
            if value is not None and (type(value) is not int or value < 1):
                raise InvalidSpec(
                    f"pool {name!r}: map's {option} must be a whole number of 1 or more, got {value!r}"
                )
        # Once here, so that a bad option is refused at the call and not at the first result.
        client.function(fn, (), timeout=timeout, priority=priority, retry=retry)
        self.total = _shortest(iterables)
        self.done = 0
        self._client = client
        self._fn = fn
        self._inputs = _rows(name, iterables)
        self._chunk = chunk
        self._window = max(window or default_window * chunk, 1)
        self._ordered = ordered
        self._options: dict[str, Any] = {
            "timeout": timeout,
            "priority": priority,
            "retry": retry,
        }
        self._under_way = 0
        self._chunks: deque[_Chunk] = deque()
        self._ready: deque[_Chunk] = deque()
        self._exhausted = self._over = False
        self._waiter: Waiter | None = None

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        return f"<map of {function_name(self._fn)}: {self.done}{of} done>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._over:
            raise StopAsyncIteration
        try:
            return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def _next(self) -> Any:
        while True:
            await self._fill()
            chunk = self._first()
            if chunk is not None:
                return self._take(chunk)
            if not self._chunks:
                raise StopAsyncIteration
            self._waiter = self._client.loop.waiter()
            await self._waiter

    def _first(self) -> _Chunk | None:
        """Return the chunk whose result is next, if it is there."""
        if not self._ordered:
            return self._ready[0] if self._ready else None
        first = self._chunks[0] if self._chunks else None
        return first if first is not None and first.outcomes is not None else None

    def _take(self, chunk: _Chunk) -> Any:
        assert chunk.outcomes is not None
        good, value = chunk.outcomes.popleft()
        self._under_way -= 1
        if not chunk.outcomes:
            self._chunks.remove(chunk)
            if not self._ordered:
                self._ready.popleft()
        if good:
            return value
        raise value

    async def _fill(self) -> None:
        """Submit whole chunks as far as the window has room, and at least one; or until the input is over."""
        size = min(self._chunk, self._window)
        while not self._exhausted and self._under_way <= self._window - size:
            calls: list[tuple[Any, ...]] = []
            while len(calls) < size:
                try:
                    calls.append(await anext(self._inputs))
                except StopAsyncIteration:
                    self._exhausted = True
                    break
            if calls:
                self._submit(calls)

    def _submit(self, calls: list[tuple[Any, ...]]) -> None:
        client, reply = self._client, _Reply(self)
        if self._chunk == 1:
            task = client.function(self._fn, calls[0], waiter=reply, **self._options)
        else:
            task = client.function(call_chunk, (self._fn, calls), waiter=reply, **self._options)
            task.label = function_name(self._fn)
        chunk = reply.chunk = _Chunk(task)
        self._under_way += len(calls)
        self._chunks.append(chunk)
        client.submit(task, self._options["timeout"])

    def arrived(self, chunk: _Chunk, outcomes: list[tuple[bool, Any]]) -> None:
        """Take the outcomes of a chunk; a failed call leaves the later ones of its chunk undone."""
        chunk.outcomes = deque(outcomes)
        self.done += sum(good for good, _ in outcomes)
        self._ready.append(chunk)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def chunked(self) -> bool:
        """Whether a task is a list of calls."""
        return self._chunk > 1

    async def aclose(self) -> None:
        """End what is under way, and the iteration."""
        self._over = True
        for chunk in self._chunks:
            if chunk.task.state is not TaskState.OVER:
                self._client.cancel(chunk.task)
        self._chunks.clear()
        self._ready.clear()
        close = getattr(self._inputs, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Reply:
    """What a task resolves; the map reads it when it comes to it."""

    __slots__ = ("_map", "_over", "chunk")

    def __init__(self, owner: PoolMap) -> None:
        self._map = owner
        self._over = False
        self.chunk: _Chunk

    def done(self) -> bool:
        return self._over

    def set_result(self, value: Any, /) -> None:
        self._over = True
        self._map.arrived(self.chunk, value if self._map.chunked else [(True, value)])

    def set_exception(self, error: BaseException, /) -> None:
        self._over = True
        self._map.arrived(self.chunk, [(False, error)])


def _shortest(iterables: Iterable[Any]) -> int | None:
    lengths = [len(one) if hasattr(one, "__len__") else None for one in iterables]
    return None if None in lengths else min(length for length in lengths if length is not None)


async def _rows(pool: str, iterables: tuple[Any, ...]) -> AsyncIterator[tuple[Any, ...]]:
    """Yield the arguments of each call; ends with the shortest input."""
    sources = [_source(pool, one) for one in iterables]
    if all(isinstance(source, Iterator) for source in sources):
        for row in zip(*sources, strict=False):
            yield row
        return
    while True:
        given: list[Any] = []
        for source in sources:
            try:
                given.append(
                    await anext(source) if isinstance(source, AsyncIterator) else next(source)
                )
            except (StopIteration, StopAsyncIteration):
                return
        yield tuple(given)


def _source(pool: str, one: Any) -> Any:
    if isinstance(one, AsyncIterable):
        return aiter(one)
    try:
        return iter(one)
    except TypeError:
        raise InvalidSpec(f"pool {pool!r}: map's inputs must be iterable, got {one!r}") from None

"""`Pool.map`: a function over many inputs, so many of them under way at a time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, TypeVar

from actors._base.errors import InvalidSpec
from actors._base.readers import Readers
from actors._pools.sent_function import chunk_caller, function_name, refuse_function
from actors._pools.task import TaskState
from actors.transport import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from actors._pools.client import PoolClient
    from actors._pools.task import PoolTask

__all__ = ["MapOptions", "PoolMap"]

R_co = TypeVar("R_co", covariant=True)

_plain: Final = PLAIN.issuperset
_BRIEF: Final = 0.003
"""Seconds from a submission to its result within which more are submitted at once, unless a window is given."""
_MORE: Final = 8
"""How many times the usual window that may be."""


class _Chunk:
    """Calls that travel together; `values` are there when its task is over, with what ended it."""

    __slots__ = ("error", "since", "task", "values")

    def __init__(self, task: PoolTask, since: float) -> None:
        self.task: PoolTask = task
        self.since: float = since
        self.values: deque[Any] | None = None
        self.error: BaseException | None = None


class MapOptions(TypedDict, total=False):
    """The options of `Pool.map` and `Pool.as_completed`."""

    chunk: int
    window: int | None
    timeout: float | None
    priority: int
    retry: int


class PoolMap(AsyncIterator[R_co]):
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
        # Here, so that a bad option is refused at the call and not at the first result.
        first = client.function(fn, (), timeout=timeout, priority=priority, retry=retry)
        self._label = first.label
        self._called = chunk_caller(fn) if chunk > 1 else fn
        # Whether a worker may have its tasks behind others, if nothing that it is called with ever changes.
        self._in_line = first.in_line
        self.total: int | None = _shortest(iterables)
        self.done: int = 0
        self._client = client
        self._fn = fn
        self._inputs = _Inputs(name, iterables)
        self._chunk = chunk
        self._window = window or default_window * chunk
        self._most = window or _MORE * self._window
        self._ordered = ordered
        self._timeout = timeout
        self._options = {"priority": priority, "retry": retry}
        self._under_way = 0
        self._chunks: deque[_Chunk] = deque()
        self._ready: deque[_Chunk] = deque()
        self._values: deque[R_co] = deque()
        self._exhausted = self._over = False
        self._readers = Readers(client.loop.waiter)
        self._filling = False

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        return f"<map of {function_name(self._fn)}: {self.done}{of} done>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R_co:
        if self._values:  # of a chunk that is being read: most results cost no more than this
            self._under_way -= 1
            return self._values.popleft()
        if self._over:
            raise StopAsyncIteration
        try:
            return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def _next(self) -> R_co:
        while True:
            await self._fill()
            if self._values:  # of a chunk that another reader has begun
                self._under_way -= 1
                return self._values.popleft()
            chunk = self._first()
            if chunk is not None:
                return self._take(chunk)
            if self._over or not (self._chunks or self._filling):
                raise StopAsyncIteration
            await self._readers.wait()

    def _first(self) -> _Chunk | None:
        """Return the chunk whose results are next, if they are there."""
        if not self._ordered:
            return self._ready[0] if self._ready else None
        first = self._chunks[0] if self._chunks else None
        return first if first is not None and first.values is not None else None

    def _take(self, chunk: _Chunk) -> R_co:
        """Return the first result of a chunk, or raise what its first call raised; the others are read next."""
        values, error = chunk.values, chunk.error
        assert values is not None
        if values or error is None:
            chunk.values = deque()
            if error is None:
                self._forget(chunk)
            self._values = values
            self._under_way -= 1
            return self._values.popleft()
        self._forget(chunk)
        raise error

    def _forget(self, chunk: _Chunk) -> None:
        self._chunks.remove(chunk)
        if not self._ordered:
            self._ready.popleft()

    async def _fill(self) -> None:
        """Submit whole chunks as far as the window has room, and at least one; or until the input is over."""
        size = min(self._chunk, self._window)
        while not (self._filling or self._exhausted) and self._under_way <= self._window - size:
            self._filling = True  # one reader after the other takes inputs
            try:
                calls = await self._inputs.take(size)
            finally:
                self._filling = False
            self._exhausted = len(calls) < size
            if calls and not self._over:
                self._submit(calls)
            self._readers.wake()

    def _submit(self, calls: list[tuple[Any, ...]]) -> None:
        client, reply, args = self._client, _Reply(self), calls[0]
        if self._chunk == 1:
            in_line = self._in_line and _plain(map(type, args))
        else:
            # By columns: a list of numbers is encoded at once, a list of tuples one by one.
            columns = [list(column) for column in zip(*calls, strict=True)]
            in_line = self._in_line and all(_plain(map(type, column)) for column in columns)
            args = (self._fn, columns)
        task = client.checked(self._label, self._called, args, in_line, reply, **self._options)
        since = client.loop.now() if self._window < self._most else -math.inf
        chunk = reply.chunk = _Chunk(task, since)
        self._under_way += len(calls)
        self._chunks.append(chunk)
        client.submit(task, self._timeout)

    def arrived(self, chunk: _Chunk, values: list[Any], error: BaseException | None) -> None:
        """Take the results of a chunk, and what ended it: the later calls of it are not done."""
        chunk.values, chunk.error = deque(values), error
        if self._window < self._most and self._client.loop.now() - chunk.since < _BRIEF:
            self._window += self._chunk  # they are back before the next ones travel
        self.done += len(values)
        self._ready.append(chunk)
        self._readers.wake()

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
        self._values.clear()
        self._readers.wake()

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

    def __init__(self, owner: PoolMap[Any]) -> None:
        self._map = owner
        self._over = False
        self.chunk: _Chunk

    def done(self) -> bool:
        return self._over

    def set_result(self, value: Any, /) -> None:
        self._over = True
        values, error = value if self._map.chunked else ([value], None)
        self._map.arrived(self.chunk, values, error)

    def set_exception(self, error: BaseException, /) -> None:
        self._over = True
        self._map.arrived(self.chunk, [], error)


def _shortest(iterables: Iterable[Any]) -> int | None:
    lengths = [len(one) if hasattr(one, "__len__") else None for one in iterables]
    return None if None in lengths else min(length for length in lengths if length is not None)


class _Inputs:
    """The arguments of the calls, taken some at a time; they end with the shortest input."""

    def __init__(self, pool: str, iterables: tuple[Any, ...]) -> None:
        sources = [_source(pool, one) for one in iterables]
        self._mixed = not all(isinstance(source, Iterator) for source in sources)
        self._rows: Any = _mixed_rows(sources) if self._mixed else zip(*sources, strict=False)

    async def take(self, count: int) -> list[tuple[Any, ...]]:
        """Return the next *count*, or fewer at the end."""
        if not self._mixed:
            return list(islice(self._rows, count))
        rows: list[tuple[Any, ...]] = []
        while len(rows) < count:
            try:
                rows.append(await anext(self._rows))
            except StopAsyncIteration:
                break
        return rows


async def _mixed_rows(sources: list[Any]) -> AsyncIterator[tuple[Any, ...]]:
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

"""A pool as a `concurrent.futures.Executor`, for `run_in_executor` and whoever takes one.

Rule: `_Call` alone changes a future, under its lock; only `Future.cancel` does so beside it, in any thread.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future, InvalidStateError, wait as wait_for
from contextlib import closing, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import ActorsError
from actors._pools.sent_function import chunk_caller, refuse_function

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from actors._pools.client import PoolClient
    from actors._pools.task import PoolTask

__all__ = ["PoolExecutor"]

_NOT_BEGUN: Final = ("PENDING", "CANCELLED")
"""States of a future whose waiters have not been told that it runs, or was cancelled."""


class PoolExecutor(Executor):
    """An executor over a pool; see `Pool.executor`.

    `submit` never waits, as the interface demands: the pool's `queue` does not bound it. A future that
    runs cannot be cancelled, one that waits can. `shutdown` ends this executor, not the pool. Its
    methods are safe in every thread, the loop's included.
    """

    def __init__(self, client: PoolClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._futures: set[Future[Any]] = set()
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` on the first free worker; see `Pool.run` for what can be run.

        Raises:
            RuntimeError: the executor was shut down.
            NotSendable, InvalidSpec: the function can never run on a worker.
            ActorStopped, SystemStopped: the pool or the system has ended.
        """
        if kwargs:
            fn = partial(fn, **kwargs)
        future: Future[Any] = Future()
        call = _Call(future)
        task = self._client.function(fn, args, timeout=None, priority=0, retry=0, waiter=call)
        task.on_begin = call.begin
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._futures.add(future)
        future.add_done_callback(partial(self._over, call))
        try:
            self._client.portal.call(partial(self._submit, task, future, call), future)
        except ActorsError as error:
            call.set_exception(error)
            raise
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Any,
        timeout: float | None = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[Any]:
        """As `concurrent.futures.Executor.map`; *chunksize* calls travel together.

        Raises:
            ValueError: *chunksize* is no whole number of 1 or more.
            NotSendable, InvalidSpec: the function can never run on a worker.
        """
        if type(chunksize) is not int or chunksize < 1:
            raise ValueError(f"chunksize must be a whole number of 1 or more, got {chunksize!r}")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **options)
        refuse_function(self._client.facts.name, fn)
        rows = zip(*iterables, strict=False)
        chunks = iter(lambda: list(islice(rows, chunksize)), [])
        columns = ([list(column) for column in zip(*chunk, strict=True)] for chunk in chunks)
        outcomes: Any = super().map(
            partial(chunk_caller(fn), fn), columns, timeout=timeout, **options
        )
        return _results(outcomes)

    def _submit(self, task: PoolTask, future: Future[Any], call: _Call) -> None:
        """Submit a task; on the loop's thread."""
        if future.cancelled():
            return
        try:
            self._client.submit(task)
        except Exception as error:  # noqa: BLE001 - whoever waits for the future gets it
            call.set_exception(error)
        future.add_done_callback(partial(self._withdraw, task))

    def _withdraw(self, task: PoolTask, future: Future[Any]) -> None:
        if future.cancelled():
            with suppress(ActorsError):  # the system ended, and the task with it
                self._client.portal.call(partial(self._client.cancel, task))

    def _over(self, call: _Call, future: Future[Any]) -> None:
        if future.cancelled():
            call.cancelled()
        with self._lock:
            self._futures.discard(future)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the interface
        """Refuse new calls; wait for those that were submitted, or cancel those that wait.

        On the loop's own thread it never waits: the loop would wait for itself.
        """
        with self._lock:
            self._closed = True
            futures = list(self._futures)
        if cancel_futures:
            for future in futures:
                future.cancel()
        if wait and not self._client.portal.on_own_thread:
            wait_for(futures)


class _Call:
    """The `Waiter` of a task, on a future of another thread; it lets go of the future with the result."""

    __slots__ = ("_future", "_lock")

    def __init__(self, future: Future[Any]) -> None:
        self._future: Future[Any] | None = future
        self._lock = threading.Lock()

    def done(self) -> bool:
        return self._future is None or self._future.done()

    def begin(self) -> bool:
        """Note that the call begins, and can no longer be cancelled; return whether it was not already."""
        with self._lock:
            if self._future is None:
                return False
            if self._future._state in _NOT_BEGUN:  # noqa: SLF001 - the interface has no question that changes nothing
                return self._future.set_running_or_notify_cancel()
            return self._future.running()

    def cancelled(self) -> None:
        """Wake those in `concurrent.futures.wait`, which `Future.cancel` does not."""
        self.begin()
        self._future = None

    def set_result(self, value: Any, /) -> None:
        self.begin()
        future, self._future = self._future, None
        if future is not None:
            with suppress(InvalidStateError):
                future.set_result(value)

    def set_exception(self, error: BaseException, /) -> None:
        self.begin()
        future, self._future = self._future, None
        if future is not None:
            with suppress(InvalidStateError):
                future.set_exception(error)


def _results(chunks: Generator[tuple[list[Any], BaseException | None]]) -> Iterator[Any]:
    """Yield what chunks of calls have returned, and keep none of it."""
    with closing(chunks):
        for values, error in chunks:
            values.reverse()
            while values:
                yield values.pop()
            if error is not None:
                raise error

"""A pool as a `concurrent.futures.Executor`, for `run_in_executor` and whoever takes one."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future, InvalidStateError, wait
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from actors._base.errors import SystemStopped
from actors._pools.function_worker import chunk_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors._pools.client import PoolClient
    from actors._pools.task import PoolTask

__all__ = ["PoolExecutor"]


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
        """
        if kwargs:
            fn = partial(fn, **kwargs)
        future: Future[Any] = Future()
        task = self._client.function(
            fn, args, timeout=None, priority=0, retry=0, waiter=_FutureWaiter(future)
        )
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._futures.add(future)
        future.add_done_callback(self._forget)
        task.on_begin = partial(_begin, future)
        self._client.portal.call(partial(self._submit, task, future))
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Any,
        timeout: float | None = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[Any]:
        """As `concurrent.futures.Executor.map`; *chunksize* calls travel together."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **options)
        rows = zip(*iterables, strict=False)
        chunks = iter(lambda: list(islice(rows, chunksize)), [])
        columns = ([list(column) for column in zip(*chunk, strict=True)] for chunk in chunks)
        outcomes = super().map(partial(chunk_caller(fn), fn), columns, timeout=timeout, **options)
        return _results(outcomes)

    def _submit(self, task: PoolTask, future: Future[Any]) -> None:
        if future.cancelled():
            return
        future.add_done_callback(partial(self._withdraw, task))
        try:
            self._client.submit(task)
        except Exception as error:  # noqa: BLE001 - whoever waits for the future gets it
            with suppress(InvalidStateError):
                future.set_exception(error)

    def _withdraw(self, task: PoolTask, future: Future[Any]) -> None:
        if future.cancelled():
            with suppress(SystemStopped):
                self._client.portal.call(partial(self._client.cancel, task))

    def _forget(self, future: Future[Any]) -> None:
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
            _wait_for(futures)


def _results(chunks: Iterator[tuple[list[Any], BaseException | None]]) -> Iterator[Any]:
    for values, error in chunks:
        yield from values
        if error is not None:
            raise error


def _wait_for(futures: list[Future[Any]]) -> None:
    wait(futures)


def _begin(future: Future[Any]) -> None:
    if future._state == "PENDING":  # noqa: SLF001 - the interface has no question that changes nothing
        future.set_running_or_notify_cancel()


class _FutureWaiter:
    """The half of a `Waiter` that a task resolves, on a future of another thread."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def done(self) -> bool:
        return self._future.done()

    def set_result(self, value: Any, /) -> None:
        _begin(self._future)
        with suppress(InvalidStateError):
            self._future.set_result(value)

    def set_exception(self, error: BaseException, /) -> None:
        _begin(self._future)
        with suppress(InvalidStateError):
            self._future.set_exception(error)

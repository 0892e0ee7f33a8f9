"""A backend for joblib: ``with joblib.parallel_config("actors"):`` runs `Parallel` calls on a pool.

Importing this module registers it. It needs a running system, and a thread beside its loop, which it blocks::

    import actors.joblib


    def train() -> list[float]:
        with joblib.parallel_config("actors"):
            return joblib.Parallel()(joblib.delayed(score)(seed) for seed in range(100))


    async with actors.System():
        scores = await anyio.to_thread.run_sync(train)

Rule: functions have to be importable by their name, as for `Pool.run`; arrays among their arguments go through
shared memory. A `Parallel` inside a task runs one call after another.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from joblib import parallel_config, register_parallel_backend
from joblib._parallel_backends import AutoBatchingMixin  # its public place for authors of backends
from joblib.parallel import ParallelBackendBase

from actors._base.errors import InvalidSpec, NoSystem
from actors._pools import Pool
from actors._system.system import current

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["ActorsBackend"]


class ActorsBackend(AutoBatchingMixin, ParallelBackendBase):
    """Runs joblib's batches on a pool.

    Args:
        pool: ``parallel_config("actors", pool=pool)``; the default pool of the system unless given.

    Raises:
        InvalidSpec: it is no pool.
    """

    supports_retrieve_callback = True
    supports_sharedmem = False
    default_n_jobs = -1

    def __init__(self, pool: Pool[Any] | None = None, **options: Any) -> None:
        if pool is not None and not isinstance(pool, Pool):
            raise InvalidSpec(f'parallel_config("actors"): pool must be a Pool, got {pool!r}')
        super().__init__(**options)
        self._pool = pool
        self._futures: set[Future[Any]] = set()

    def _there(self) -> Pool[Any]:
        if self._pool is None:
            try:
                system = current()
            except NoSystem:
                raise NoSystem(
                    'parallel_config("actors") needs a running system: call Parallel in a thread of it, '
                    "by anyio.to_thread.run_sync, or pass pool="
                ) from None
            self._pool = system.blocking_offload_pool()
        return self._pool

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many workers a call may use: joblib's number, or all of the pool's for -1."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        size = self._there().facts.size
        wanted = -1 if n_jobs is None else n_jobs
        return max(1, size + 1 + wanted) if wanted < 0 else min(wanted, size)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        **_options: Any,
    ) -> int:
        """Take over a `Parallel` object; return how many workers it has."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """Run a batch of calls."""
        calls = [partial(fn, *args, **kwargs) for fn, args, kwargs in func.items]
        future = self._there().executor().submit(_run_batch, calls)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return what a batch returned, or raise what a call of it raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - joblib's
        """Drop the batches that wait for a worker: another call has failed."""
        for future in list(self._futures):
            future.cancel()


def _run_batch(calls: list[partial[Any]]) -> list[Any]:
    with parallel_config("sequential"):
        return [call() for call in calls]


register_parallel_backend("actors", ActorsBackend)

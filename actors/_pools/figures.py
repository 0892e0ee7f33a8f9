"""The figures of a pool: how many tasks, and how busy its workers are."""

from __future__ import annotations

from dataclasses import dataclass

from actors._base.durations import Durations

__all__ = ["PoolStats", "WorkerStats"]


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker of a pool.

    Attributes:
        name: its name, which is that of its actor.
        node: the node it runs on.
        ready: whether it takes tasks.
        running: how many tasks it runs.
        completed: how many it has run to their end since it was last started.
        utilisation: the part of its time in which it ran at least one, 0 to 1.
        run: how long its tasks ran.
    """

    name: str
    node: str
    ready: bool
    running: int
    completed: int
    utilisation: float
    run: Durations


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment; the counts and durations are since it was started.

    Attributes:
        name: the pool's name.
        queued: tasks that wait for a worker.
        running: tasks that run.
        completed: tasks that have returned a value.
        failed: tasks that have raised, were cancelled while they ran, or lost their worker.
        utilisation: the part of the workers' time in which they ran something, 0 to 1.
        wait: how long tasks waited for a worker.
        run: how long tasks ran, with their way to the worker and back.
        workers: each worker, by slot.
    """

    name: str
    queued: int
    running: int
    completed: int
    failed: int
    utilisation: float
    wait: Durations
    run: Durations
    workers: tuple[WorkerStats, ...]

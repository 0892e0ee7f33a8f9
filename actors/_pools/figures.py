"""The figures of a pool: how many tasks, and how long they waited and ran."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Final

__all__ = ["Durations", "Histogram", "PoolStats", "WorkerStats"]

_PER_DOUBLING: Final = 8
"""Buckets from one duration to its double: a percentile is at most 9 % above the true one."""
_UNIT: Final = 1e-6
_TOGETHER: Final = 256


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something took, in seconds.

    Attributes:
        count: how many were measured.
        mean: their mean.
        p50: half of them took at most so long, within 9 %.
        p99: 99 of 100 took at most so long, within 9 %.
        longest: the longest.
    """

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    longest: float = 0.0


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


class Histogram:
    """Counts durations in buckets that grow by a constant factor."""

    __slots__ = ("_buckets", "_count", "_longest", "_new", "_sum")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._sum = self._longest = 0.0
        self._new: list[float] = []

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._new.append(seconds)
        if len(self._new) == _TOGETHER:
            self._count_new()

    def _count_new(self) -> None:
        """Count what was added, many at once: that takes a third of the time."""
        new, self._new = self._new, []
        buckets = self._buckets
        for seconds in new:
            bucket = int(_PER_DOUBLING * log2(seconds / _UNIT)) + 1 if seconds > _UNIT else 0
            buckets[bucket] = buckets.get(bucket, 0) + 1
        if new:
            self._count += len(new)
            self._sum += sum(new)
            self._longest = max(self._longest, *new)

    def read(self) -> Durations:
        """Return what was counted so far."""
        self._count_new()
        if not self._count:
            return Durations()
        return Durations(
            self._count,
            self._sum / self._count,
            self._percentile(0.50),
            self._percentile(0.99),
            self._longest,
        )

    def _percentile(self, part: float) -> float:
        left = part * self._count
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(self._longest, _UNIT * 2 ** (bucket / _PER_DOUBLING))
        return self._longest

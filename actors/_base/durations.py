"""How long things took: counted in buckets that grow by a constant factor, and summed up.

Rule: to count a duration takes a fraction of a microsecond, and the memory does not grow with their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["BUCKETS_PER_DOUBLING", "UNIT", "Durations", "Histogram", "raw_since"]

BUCKETS_PER_DOUBLING: Final = 8
"""Buckets from one duration to its double: a percentile is at most 9 % above the true one."""
UNIT: Final = 1e-6
"""Seconds: bucket 0 ends here, and bucket *n* at ``UNIT * 2 ** (n / BUCKETS_PER_DOUBLING)``."""
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


def raw_since(after: Sequence[Any], before: Sequence[Any]) -> list[Any]:
    """Return what was counted between two `Histogram.raw` of one histogram; the longest is that of all time."""
    known = dict(before[0])
    buckets = [(bucket, count - known.get(bucket, 0)) for bucket, count in after[0]]
    return [[item for item in buckets if item[1]], after[1] - before[1], after[2]]


def _bucket(seconds: float) -> int:
    return int(BUCKETS_PER_DOUBLING * log2(seconds / UNIT)) + 1 if seconds > UNIT else 0


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
            bucket = _bucket(seconds)
            buckets[bucket] = buckets.get(bucket, 0) + 1
        if new:
            self._count += len(new)
            self._sum += sum(new)
            self._longest = max(self._longest, *new)

    def add_many(self, seconds: float, times: int) -> None:
        """Count one duration *times* times: it stands for others that were not measured."""
        bucket = _bucket(seconds)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self._count += times
        self._sum += seconds * times
        self._longest = max(self._longest, seconds)

    def merge(self, raw: Sequence[Any]) -> None:
        """Count what another histogram has counted, whose `raw` this is."""
        self._count_new()
        buckets, total, longest = raw
        for bucket, count in buckets:
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
            self._count += count
        self._sum += total
        self._longest = max(self._longest, longest)

    def raw(self) -> list[Any]:
        """Return it as plain data: the counts of its buckets, the sum, and the longest."""
        self._count_new()
        return [sorted(self._buckets.items()), self._sum, self._longest]

    def up_to(self, ends: Iterable[int]) -> list[int]:
        """Return how many were in the buckets up to each of *ends*, which are in order."""
        self._count_new()
        counts, total, rest = [], 0, sorted(self._buckets.items(), reverse=True)
        for end in ends:
            while rest and rest[-1][0] <= end:
                total += rest.pop()[1]
            counts.append(total)
        return counts

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
                return min(self._longest, UNIT * 2 ** (bucket / BUCKETS_PER_DOUBLING))
        return self._longest

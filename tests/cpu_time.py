"""Compares CPU times with each other, with a wide margin: how fast the machine is does not matter."""

import time
from collections.abc import Callable

MOST_GROWTH = 4.0
"""The input grows eightfold; the time per byte may grow by this much: quadratic time grows by 8."""


def cpu_time(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest CPU time of a call, in seconds."""
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time_ns()
        for _ in range(3):
            call()
        best = min(best, (time.process_time_ns() - began) / 3e9)
    return best


def assert_linear(read: Callable[[int], Callable[[], object]], largest: int) -> None:
    """Compare the time of *largest* with that of an eighth of it; calls that cost nothing may vary."""
    small, large = cpu_time(read(largest // 8)), cpu_time(read(largest))
    least = cpu_time(lambda: list(bytes(largest // 64)))
    assert large / 8 < max(small, least) * MOST_GROWTH

"""What `ours/machines.py` measures, with a bare Ray actor: a process of a cluster on this machine alone."""

import statistics
import time
from typing import Any, Final

import ray

from benchmarks.peers._workload import PAYLOADS, SLOW_ASKS, SLOW_TELLS, report

AT_ONCE: Final = 64
BIG_ASKS: Final = 100
MIB: Final = 1024 * 1024
_STORE: Final = 512 * 2**20


class Counter:
    """Counts what it is sent."""

    def __init__(self) -> None:
        self.seen = 0

    async def take(self, payload: Any) -> int:  # noqa: ARG002 - to arrive is all a payload does here
        """Count one more and return how many there were."""
        self.seen += 1
        return self.seen


def measure(take: Any) -> None:
    """Time everything and print a line for each."""
    for name, payload in PAYLOADS.items():
        for _ in range(100):
            ray.get(take(payload))
        start = time.perf_counter()
        for _ in range(SLOW_TELLS):
            take(payload)
        ray.get(take(payload))
        report("tell/s", name, SLOW_TELLS / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(SLOW_ASKS):
            ray.get(take(payload))
        report("ask us", name, 1e6 * (time.perf_counter() - start) / SLOW_ASKS)
        start = time.perf_counter()
        _ask_at_once(take, payload)
        report("64 asks/s", name, SLOW_ASKS / (time.perf_counter() - start))
    data, took = bytes(MIB), []
    for _ in range(BIG_ASKS):
        start = time.perf_counter()
        ray.get(take(data))
        took.append(1e3 * (time.perf_counter() - start))
    took.sort()
    report("1 MiB ms", "median", statistics.median(took))
    report("1 MiB ms", "p10", took[len(took) // 10])


def _ask_at_once(take: Any, payload: Any) -> None:
    """Keep 64 asks under way."""
    open_ = [take(payload) for _ in range(AT_ONCE)]
    for _ in range(SLOW_ASKS - AT_ONCE):
        done, open_ = ray.wait(open_)
        ray.get(done)
        open_.append(take(payload))
    ray.get(open_)


def main() -> None:
    """Measure one actor."""
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=_STORE,
    )
    try:
        measure(ray.remote(num_cpus=0)(Counter).remote().take.remote)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()

"""Tell and ask a Ray actor: a worker process of a cluster on this machine alone."""

from typing import Any

import ray

from benchmarks.peers._workload import SLOW_ASKS, SLOW_TELLS, measure

_STORE = 256 * 2**20


class Counter:
    """Counts what it is sent."""

    def __init__(self) -> None:
        self.seen = 0

    async def take(self, payload: Any) -> int:  # noqa: ARG002 - to arrive is all a payload does here
        """Count one more and return how many there were."""
        self.seen += 1
        return self.seen


def main() -> None:
    """Measure one actor."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=_STORE)
    try:
        counter = ray.remote(num_cpus=0)(Counter).remote()
        measure(
            counter.take.remote,
            lambda payload: int(ray.get(counter.take.remote(payload))),
            tells=SLOW_TELLS,
            asks=SLOW_ASKS,
            warm_up=100,
        )
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()

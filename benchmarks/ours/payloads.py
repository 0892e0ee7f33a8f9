"""One big payload to a process node and its length back. The peer: `peers/node_payloads.js`.

Figures are medians in a steady state: memory that was used once is there the next time.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

import actors
from benchmarks.ours._figures import figure

MIB: Final = 1024 * 1024
SIZES: Final = {"1 KiB": 1024, "1 MiB": MIB, "100 MiB": 100 * MIB}
WARM_UP: Final = 12
ROUNDS: Final = 15


class Scale(actors.Actor):
    """Says how much it was sent."""

    async def weigh(self, payload: Any) -> int:
        """Return the length in bytes."""
        return (
            memoryview(payload).nbytes if not isinstance(payload, actors.Buffer) else len(payload)
        )


async def milliseconds(
    scale: actors.Ref[Scale], make: Callable[[], Any], moved: Callable[[Any], Any]
) -> float:
    """Return the median time of one exchange, the making of the payload not counted."""
    took = []
    for _ in range(WARM_UP + ROUNDS):
        payload = make()
        start = time.perf_counter()
        await scale.ask(Scale.weigh, moved(payload))
        took.append(time.perf_counter() - start)
        del payload
    return 1e3 * statistics.median(took[WARM_UP:])


async def main() -> None:
    """Measure every way a payload can go."""
    topology = actors.Topology(nodes=[actors.nodes("w")])
    async with actors.System(topology) as system:
        scale = await system.spawn(Scale, on="w")
        for name, size in SIZES.items():
            data = bytes(size)
            array = np.zeros(size, dtype="u1")
            ways: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
                "bytes": (partial(_same, data), _same),
                "array": (partial(_same, array), _same),
                "move": (partial(actors.Buffer, size, zero=False), actors.move),
            }
            for way, (make, moved) in ways.items():
                figure(f"{way} ms", name, await milliseconds(scale, make, moved))


def _same(payload: Any) -> Any:
    return payload


if __name__ == "__main__":
    actors.run(main)

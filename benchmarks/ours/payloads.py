"""Sends one big payload to a process node, which replies its length. The peer: `peers/node_payloads.js`.

Figures are medians in a steady state: memory is reused, so no page faults are measured.
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
    """Replies the size of what it is sent."""

    async def weigh(self, payload: Any) -> int:
        """Return the length in bytes."""
        return (
            memoryview(payload).nbytes if not isinstance(payload, actors.Buffer) else len(payload)
        )


async def milliseconds(
    scale: actors.Ref[Scale], make: Callable[[], Any], wrap: Callable[[Any], Any]
) -> float:
    """Return the median time of one exchange, without the time to make the payload."""
    took = []
    for _ in range(WARM_UP + ROUNDS):
        payload = make()
        start = time.perf_counter()
        await scale.ask(Scale.weigh, wrap(payload))
        took.append(time.perf_counter() - start)
        del payload
    return 1e3 * statistics.median(took[WARM_UP:])


async def main() -> None:
    """Measure every way to send a payload."""
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
            for way, (make, wrap) in ways.items():
                figure(f"{way} ms", name, await milliseconds(scale, make, wrap))


def _same(payload: Any) -> Any:
    return payload


if __name__ == "__main__":
    actors.run(main)

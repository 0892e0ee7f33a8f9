"""An actor on a node that is linked as if it were on another machine; the peer: `peers/ray_machines.py`.

What is asked and told, one at a time and 64 at once, and a mebibyte; or, with the argument "crash", how long it
takes until the death of a node is told, and until it serves again.
"""

import os
import signal
import statistics
import sys
import time
from typing import Any, Final

import anyio

import actors
from benchmarks.ours._figures import figure
from benchmarks.ours._workload import PAYLOADS, WARM_UP, Counter
from benchmarks.ours.machine_actors import Node

TELLS: Final = 100_000
ASKS: Final = 5_000
AT_ONCE: Final = 64
BIG_ASKS: Final = 100
MIB: Final = 1024 * 1024
KILLS: Final = 10
_PAUSE: Final = 0.3
"""Seconds between two kills."""


async def measure(counter: actors.Ref[Node]) -> None:
    """Time everything and print a line for each."""
    for name, payload in PAYLOADS.items():
        for _ in range(WARM_UP):
            await counter.ask(Counter.take, payload)
        start = time.perf_counter()
        for _ in range(TELLS):
            await counter.tell(Counter.take, payload)
        await counter.ask(Counter.take, payload)
        figure("tell/s", name, TELLS / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(ASKS):
            await counter.ask(Counter.take, payload)
        figure("ask us", name, 1e6 * (time.perf_counter() - start) / ASKS)
        start = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(_ask_often, counter, payload)
        figure("64 asks/s", name, ASKS / (time.perf_counter() - start))
    await _measure_big(counter)


async def _ask_often(counter: actors.Ref[Node], payload: Any) -> None:
    for _ in range(ASKS // AT_ONCE):
        await counter.ask(Counter.take, payload)


async def _measure_big(counter: actors.Ref[Node]) -> None:
    data, took = bytes(MIB), []
    for _ in range(BIG_ASKS):
        start = time.perf_counter()
        await counter.ask(Counter.take, data)
        took.append(1e3 * (time.perf_counter() - start))
    took.sort()
    figure("1 MiB ms", "median", statistics.median(took))
    figure("1 MiB ms", "p10", took[len(took) // 10])


async def measure_crashes(node: actors.Ref[Node]) -> None:
    """Time from SIGKILL of a node to what is told of it, and to its next reply."""
    told: list[float] = []
    served: list[float] = []
    for _ in range(KILLS):
        await anyio.sleep(_PAUSE)
        pid = await node.ask(Node.pid)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_wait_for_end, node, told)
            await anyio.sleep(0.05)
            start = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
        told[-1] = 1e3 * (told[-1] - start)
        await node.ask(Node.pid)
        served.append(1e3 * (time.perf_counter() - start))
    figure("kill to NodeDown ms", "place", statistics.median(told))
    figure("kill to serving ms", "place", statistics.median(served))


async def _wait_for_end(node: actors.Ref[Node], told: list[float]) -> None:
    try:
        await node.ask(Node.hang)
    except actors.NodeDown:
        told.append(time.perf_counter())


async def main(what: str) -> None:
    """Measure messages, or crashes."""
    backoff = actors.Backoff(first=0.0, jitter=0.0)
    topology = actors.Topology(
        nodes=[actors.nodes("w", engine="hosts", backoff=backoff)], patience=30.0
    )
    async with actors.System(topology) as system:
        node = await system.spawn(Node, on="w", restart=actors.Restart.PERMANENT)
        await (measure_crashes if what == "crash" else measure)(node)


if __name__ == "__main__":
    actors.run(main, sys.argv[1])

"""Opens short connections at a fixed rate, however slow the earlier ones are (no coordinated omission)."""

import asyncio
import statistics
import time
from typing import Final

from benchmarks._server import HOST

__all__ = ["percentile", "short_connections"]

_REQUEST: Final = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_TIMEOUT: Final = 10.0


async def short_connections(port: int, *, rate: float, seconds: float) -> list[float]:
    """Return the seconds of each, from when it was due to when the server closed it."""
    start = time.perf_counter() + 0.05
    async with asyncio.TaskGroup() as tasks:
        running = []
        for number in range(int(rate * seconds)):
            due = start + number / rate
            await asyncio.sleep(due - time.perf_counter())
            running.append(tasks.create_task(_one(port, due)))
    return [task.result() for task in running]


async def _one(port: int, due: float) -> float:
    async with asyncio.timeout(_TIMEOUT):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(_REQUEST)
        answer = await reader.read()
        writer.close()
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"a server answered {answer[:60]!r}")
    return time.perf_counter() - due


def percentile(values: list[float], percent: int) -> float:
    """Return the value below which *percent* of *values* are."""
    return statistics.quantiles(values, n=100)[percent - 1]

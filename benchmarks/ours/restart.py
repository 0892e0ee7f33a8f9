"""From a crash to the next message or request served.

An actor in this thread; a killed process node; and a killed node of a FastAPI application, which its nodes are
forked with. The peer of the second is `peers/node_restart.js`.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from typing import Final

import anyio
import httpx

import actors
from benchmarks.ours._figures import figure

CRASHES: Final = 300
KILLS: Final = 5
_AT_ONCE: Final = actors.Backoff(first=0.0, jitter=0.0)
"""Without delays, because so many kills would lengthen the backoff."""
_PAUSE: Final = 0.3
"""Seconds between two kills, as the peer waits."""


class Brittle(actors.Actor):
    """Crashes when told to."""

    async def crash(self, times: list[float]) -> None:
        """Record the time, and fail."""
        LastCrash.at = time.perf_counter()
        raise RuntimeError(f"crash {len(times)}")

    async def now(self) -> float:
        """Return the time at which this message is handled."""
        return time.perf_counter()

    async def pid(self) -> int:
        """Return the pid of the node."""
        return os.getpid()


class LastCrash:
    """The time of the last crash; attributes of the actor do not survive it."""

    at = 0.0


async def measure_crashes(system: actors.System) -> None:
    """Time from a crash to the next message, which is queued already."""
    await system.start(
        actors.supervisor(
            "brittle",
            [actors.child(Brittle, name="one")],
            budget=actors.Budget(restarts=10 * CRASHES, within=60.0),
        )
    )
    ref = await system.lookup("one")
    assert ref is not None
    took = []
    for _ in range(CRASHES):
        await ref.tell(Brittle.crash, [])
        took.append(await ref.ask(Brittle.now) - LastCrash.at)
    figure("crash to next message us", "actor", 1e6 * statistics.median(took))


async def measure_kills(system: actors.System) -> None:
    """Time from SIGKILL of a node to the next reply of its actor."""
    ref = await system.spawn(Brittle, on="web", restart=actors.Restart.PERMANENT)
    took = []
    for _ in range(KILLS):
        await anyio.sleep(_PAUSE)
        pid = await ref.ask(Brittle.pid)
        start = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while True:
            try:
                if await ref.ask(Brittle.pid) != pid:
                    break
            except actors.NodeDown:
                await anyio.sleep(0.001)
        took.append(time.perf_counter() - start)
    figure("kill to serving ms", "process node", 1e3 * statistics.median(took))


async def measure_application() -> None:
    """Time from SIGKILL of the one node of an application to its next response."""
    took = []
    with tempfile.TemporaryDirectory() as folder:
        app = actors.asgi("benchmarks.ours.fastapi_app:app", preload=True)
        port = actors.listen(app, f"unix:{folder}/s")
        topology = actors.Topology(nodes=[actors.nodes("web", backoff=_AT_ONCE)], listeners=[port])
        transport = httpx.AsyncHTTPTransport(uds=f"{folder}/s")
        async with (
            actors.System(topology),
            httpx.AsyncClient(base_url="http://app", transport=transport) as client,
        ):
            for _ in range(KILLS):
                await anyio.sleep(_PAUSE)
                pid = (await client.get("/pid")).json()
                start = time.perf_counter()
                os.kill(pid, signal.SIGKILL)
                while await _serving(client) in (0, pid):
                    pass
                took.append(time.perf_counter() - start)
    figure("kill to serving ms", "FastAPI, preloaded", 1e3 * statistics.median(took))


async def _serving(client: httpx.AsyncClient) -> int:
    """Return the process that answers, 0 if it was killed meanwhile."""
    try:
        pid: int = (await client.get("/pid")).json()
    except httpx.TransportError:
        return 0
    return pid


async def main(what: str) -> None:
    """Measure one of the three."""
    if what == "app":
        await measure_application()
        return
    backoff = _AT_ONCE
    topology = actors.Topology(nodes=[actors.nodes("web", backoff=backoff)])
    if what == "node":
        async with actors.System(topology) as system:
            await measure_kills(system)
    else:
        async with actors.System() as system:
            await measure_crashes(system)


if __name__ == "__main__":
    actors.run(main, sys.argv[1])

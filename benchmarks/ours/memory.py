"""What idling costs: the memory of idle actors and nodes, the CPU time of an idle system."""

import asyncio
import gc
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil

import actors
from benchmarks.ours._figures import figure

ACTORS: Final = 20_000
NODES: Final = 4
ALLOWED: Final = 5 * 2**20
SETTLE: Final = 2.0
IDLE: Final = 5.0

_BARE: Final = """
import os, sys, psutil
import actors, actors.testing, asyncio, uvloop
{imports}
print(psutil.Process().memory_info().rss)
"""


class Idle(actors.Actor):
    """An actor that stays idle."""

    async def nothing(self) -> None:
        """Do nothing."""

    async def modules(self) -> list[str]:
        """Return what its process has imported."""
        return sorted(sys.modules)


def _own_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


async def actor_kib(system: actors.System) -> dict[str, float]:
    """Return the KiB of an actor that has started, and of one that has had a message as well."""
    await system.spawn(Idle, on=system.node)
    before = _own_bytes()
    refs = [await system.spawn(Idle, on=system.node) for _ in range(ACTORS)]
    started = _own_bytes()
    for ref in refs:
        await ref.ask(Idle.nothing)
    asked = _own_bytes()
    kib = 1024 * ACTORS
    return {
        "idle actor": (started - before) / kib,
        "idle actor, after a message": (asked - before) / kib,
    }


async def node_share(system: actors.System) -> float:
    """Return the memory of a node, in that of a bare interpreter with the same imports and 5 MiB."""
    ref = await system.spawn(Idle, on="w")
    await asyncio.sleep(SETTLE)
    imports = "\n".join(
        f"try:\n    import {name}\nexcept Exception:\n    pass"
        for name in await ref.ask(Idle.modules)
        if name.isidentifier() and not name.startswith("_")
    )
    bare = float(
        subprocess.run(  # noqa: ASYNC221 - no other task runs
            [sys.executable, "-c", _BARE.format(imports=imports)],
            capture_output=True,
            check=True,
        ).stdout
    )
    used = [
        psutil.Process(node.pid).memory_info().rss for node in system.nodes if node.name[0] == "w"
    ]
    return sum(used) / len(used) / (bare + ALLOWED)


def _cpu_ns() -> int:
    """Return the CPU nanoseconds of this process and its descendants."""
    me = psutil.Process()
    return sum(
        int(task.read_text().split()[0])
        for process in (me, *me.children(recursive=True))
        for task in Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    )


async def idle_percent() -> float:
    """Return the percentage of one CPU that an idle system takes."""
    await asyncio.sleep(SETTLE)
    before = _cpu_ns()
    await asyncio.sleep(IDLE)
    return 100 * (_cpu_ns() - before) / (IDLE * 1e9)


async def main() -> None:
    """Measure all three."""
    async with actors.System(actors.Topology(nodes=[actors.nodes("w", count=NODES)])) as system:
        figure("CPU %", f"{NODES} idle nodes", await idle_percent())
        figure("node / (bare + 5 MiB)", "idle node", await node_share(system))
        for payload, kib in (await actor_kib(system)).items():
            figure("KiB", payload, kib)


if __name__ == "__main__":
    actors.run(main)

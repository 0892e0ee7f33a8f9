"""Whatever happens to its workers, every task of a pool ends, none is lost, and none runs twice unasked.

`tests/soak/test_pools.py` is the same for 100,000 tasks.
"""

from __future__ import annotations

import os
from pathlib import Path

import anyio

from actors import System, Topology, pool
from actors.testing import running_system
from tests.pools.chaos import Chaos

COUNT = 2000
SEED = int(os.environ.get("CHAOS_SEED", "0")) or int.from_bytes(os.urandom(3))


async def test_every_task_ends_and_none_is_lost_or_runs_twice(tmp_path: Path) -> None:
    with anyio.fail_after(90):
        async with running_system(Topology()) as system:
            await run(system, tmp_path, COUNT)


async def run(system: System, folder: Path, count: int) -> Chaos:
    """Run so many tasks on a pool of one to three workers."""
    work = await system.start(pool(name="work", size=2, min=1, max=3, queue=64, idle=0.5))
    chaos = Chaos(system, work, folder / "log", count, SEED)
    try:
        await chaos.run()
        chaos.check()
        stats = await work.stats()
        assert (stats.queued, stats.running) == (0, 0)
    except BaseException as error:
        error.add_note(f"CHAOS_SEED={SEED}")
        raise
    return chaos

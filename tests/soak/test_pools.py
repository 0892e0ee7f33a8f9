"""100,000 tasks of a pool, with chaos: every one ends, none is lost, and descriptors and memory stay flat."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import pytest

from actors import Topology
from actors.testing import running_system
from tests.pools.test_chaos import SEED, run

COUNT = int(os.environ.get("POOL_TASKS", "100000"))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(5400)]


async def test_every_one_of_many_tasks_ends_and_none_is_lost(tmp_path: Path) -> None:
    began = time.monotonic()
    with anyio.fail_after(5000):
        async with running_system(Topology()) as system:
            chaos = await run(system, tmp_path, COUNT)
    seconds = time.monotonic() - began
    print(f"\n{COUNT} tasks in {seconds:.0f} s, CHAOS_SEED={SEED}: {dict(chaos.ends)}")  # noqa: T201 - a soak says what it has counted
    print(f"descriptors and resident KiB, after a tenth and after all: {chaos.figures}")  # noqa: T201 - as above

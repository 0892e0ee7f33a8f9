"""Nothing of a place outlives the process that made the system, however that ends."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import anyio
import pytest

from actors.testing import eventually
from tests.machines.places_of_a_test import alive
from tests.scripts import start

PARENT = """
    import json, os, sys, anyio, actors
    from actors._system.system import coordinator_of
    from tests.machines.far_actors import Counter

    async def main():
        topology = actors.Topology(nodes=[actors.nodes("far", count=2, engine="hosts")], lease=2.0)
        async with actors.System(topology) as system:
            counters = [await system.spawn(Counter, on=f"far/{n}") for n in range(2)]
            pids = [await counter.ask(Counter.pid) for counter in counters]
            pids.append(coordinator_of(system).nodes["far/0"].current_place.pid)
            print(json.dumps(pids), flush=True)
            await anyio.sleep_forever()

    actors.run(main)
"""


@pytest.fixture
def anyio_backend() -> str:
    """The loop that counts is the parent's, which is another process here."""
    return "asyncio"


@pytest.mark.within(120)
@pytest.mark.parametrize("stopped", [False, True])
async def test_kill_9_of_the_parent_leaves_no_agent_and_no_node(
    tmp_path: Path, stopped: bool
) -> None:
    """Also if the agent is stopped, and so sees nothing: then the nodes end with the lease."""
    script = start(tmp_path / "parent.py", PARENT)
    assert script.stdout is not None
    *nodes, agent = json.loads(await anyio.to_thread.run_sync(script.stdout.readline))
    try:
        assert all(alive(pid) for pid in (*nodes, agent))
        if stopped:
            os.kill(agent, signal.SIGSTOP)
        script.kill()
        script.communicate(timeout=100)
        await eventually(lambda: not any(alive(pid) for pid in nodes), within=20)
        if stopped:
            os.kill(agent, signal.SIGCONT)
        await eventually(lambda: not alive(agent), within=20)
    finally:
        for pid in filter(alive, (*nodes, agent)):
            os.kill(pid, signal.SIGKILL)

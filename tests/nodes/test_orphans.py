"""Nothing of a system outlives the process that made it, however that ends."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import anyio
import psutil
import pytest

from actors.testing import eventually
from tests.scripts import finish, start

PARENT = """
    import json, os, subprocess, sys, anyio, actors

    class Worker(actors.Actor):
        async def pid(self):
            return os.getpid()

        async def spin(self):
            while True:
                pass

        async def start_program(self):
            return subprocess.Popen(["/bin/sleep", "600"]).pid

        async def hold_the_interpreter(self):
            sum(range(10**12))

    async def main(backend):
        topology = actors.Topology(nodes=[actors.nodes("web", count=3)])
        async with actors.System(topology) as system:
            idle, spinning, stuck = [await system.spawn(Worker, on=f"web/{n}") for n in range(3)]
            pids = [await worker.ask(Worker.pid) for worker in (idle, spinning, stuck)]
            pids += [await worker.ask(Worker.start_program) for worker in (idle, spinning, stuck)]
            await spinning.tell(Worker.spin)
            await stuck.tell(Worker.hold_the_interpreter)
            print(json.dumps(pids), flush=True)
            await anyio.sleep_forever()

    actors.run(main, sys.argv[1], backend=sys.argv[1])
"""


@pytest.fixture
def anyio_backend() -> str:
    """The loop that counts is the parent's, which is another process here."""
    return "asyncio"


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_kill_9_of_the_parent_leaves_no_process(tmp_path: Path, backend: str) -> None:
    script = start(tmp_path / "parent.py", PARENT, backend)
    assert script.stdout is not None
    pids: list[int] = json.loads(await anyio.to_thread.run_sync(script.stdout.readline))
    try:
        assert all(_alive(pid) for pid in pids)
        script.kill()
        finish(script)
        await eventually(lambda: not any(_alive(pid) for pid in pids), within=2)
    finally:
        for pid in filter(_alive, pids):
            os.kill(pid, signal.SIGKILL)


STARTER = """
    import json, os, subprocess, sys, anyio, actors

    class Starter(actors.Actor):
        async def start(self):
            return [os.getpid(), subprocess.Popen(["sleep", "600"]).pid]

    async def main():
        async with actors.System(actors.Topology(nodes=[actors.nodes("web")])) as system:
            starter = await system.spawn(Starter, on="web")
            print(json.dumps(await starter.ask(Starter.start)), flush=True)
            await anyio.sleep_forever()

    actors.run(main)
"""


async def test_kill_9_of_the_parent_takes_programs_that_actors_started_along(
    tmp_path: Path,
) -> None:
    script = start(tmp_path / "parent.py", STARTER)
    assert script.stdout is not None
    pids: list[int] = json.loads(await anyio.to_thread.run_sync(script.stdout.readline))
    try:
        assert all(_alive(pid) for pid in pids)
        script.kill()
        finish(script)
        await eventually(lambda: not any(_alive(pid) for pid in pids), within=2)
    finally:
        for pid in filter(_alive, pids):
            os.kill(pid, signal.SIGKILL)

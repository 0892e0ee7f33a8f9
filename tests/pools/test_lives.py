"""The lives of a pool: in a topology, stopped and started again, reloaded, and after the end of who submits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

import actors
from actors import Actor, Pool, System, Topology, nodes, pool, supervisor
from actors.errors import ActorStopped
from tests.pools.functions import mark_and_nap, pid, square


class Submitter(Actor):
    """Submits tasks from its node."""

    def __init__(self, mark: str = "") -> None:
        self.mark = Path(mark)

    async def submit(self, work: Pool[Any], count: int, waiting: int) -> None:
        for _ in range(count):
            self.context.tasks.start_soon(self._run, work)
        while not self.mark.exists() or (await work.stats()).queued < waiting:  # noqa: ASYNC110 - no event says it
            await anyio.sleep(0.01)

    async def _run(self, work: Pool[Any]) -> None:
        await work.run(mark_and_nap, str(self.mark), 30)

    async def use_own(self, number: int) -> tuple[str, int]:
        own = await actors.current().pool("own")
        assert own is not None
        return own.name, await own.run(square, number)


async def test_a_pool_below_a_supervisor_is_stopped_and_started_again_with_its_nodes() -> None:
    with anyio.fail_after(60):
        work = pool(size=1, name="work", kind="thread")
        topology = Topology(children=[supervisor("roof", [work])])
        async with System(topology) as system:
            first = await system.pool("work")
            assert first is not None
            assert await first.run(square, 3) == 9
            roof = system.supervisor("roof")
            await roof.stop_child("work")
            with pytest.raises(ActorStopped):
                await first.run(square, 3)
            assert await system.pool("work") is None
            await roof.restart_child("work")
            second = await system.pool("work")
            assert second is not None
            assert second != first
            assert await second.run(square, 4) == 16
            await system.supervisor("").stop_child("roof")
            await system.supervisor("").restart_child("roof")
            third: Any = await system.pool("work")
            assert await third.run(square, 5) == 25
            assert [node.name for node in system.nodes] == ["local", "work/0"]


async def test_each_node_of_a_group_has_a_pool_of_its_own_that_ends_with_it() -> None:
    with anyio.fail_after(60):
        own = pool(size=1, name="own", kind="thread", per_node="web")
        topology = Topology(nodes=[nodes("web", count=2, kind="thread")], children=[own])
        async with System(topology) as system:
            for slot in range(2):
                boss = await system.spawn(Submitter, on=f"web/{slot}")
                assert await boss.ask(Submitter.use_own, 3) == (f"own-{slot}", 9)
            await system.scale("web", 1)
            while "own-1/0" in {node.name for node in system.nodes}:  # noqa: ASYNC110 - as above
                await anyio.sleep(0.01)
            assert "own-0/0" in {node.name for node in system.nodes}


@pytest.mark.parametrize("at_once", [1, 2])
async def test_what_an_ended_node_had_submitted_is_dropped_and_what_runs_of_it_is_ended(
    tmp_path: Path, at_once: int
) -> None:
    with anyio.fail_after(60):
        async with System(Topology(nodes=[nodes("box")])) as system:
            work = await system.start(pool(size=1, name="work", at_once=at_once))
            before = await work.run(pid)
            boss = await system.spawn(Submitter, str(tmp_path / "runs"), on="box")
            await boss.ask(Submitter.submit, work, at_once + 2, 2)
            next(node for node in system.nodes if node.name == "box/0").kill()
            while await work.run(pid) == before:  # noqa: ASYNC110 - no event says it
                await anyio.sleep(0.01)
            stats = await work.stats()
            assert (stats.queued, stats.running) == (0, 0)
            await system.reload("work")
            assert await work.run(square, 3) == 9

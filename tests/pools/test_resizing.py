"""Changes of the number of workers that are given up, fail, or meet a worker that is about to come back."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, Pool, System, pool
from actors.errors import ActorsError
from tests.pools.functions import square

KINDS = ("thread", "process")


async def nodes_of(system: System, work: Pool[Any]) -> list[str]:
    return [node.name for node in system.nodes if node.group == work.name]


async def at_rest(system: System, work: Pool[Any], workers: int) -> None:
    """Wait until a pool has so many workers, each ready and on a node, and no more nodes than that."""
    while True:
        stats = await work.stats()
        ready = [worker.ready for worker in stats.workers]
        if ready == [True] * workers and len(await nodes_of(system, work)) == workers:
            break
        await anyio.sleep(0.02)
    assert await work.run(square, 3) == 9


class Slow(Actor):
    """Takes its time to start and to stop; may fail to start, or end for good."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    async def on_start(self) -> None:
        if Path(self._folder, "fail").exists():  # noqa: ASYNC240 - a fake of this test
            raise RuntimeError("not today")
        await anyio.sleep(0.1)

    async def on_stop(self, _exit: object) -> None:
        await anyio.sleep(0.1)

    async def end(self) -> None:
        self.context.stop()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [0.0, 0.1, 0.3])
async def test_a_change_that_is_given_up_leaves_no_node_without_a_worker(
    kind: Any, after: float, tmp_path: Any
) -> None:
    with anyio.fail_after(60):
        async with System() as system:
            slow = pool(Slow, str(tmp_path), name="work", min=1, max=4, kind=kind)
            work: Pool[Any] = await system.start(slow)
            with anyio.move_on_after(after):
                await work.resize(3)
            while len(await nodes_of(system, work)) != len((await work.stats()).workers):  # noqa: ASYNC110
                await anyio.sleep(0.02)
            with anyio.move_on_after(after):
                await work.resize(1)
            assert await work.resize(2) == 2
            await at_rest(system, work, 2)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pool_that_was_to_be_smaller_keeps_its_first_nodes_when_that_is_given_up(
    kind: Any, tmp_path: Any
) -> None:
    with anyio.fail_after(60):
        async with System() as system:
            slow = pool(Slow, str(tmp_path), name="work", min=1, max=4, kind=kind)
            work: Pool[Any] = await system.start(slow)
            assert await work.resize(3) == 3
            with anyio.move_on_after(0.05):  # while the first one of two that leave ends
                await work.resize(1)
            await at_rest(system, work, 2)
            assert sorted(await nodes_of(system, work)) == ["work/0", "work/1"]


async def test_of_a_worker_that_does_not_start_nothing_is_left(tmp_path: Any) -> None:
    with anyio.fail_after(60):
        async with System() as system:
            slow = pool(Slow, str(tmp_path), name="work", min=1, max=4, kind="thread")
            work: Pool[Any] = await system.start(slow)
            (tmp_path / "fail").touch()
            with pytest.raises(ActorsError, match="not today"):
                await work.resize(3)
            await at_rest(system, work, 1)
            (tmp_path / "fail").unlink()
            assert await work.resize(3) == 3
            await at_rest(system, work, 3)


async def test_the_slot_of_a_worker_that_has_ended_for_good_is_used_again(tmp_path: Any) -> None:
    with anyio.fail_after(60):
        async with System() as system:
            slow = pool(Slow, str(tmp_path), name="work", min=1, max=4, kind="thread")
            work: Pool[Any] = await system.start(slow)
            assert await work.resize(2) == 2
            first, _ = await work.members()
            await first.tell(Slow.end)
            while len((await work.stats()).workers) > 1:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            assert await work.resize(2) == 2
            await at_rest(system, work, 2)


async def test_resizes_at_the_same_time_leave_a_pool_that_goes_on_to_size_itself() -> None:
    with anyio.fail_after(60):
        async with System() as system:
            work = await system.start(pool(name="work", min=1, max=3, kind="thread", idle=0.05))
            async with anyio.create_task_group() as tasks:
                for size in (2, 3, 2, 3):
                    tasks.start_soon(work.resize, size)
            await at_rest(system, work, 1)  # nothing to do: it shrinks by itself


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_worker_that_is_killed_in_a_change_of_the_size_comes_back_or_goes(
    size: int,
) -> None:
    with anyio.fail_after(90):
        async with System() as system:
            work = await system.start(pool(name="work", min=1, max=3, kind="process"))
            assert await work.resize(2) == 2
            await at_rest(system, work, 2)
            for slot in (0, 1) if size > 1 else (1,):
                pid = next(node.pid for node in system.nodes if node.name == f"work/{slot}")
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                assert await work.resize(size) == size
                await at_rest(system, work, size)

"""How a pool ends: by `stop`, after its tasks or at once, and who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import Pool, System, pool
from actors.errors import ActorStopped
from actors.testing import eventually
from tests.pools.functions import nap, square

pytestmark = pytest.mark.within(60)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with System() as system:
        yield system


async def _start(system: System) -> Pool[Any]:
    return await system.start(pool(name="work", size=1, kind="thread"))


async def test_a_pool_that_drains_finishes_what_it_has_and_refuses_what_comes(
    system: System,
) -> None:
    work = await _start(system)
    results: list[Any] = []

    async def run(fn: Any, argument: Any) -> None:
        results.append(await work.run(fn, argument))

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(run, square, 3)
        tasks.start_soon(run, nap, 0.2)
        await anyio.sleep(0.05)
        await work.stop(drain=True)
    assert len(results) == 3
    with pytest.raises(ActorStopped, match="it was stopped"):
        await work.run(square, 3)
    assert await system.pool("work") is None
    assert [node.name for node in system.nodes] == ["local"]


async def test_a_pool_that_is_stopped_fails_what_waits_and_tells_who_waits_for_its_end(
    system: System,
) -> None:
    work = await _start(system)
    told: list[str] = []

    async def submit(fn: Any, argument: Any) -> None:
        with pytest.raises(ActorStopped):
            await work.run(fn, argument)
        told.append("refused")

    async def wait() -> None:
        told.append(await work.wait())

    async def runs() -> bool:
        return (await work.stats()).running == 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submit, nap, 0.3)
        await eventually(runs)
        tasks.start_soon(submit, square, 3)
        tasks.start_soon(wait)
        await anyio.sleep(0.05)
        await work.stop()
    assert sorted(told) == ["it was stopped", "refused", "refused"]


async def test_the_name_of_a_pool_that_was_stopped_is_free_and_the_old_address_reaches_nobody(
    system: System,
) -> None:
    old = await _start(system)
    await old.stop()
    await old.stop()
    new = await _start(system)
    assert await new.run(square, 3) == 9
    assert new != old
    with pytest.raises(ActorStopped):
        await old.run(square, 3)

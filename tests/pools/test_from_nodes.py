"""Pools are started, found and used from nodes as from the process that made the system."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import actors
from actors import Actor, System, Topology, nodes, pool
from actors.errors import InvalidSpec, StartFailed
from tests.pools.functions import add, fail, pid, square


class Boss(Actor):
    """Starts pools and uses them, on its node."""

    async def start_pool(self, name: str) -> Any:
        return await actors.current().start(pool(size=1, name=name, init=pid))

    async def start_members(self) -> str:
        bosses = await actors.current().start(pool(Boss, size=1, name="bosses"))
        found: str = await bosses.ask(Boss.where)
        return found

    async def start_broken(self) -> None:
        await actors.current().start(pool(size=1, name="broken", init=_raises))

    async def where(self) -> str:
        return self.context.node

    async def use(self, name: str, number: int) -> list[int]:
        found = await actors.current().pool(name)
        assert found is not None
        squares = [result async for result in found.map(square, range(number))]
        return [*squares, await found.run(add, 1), await actors.current().offload(square, 3)]

    async def fail(self, name: str) -> None:
        found = await actors.current().pool(name)
        assert found is not None
        await found.run(fail, 7)


def _raises() -> None:
    raise RuntimeError("no model")


async def test_an_actor_on_a_node_starts_pools_and_uses_them() -> None:
    with anyio.fail_after(60):
        async with System(Topology(nodes=[nodes("box")])) as system:
            boss = await system.spawn(Boss, on="box")
            started = await boss.ask(Boss.start_pool, "mine")
            assert await boss.ask(Boss.use, "mine", 4) == [0, 1, 4, 9, 2, 9]
            assert await started.run(square, 5) == 25
            assert started == await system.pool("mine")
            with pytest.raises(ValueError, match="bad number 7"):
                await boss.ask(Boss.fail, "mine")
            assert await boss.ask(Boss.start_members) == "bosses/0"
            with pytest.raises(InvalidSpec, match=r"there is a pool 'mine' already"):
                await boss.ask(Boss.start_pool, "mine")
            with pytest.raises(StartFailed, match="no model"):
                await boss.ask(Boss.start_broken)
            assert await system.pool("broken") is None

"""The nodes of a pool are its workers: only the pool changes their number."""

from __future__ import annotations

import anyio
import pytest

from actors import System, pool
from actors.errors import InvalidSpec
from tests.pools.functions import square


async def test_the_group_of_a_pool_is_scaled_by_the_pool_alone() -> None:
    with anyio.fail_after(60):
        async with System() as system:
            work = await system.start(pool(name="work", min=1, max=2, kind="thread"))
            with pytest.raises(InvalidSpec, match=r"are its workers: use Pool.resize\(3\)"):
                await system.scale("work", 3)
            assert await work.resize(3) == 2
            assert [node.name for node in system.nodes] == ["local", "work/0", "work/1"]
            assert await work.resize(1) == 1
            assert [node.name for node in system.nodes] == ["local", "work/0"]
            assert await work.run(square, 3) == 9

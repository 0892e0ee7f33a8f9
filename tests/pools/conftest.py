"""One system per loop and file; tests start the pools they need in it, and end them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from actors import Pool, System, Topology, nodes, pool
from actors.errors import NotFound
from actors.testing import running_system

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {"asyncio": ("asyncio", {}), "trio": ("trio", {})}


class Pools:
    """Starts pools, and ends each after its test."""

    def __init__(self, system: System) -> None:
        self.system = system

    @asynccontextmanager
    async def __call__(self, cls: Any = None, *args: Any, **options: Any) -> AsyncIterator[Any]:
        spec = pool(cls, *args, **{"name": "extra", "size": 1, **options})
        yield await self.system.start(spec)
        await self.end(spec.name)

    async def end(self, name: str) -> None:
        top = self.system.supervisor("")
        with suppress(NotFound):
            await top.stop_child(name)
            await top.delete_child(name)


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(
    no_leaks_in_file: None, anyio_backend: tuple[str, dict[str, Any]]
) -> AsyncIterator[System]:
    async with running_system(Topology(nodes=[nodes("box")])) as system:
        yield system


@pytest.fixture(scope="module")
async def work(system: System) -> Pool[Any]:
    """A pool of one worker, which most tests of functions use."""
    return await system.start(pool(size=1, name="work"))


@pytest.fixture
async def pools(system: System) -> AsyncIterator[Pools]:
    pools = Pools(system)
    yield pools
    with anyio.move_on_after(10, shield=True):
        await pools.end("extra")

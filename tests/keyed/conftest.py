"""One system per loop and file, with two nodes; tests start the books they need in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from actors import Keyed, System, Topology, keyed, nodes
from actors.testing import running_system
from tests.keyed.rooms import Room

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {"asyncio": ("asyncio", {}), "trio": ("trio", {})}

Open: TypeAlias = Callable[..., Awaitable[Keyed[Any, Any]]]


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(
    no_leaks_in_file: None, anyio_backend: tuple[str, dict[str, Any]]
) -> AsyncIterator[System]:
    async with running_system(Topology(nodes=[nodes("box", count=2)])) as system:
        yield system


@pytest.fixture(params=["local", "box"])
async def place(request: pytest.FixtureRequest) -> str:
    """Where the actors of a book run: in this process, or on two process nodes."""
    return str(request.param)


@pytest.fixture
async def book(system: System) -> AsyncIterator[Open]:
    """Starts a book, `rooms` unless it is given another name, which ends with the test."""
    started: list[str] = []

    async def start(cls: Any = Room, name: str = "rooms", **options: Any) -> Keyed[Any, Any]:
        made: Keyed[Any, Any] = await system.start(keyed(cls, name=name, **options))
        started.append(name)
        return made

    yield start
    top = system.supervisor("")
    for name in started:
        await top.stop_child(name)
        if name in {row.name for row in await top.children()}:
            await top.delete_child(name)

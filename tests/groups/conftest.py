"""One system per loop and file, with two nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors import System, Topology, nodes
from actors.testing import running_system

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {"asyncio": ("asyncio", {}), "trio": ("trio", {})}


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(
    no_leaks_in_file: None, anyio_backend: tuple[str, dict[str, Any]]
) -> AsyncIterator[System]:
    async with running_system(Topology(nodes=[nodes("box", count=2)])) as system:
        yield system


@pytest.fixture(params=["local", "box/0"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the members run."""
    return str(request.param)

"""One system per loop and file, with one node of each kind; every test runs on each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import System, Topology, nodes
from actors.testing import Probe, running_system
from tests.conftest import LOOPS
from tests.contracts.place import Place

NODES = {"local": "local", "process": "box/0", "thread": "thread/0", "process on trio": "trio/0"}


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None, anyio_backend: object) -> AsyncIterator[System]:
    groups = [nodes("box"), nodes("thread", kind="thread"), nodes("trio", backend="trio")]
    async with running_system(Topology(nodes=groups)) as system:
        yield system


@pytest.fixture(params=NODES)
async def place(request: pytest.FixtureRequest, system: System) -> AsyncIterator[Place]:
    place = Place(system, NODES[request.param], await Probe.start(system))
    yield place
    with anyio.fail_after(10):
        await place.close()

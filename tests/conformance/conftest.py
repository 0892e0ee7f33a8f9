"""One system per loop and file, with a node of each kind; every case runs on each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import System, Topology, nodes
from actors.testing import Probe, running_system
from tests.conformance.case_actors import StartScript
from tests.conformance.scenario import Scenario
from tests.conftest import LOOPS

NODES = {"local": "local", "process": "box/0", "thread": "thread/0"}
GROUPS = {"process": nodes("box"), "thread": nodes("thread", kind="thread")}
KINDS = {"asyncio": ["local", "process"], "uvloop": ["thread"], "trio": ["local", "thread"]}
"""Which kinds of node meet which loop in the parent; the contracts have the whole table."""
LARGE = {"asyncio": ["process"], "uvloop": ["thread"], "trio": ["local"]}
"""The same for what has many cells: each kind once, and asyncio and trio where actors run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the pairs of loop and node that are not in the table."""
    items[:] = [item for item in items if _in_the_table(item)]


def _in_the_table(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return True
    loop, kind = (item.callspec.params.get(name) for name in ("anyio_backend", "scenario"))
    kinds = LARGE if item.path.name == "test_failure_table.py" else KINDS
    return kind not in NODES or kind in kinds[str(loop)]


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(
    no_leaks_in_file: None, anyio_backend: tuple[str, dict[str, Any]]
) -> AsyncIterator[System]:
    loop = next(name for name, options in LOOPS.items() if options == anyio_backend)
    groups = [group for kind, group in GROUPS.items() if kind in KINDS[loop]]
    async with running_system(Topology(nodes=groups)) as system:
        yield system


@pytest.fixture(params=NODES)
async def scenario(request: pytest.FixtureRequest, system: System) -> AsyncIterator[Scenario]:
    director = await system.spawn(StartScript, on=system.node)
    scenario = Scenario(system, NODES[request.param], await Probe.start(system), director)
    yield scenario
    with anyio.fail_after(10):
        await scenario.close()

"""One system per loop and file, with one node of each kind; every test runs on each of them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import System, Topology, nodes
from actors.testing import Probe, running_system
from tests.conftest import LOOPS
from tests.contracts.node_under_test import NodeUnderTest
from tests.contracts.payloads import LARGEST

NODES = {
    "local": "local",
    "process": "box/0",
    "thread": "thread/0",
    "process on trio": "trio/0",
    "hosts": "far/0",
    "interpreter": "inner/0",
}
GROUPS = {
    "process": nodes("box"),
    "thread": nodes("thread", kind="thread"),
    "process on trio": nodes("trio", backend="trio"),
    "hosts": nodes("far", engine="hosts"),
}
KINDS = {
    "asyncio": ["local", "process"],
    "uvloop": ["local", "process", "thread", "hosts"],
    "trio": ["local", "process", "thread", "process on trio"],
}
if sys.version_info >= (3, 14):
    GROUPS["interpreter"] = nodes("inner", kind="interpreter")
    KINDS["uvloop"].append("interpreter")
"""Which kinds of node meet which loop in the parent; what is left out the others show as well."""
_USE_NUMPY = {"test_moving", "test_payloads", "test_shared_arrays", "test_values"}
"""Tests whose actors import numpy, which no sub-interpreter can."""
_WHERE_IT_LEAVES = {
    "test_it_goes_on_where_it_was",
    "test_it_comes_back_and_goes_on",
    "test_a_unix_stream_passes_descriptors_wherever_it_went",
    "test_what_waits_for_room_is_gone_meanwhile_and_comes_back_whole",
    "test_what_waited_for_room_arrives",
    "test_one_that_is_closed_or_twice_in_a_message_is_not_moved",
    "test_what_became_a_dead_letter_is_closed",
    "test_it_is_read_without_copies_and_cannot_be_written",
    "test_what_an_actor_is_made_of_is_there_again_after_a_crash_and_for_its_children",
    "test_its_memory_is_freed_with_the_last_who_has_it",
}
"""Tests of streams and shared arrays that have to leave; other tests of theirs show that they cannot."""
_ALL_LEAVES = {"test_moving_streams", "test_shared_arrays"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the pairs of loop and node that are not in the table."""
    items[:] = [item for item in items if _in_the_table(item)]


def _in_the_table(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return True
    loop, kind = (item.callspec.params.get(name) for name in ("anyio_backend", "node"))
    if kind == "interpreter" and item.path.stem in _USE_NUMPY:
        return False
    if kind == "hosts" and item.path.stem in _ALL_LEAVES and item.originalname in _WHERE_IT_LEAVES:
        return False
    return kind not in NODES or kind in KINDS[str(loop)]


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(
    no_leaks_in_file: None, anyio_backend: tuple[str, dict[str, Any]]
) -> AsyncIterator[System]:
    loop = next(name for name, options in LOOPS.items() if options == anyio_backend)
    groups = [group for kind, group in GROUPS.items() if kind in KINDS[loop]]
    async with running_system(Topology(nodes=groups, largest=LARGEST)) as system:
        yield system


@pytest.fixture(params=NODES)
async def node(request: pytest.FixtureRequest, system: System) -> AsyncIterator[NodeUnderTest]:
    node = NodeUnderTest(system, NODES[request.param], await Probe.start(system))
    yield node
    with anyio.fail_after(10):
        await node.close()

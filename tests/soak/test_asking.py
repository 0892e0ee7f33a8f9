"""A hundred thousand asks to a hundred actors over four nodes, cancelled at random, in bounded memory."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import System, Topology, nodes
from actors.testing import running_system
from tests.conftest import LOOPS
from tests.end_to_end.many_asks import Asking, clerks_on

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
ASKS = int(os.environ.get("ASKS", "100000"))
SEED = int(os.environ.get("ASKS_SEED", "0")) or random.randrange(1 << 20)
NODES = [f"web/{number}" for number in range(4)]
GROWTH = 48 << 20
"""Bytes that the nodes of one system may have grown together, from the first tenth on."""


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture
async def system(no_leaks: None) -> AsyncIterator[System]:
    async with running_system(Topology(nodes=[nodes("web", count=4)])) as system:
        yield system


async def _memory(system: System) -> int:
    total: int = sum([(await node.stats())["rss"] for node in system.nodes])
    return total


async def test_a_hundred_thousand_asks_all_end_and_leave_nothing(system: System) -> None:
    with anyio.fail_after(3500):
        asking = Asking(system, await clerks_on(system, NODES), SEED)
        await asking.ask(ASKS // 10)
        await asking.is_settled()
        before = await _memory(system)
        await asking.ask(ASKS - ASKS // 10)
        await asking.is_settled()
        grown = await _memory(system) - before
    print(f"\nASKS_SEED={SEED} {dict(asking.ends)}, grown by {grown >> 10} KiB")  # noqa: T201 - a soak says what it has counted
    assert asking.ends.total() == ASKS // 10 + (ASKS - ASKS // 10)
    assert set(asking.ends) <= {"reply", "cancelled", "Refused", "DeadlineExceeded", "CallCycle"}
    assert grown < GROWTH

"""Cargo in its full numbers; `tests/system/test_cargo.py` has it in small."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Topology, nodes
from actors.testing import running_system
from tests.conftest import LOOPS
from tests.system.cargo_kit import Stevedore, descriptors, ways
from tests.transport.memory import shmem

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
_MESSAGES = 10_000
_TOLERANCE = 64 * 1024 * 1024
"""Bytes of shared memory that other programs of this machine may take meanwhile."""


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


async def test_ten_thousand_messages_of_every_mode_leave_nothing(no_leaks: None) -> None:
    before = shmem()
    with anyio.fail_after(1700):
        async with running_system(Topology(nodes=[nodes("dock")])) as system:
            there = await system.spawn(Stevedore, on="dock")
            for send in ways().values():
                for _ in range(3):
                    await send(there)
            here, far = descriptors(), await there.ask(Stevedore.descriptors)
            for send in ways().values():
                for _ in range(_MESSAGES):
                    await send(there)
            await anyio.sleep(0.5)
            assert (await system.node.stats())["memory"]["leases"] == 0
            assert descriptors() <= here
            assert await there.ask(Stevedore.descriptors) <= far
    assert shmem() - before < _TOLERANCE

"""L15 and L17 in their full numbers; `tests/nodes/test_cluster_cases.py` has them in small."""

from __future__ import annotations

from typing import Any

import anyio
import psutil
import pytest

from actors import Topology, nodes
from actors.testing import running_system
from tests.conftest import LOOPS
from tests.nodes.cluster_actors import Host
from tests.nodes.test_cluster_cases import rounds, start_without_descriptors

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what a node does with itself is not the parent's loop's business."""
    return LOOPS["uvloop"]


async def test_l15_256_nodes_do_not_fit_into_128_descriptors(no_leaks: None) -> None:
    with anyio.fail_after(500):
        await start_without_descriptors(128 - psutil.Process().num_fds(), 256)
        async with running_system(Topology(nodes=[nodes("web", count=8)])) as system:
            for slot in range(8):
                host = await system.spawn(Host, on=f"web/{slot}")
                assert await host.ask(Host.pid) > 0


async def test_l17_sixty_nodes_eight_at_a_time_leave_nothing(no_leaks: None) -> None:
    with anyio.fail_after(500):
        descriptors, resident = await rounds(1, 8)
        after = await rounds(7, 8)
    assert after[0] == descriptors
    assert after[1] < 1.2 * resident

"""The metrics of a system that a program makes itself: its own actors and its own metrics are there, too."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY, Counter
from prometheus_client.parser import text_string_to_metric_families

from actors import Actor, System, Topology, nodes
from actors._system.system import coordinator_of


@pytest.fixture
def anyio_backend() -> str:
    """One loop is enough for what is shown."""
    return "asyncio"


class Till(Actor):
    """Takes money."""

    async def pay(self) -> None:
        """Take it."""


@pytest.mark.within(40)
async def test_the_programs_own_actors_and_metrics_are_in_its_metrics() -> None:
    sold = Counter("own_program_sold", "Sold.")
    try:
        topology = Topology(nodes=[nodes("thr", kind="thread")], admin="127.0.0.1:0")
        async with System(topology) as system, httpx.AsyncClient(trust_env=False) as client:
            url = f"http://{coordinator_of(system).admin.access()['address']}/metrics"
            till = await system.spawn(Till)
            await client.get(url)
            await till.ask(Till.pay)
            sold.inc(3)
            found: dict[Any, float] = {
                (sample.name, sample.labels.get("node", "")): sample.value
                for family in text_string_to_metric_families((await client.get(url)).text)
                for sample in family.samples
            }
    finally:
        REGISTRY.unregister(sold)
    assert found["actors_actors", "local"] == 1
    assert found["actors_handler_run_seconds_count", "local"] == 1
    # The thread node is of the same process.
    assert found["own_program_sold_total", ""] == 3

"""What changes in the system while a program is connected: nodes that die, are renewed, come and go."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

import actors
from actors import System, Topology, nodes
from actors.errors import NodeDown
from tests.connect.shop import Counter

PATIENCE = 30


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_program_stays_connected_over_the_death_and_the_renewal_of_nodes(
    folder: Path,
) -> None:
    with anyio.fail_after(PATIENCE):
        async with System(Topology(nodes=[nodes("box")]), control=True) as system:
            await system.spawn(Counter, 1, name="counter", on="box")
            async with actors.connect() as connected:
                counter = await connected.lookup("counter", Counter)
                assert counter is not None
                first = await counter.ask(Counter.pid)
                os.kill(first, signal.SIGKILL)
                with pytest.raises(NodeDown, match="killed by SIGKILL"):
                    await counter.ask(Counter.wait_forever)
                second = await counter.ask(Counter.pid)  # it waits for the restart
                await system.reload("box")
                third = await counter.ask(Counter.pid)
                assert len({first, second, third}) == 3
                async with connected.topic("news").subscribe() as news:
                    await system.scale("box", 2)
                    more = await system.spawn(Counter, name="more", on="box/1")
                    await more.ask(Counter.publish, "news", "from a node that has come later")
                    assert await anext(news) == "from a node that has come later"
                assert [node.name for node in connected.nodes] == ["local", "box/0", "box/1"]
                await system.scale("box", 1)
                assert [node.name for node in connected.nodes] == ["local", "box/0"]

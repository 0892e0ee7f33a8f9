"""Every ask ends, whatever is cancelled meanwhile, and leaves nothing behind; the soak makes 100,000."""

from __future__ import annotations

import anyio

from actors import System, Topology, nodes
from actors.testing import running_system
from tests.end_to_end.many_asks import Asking, clerks_on

ASKS = 2500
NODES = [f"web/{number}" for number in range(4)]


async def test_thousands_of_asks_to_a_hundred_actors_over_four_nodes_all_end(
    no_leaks: None,
) -> None:
    with anyio.fail_after(50):
        async with running_system(Topology(nodes=[nodes("web", count=4)])) as system:
            assert isinstance(system, System)
            asking = Asking(system, await clerks_on(system, NODES), seed=1)
            await asking.ask(ASKS)
            assert asking.ends.total() == ASKS
            known = {"reply", "cancelled", "Refused", "DeadlineExceeded", "CallCycle"}
            assert set(asking.ends) <= known
            assert asking.ends["reply"] > ASKS / 3
            assert asking.ends["cancelled"] > ASKS / 50
            await asking.is_settled()

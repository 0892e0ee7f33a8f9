"""Deadlines between machines whose clocks show other times."""

from __future__ import annotations

import anyio
import pytest

from actors import System, Topology, nodes
from actors._remoting.far_deadlines import FarDeadlines
from actors.errors import DeadlineExceeded
from tests.machines.far_actors import Counter
from tests.namespaces import why_no_namespaces


class Loop:
    """A clock that stands still, and shows some other time."""

    def __init__(self, shows: float) -> None:
        self.shows = shows

    def now(self) -> float:
        return self.shows


@pytest.mark.parametrize("sender, receiver", [(0.0, 0.0), (100_000.0, -3.5), (-7.0, 900_000.0)])
def test_a_deadline_arrives_as_it_was_sent_but_for_what_is_not_known_of_the_clocks(
    sender: float, receiver: float
) -> None:
    """Both are in this process, so that their clocks differ by as much as their offsets say."""
    a, b = FarDeadlines(), FarDeadlines()
    a.set(sender, 0.01)
    b.set(receiver, 0.02)
    at = a.to_wire(Loop(50.0), 53.0)  # type: ignore[arg-type] # all of a loop that is used
    arrived = b.from_wire(Loop(10.0), at)  # type: ignore[arg-type] # as above
    assert arrived - 10.0 == pytest.approx(3.0 + sender - receiver + 0.03, abs=0.01)


AHEAD = ["unshare", "--time", "--boottime", "100000", "--fork"]


WHY_NOT = why_no_namespaces(*AHEAD[1:])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.within(150)
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "none")
async def test_asks_with_deadlines_work_with_a_machine_whose_clock_is_a_day_ahead() -> None:
    on = {"hosts": [{"run": AHEAD}]}
    groups = [nodes("far", engine="hosts", on=on), nodes("box")]
    async with System(Topology(nodes=groups)) as system:
        far, here, box = [await system.spawn(Counter, on=at) for at in ("far/0", "local", "box/0")]
        for asks, asked in ((here, far), (box, far), (far, here), (far, box)):
            assert await asks.within(60).ask(Counter.ask_other, asked, 1) > 0
        with pytest.raises(DeadlineExceeded):
            await far.within(0.2).ask(Counter.wait, 60.0)
        # What is queued behind it when its deadline passes does not run.
        await far.tell(Counter.wait, 1.5)
        with pytest.raises(DeadlineExceeded):
            await far.within(0.3).ask(Counter.add, 1000)
        with anyio.fail_after(60):
            assert await far.ask(Counter.add, 0) < 1000

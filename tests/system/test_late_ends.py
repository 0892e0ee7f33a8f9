"""What `actors stop` and `actors restart` say of actors that take longer than the command waits."""

from __future__ import annotations

import re

import anyio
import pytest

from actors import Actor, Backoff, Exit, System, Topology, nodes
from actors._system.control import actors as control
from actors._system.system import coordinator_of
from actors.cli.client.text import as_late
from actors.testing import crash, eventually
from actors.transport import local

PATIENCE = 20


class Slow(Actor):
    """Ends when it is let."""

    def __init__(self, let: anyio.Event) -> None:
        self._let = let

    async def on_stop(self, _end: Exit) -> None:
        await self._let.wait()


class Prompt(Actor):
    """Ends at once."""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_ENDED_WITHIN", 0.2)


async def test_an_actor_whose_node_backs_off_is_not_back_and_it_is_said_for_how_long() -> None:
    slow = nodes("jobs", backoff=Backoff(first=60.0, cap=60.0))
    with anyio.fail_after(PATIENCE):
        async with System(Topology(nodes=[slow])) as system:
            tally = await system.spawn(Prompt, name="tally", on="jobs")
            await system.spawn(Prompt, name="other")
            core = coordinator_of(system)
            node = next(node for node in system.nodes if node.name == "jobs/0")
            for _ in range(2):  # the first restart comes at once
                await tally.wait_ready()
                await crash(node)
                await eventually(lambda: not core.supervised[tally.uid].running)
            done = await control.end_actors(core, "*", "restart")
    assert done["actors"] == ["other", "tally"]
    assert re.fullmatch(r"waits for jobs/0, which is BACKING_OFF for \d\d s", done["late"]["tally"])
    text = as_late(done).splitlines()
    assert text[-1] == f"  tally {done['late']['tally']}"
    assert re.fullmatch(r"[12] of 2 actors not back after 0\.2 s:", text[0])


async def test_an_actor_that_takes_its_time_has_not_ended() -> None:
    with anyio.fail_after(PATIENCE):
        async with System() as system:
            let = anyio.Event()
            await system.spawn(Slow, local(let), name="tally")
            done = await control.end_actors(coordinator_of(system), "tally", "stop")
            assert done["late"] == {"tally": "has not ended"}
            assert as_late(done) == "1 of 1 actors not gone after 0.2 s:\n  tally has not ended"
            let.set()


async def test_those_that_are_back_in_time_are_not_late() -> None:
    with anyio.fail_after(PATIENCE):
        async with System() as system:
            await system.spawn(Prompt, name="tally")
            done = await control.end_actors(coordinator_of(system), "tally", "restart")
    assert done["late"] == {}

"""Messages are lost or late, actors and nodes die, as a test wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from actors import Actor, System, Topology, nodes
from actors.errors import ActorsError, DeadlineExceeded
from actors.faults import Faults
from actors.testing import running_system
from tests.nodes.node_actors import Victim

pytestmark = pytest.mark.within(20)


class Log(Actor):
    def __init__(self) -> None:
        self.seen: list[int] = []

    async def note(self, n: int) -> None:
        self.seen.append(n)

    async def all(self) -> list[int]:
        return self.seen


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        yield system


async def test_a_dropped_tell_does_nothing_and_a_dropped_ask_waits_for_its_deadline(
    system: System,
) -> None:
    log, other = await system.spawn(Log), await system.spawn(Log)
    with Faults(system) as faults:
        lost = faults.drop(log, Log.note, times=2)
        for n in range(3):
            await log.tell(Log.note, n)
        await other.tell(Log.note, 7)
        assert await log.ask(Log.all) == [2]
        assert await other.ask(Log.all) == [7]
        assert lost.hits == 2
        faults.drop(log)
        with pytest.raises(DeadlineExceeded):
            await log.within(0.1).ask(Log.all)
    assert await log.ask(Log.all) == [2]


async def test_messages_to_a_node_are_lost_by_its_name_or_its_group(system: System) -> None:
    victim = await system.spawn(Victim, on="web")
    node = next(node for node in system.nodes if node.group == "web")
    with Faults(system) as faults:
        for where in (node, "web/0", "web"):
            faults.drop(where, times=1)
            await victim.tell(Victim.note, where if isinstance(where, str) else "node")
        assert await victim.ask(Victim.logged) == []


async def test_a_delayed_message_comes_later_as_it_was_when_it_was_sent(system: System) -> None:
    victim = await system.spawn(Victim, on="web")
    with Faults(system) as faults:
        late = faults.delay(victim, 0.2, Victim.note, times=1)
        value = [1]
        await victim.tell(Victim.note, value)
        value.append(2)
        await victim.tell(Victim.note, "sooner")
        assert await victim.ask(Victim.logged) == ["sooner"]
        assert late.hits == 1
        began = anyio.current_time()
        faults.delay(victim, 0.3, Victim.logged, times=1)
        assert await victim.ask(Victim.logged) == ["sooner", [1]]
        assert anyio.current_time() - began >= 0.299  # a timer may be a millisecond early


async def test_a_delayed_message_to_an_actor_that_has_ended_fails_its_asker(system: System) -> None:
    log = await system.spawn(Log)
    with Faults(system) as faults:
        faults.delay(log, 0.1, Log.all)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.stop)
            with pytest.raises(ActorsError, match="it has ended"):
                await log.ask(Log.all)


async def test_actors_and_nodes_are_killed(system: System) -> None:
    victim, log = await system.spawn(Victim, on="web"), await system.spawn(Log)
    node = next(node for node in system.nodes if node.group == "web")
    pid = node.pid
    await log.tell(Log.note, 1)
    with Faults(system) as faults:
        await faults.kill(node)
        await victim.wait_ready()
        assert await victim.ask(Victim.pid) != pid
        await faults.kill(log)
        await log.wait_ready()
        assert await log.ask(Log.all) == []


async def test_what_cannot_be_is_refused(system: System) -> None:
    with Faults(system) as faults:
        with pytest.raises(ActorsError, match="faults are for an actor's ref, a node, or the name"):
            faults.drop(7)  # type: ignore[arg-type] # that is the test
        with pytest.raises(ActorsError, match="times must be a whole number of 1 or more, got 0"):
            faults.drop("web", times=0)
        with pytest.raises(ActorsError, match="seconds must be 0 or more, got -1"):
            faults.delay("web", -1)
        with pytest.raises(ActorsError, match="kill takes an actor's ref or a node, got 'web'"):
            await faults.kill("web")  # type: ignore[arg-type] # that is the test

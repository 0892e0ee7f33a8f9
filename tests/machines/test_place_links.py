"""Two nodes of one place talk as two of one machine do: over a socket pair of their agent, by shared memory."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import anyio
import psutil
import pytest

from actors import Backoff, Ref, System, Topology, nodes
from actors.testing import eventually, running_system
from tests.contracts.payloads import KINDS, LARGE, SHARED, SMALL, expected
from tests.leaks import census
from tests.machines.place_actors import Talker
from tests.machines.places_of_a_test import alive, place_of

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]

TWO_PLACES = Topology(
    nodes=[
        nodes("at", count=4, engine="hosts", on={"hosts": [{}, {}]}, backoff=Backoff(first=0.0))
    ],
    patience=60.0,
)
"""Nodes 0 and 2 are at one place, 1 and 3 at another."""
A_LEASE = 16 * LARGE
"""Bytes that go by lease, as soon as there is memory for them."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


Talkers = list[Ref[Talker]]


@pytest.fixture
async def system(no_leaks: None, anyio_backend: Any) -> AsyncIterator[System]:
    async with running_system(TWO_PLACES) as system:
        yield system


@pytest.fixture
async def talkers(system: System) -> Talkers:
    """One on each node."""
    return [await system.spawn(Talker, on=f"at/{slot}") for slot in range(4)]


async def _figures(system: System, node: str) -> dict[str, Any]:
    found = next(one for one in system.nodes if one.name == node)
    return await found.stats()


def _ports(system: System) -> list[str]:
    """Return which nodes let anybody connect."""
    pids = {node.name: node.pid for node in system.nodes if node.place}
    listening = psutil.CONN_LISTEN
    return [
        name
        for name, pid in pids.items()
        if any(one.status == listening for one in psutil.Process(pid).net_connections("inet"))
    ]


async def test_what_may_be_sent_within_a_place_is_all_that_goes_on_one_machine(
    talkers: Talkers,
) -> None:
    one, elsewhere, beside, _ = talkers
    for size in (SMALL, LARGE, LARGE):
        for kind in KINDS:
            assert await one.ask(Talker.send, beside, kind, size) == expected(kind, size), kind
            found = await one.ask(Talker.send, elsewhere, kind, size)
            if kind in SHARED:
                assert "cannot leave this machine" in found, kind
            else:
                assert found == expected(kind, size), kind
    assert await one.ask(Talker.count_together, beside, 100) == 200
    assert await one.ask(Talker.be_answered, beside) == b"hello"


async def test_nodes_let_others_connect_only_for_another_place(
    system: System, talkers: Talkers
) -> None:
    one, elsewhere, beside, _ = talkers
    await one.ask(Talker.talk, beside, 1)
    await beside.ask(Talker.talk, one, 1)
    assert _ports(system) == []
    await one.ask(Talker.talk, elsewhere, 1)
    assert _ports(system) == ["at/1"]


async def test_who_asks_each_other_at_once_has_one_link(system: System, talkers: Talkers) -> None:
    one, _, beside, _ = talkers
    asked = [await system.spawn(Talker, on=ref.node) for ref in (beside, one)]
    before, _ = await one.ask(Talker.open)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.ask, Talker.talk, asked[0], 1)
        tasks.start_soon(beside.ask, Talker.talk, asked[1], 1)
    after, _ = await one.ask(Talker.open)
    assert after == before + 1
    assert set((await _figures(system, "at/0"))["links"]) == {"local", "at/2"}


async def test_what_a_killed_node_had_borrowed_comes_back(system: System, talkers: Talkers) -> None:
    one, _, beside, _ = talkers
    with anyio.fail_after(30):
        while not (await _figures(system, "at/0"))["memory"]["leases"]:
            await one.ask(Talker.have_kept, beside, "view", A_LEASE, 3)
    with pytest.raises(Exception, match="SIGKILL"):
        await beside.ask(Talker.kill_process)
    await one.ask(Talker.talk_on, beside)
    memory = (await _figures(system, "at/0"))["memory"]
    assert (memory["leases"], memory["held"]) == (0, 0)
    assert memory["reclaimed"] > 0
    with anyio.fail_after(30):  # and goes to the next one
        while not (await _figures(system, "at/0"))["memory"]["leases"]:
            await one.ask(Talker.have_kept, beside, "view", A_LEASE, 1)


async def test_what_a_killed_node_had_lent_stays_with_who_has_it_and_no_longer(
    system: System, talkers: Talkers
) -> None:
    one, _, beside, _ = talkers
    before = await one.ask(Talker.open)
    with anyio.fail_after(30):
        while not (await _figures(system, "at/0"))["memory"]["mapped_leases"]:
            await beside.ask(Talker.have_kept, one, "view", A_LEASE, 1)
    with pytest.raises(Exception, match="SIGKILL"):
        await beside.ask(Talker.kill_process)
    assert set(await one.ask(Talker.kept_ones)) == {expected("view", A_LEASE)}
    await one.ask(Talker.drop)
    await eventually(lambda: _is(one, before), within=20)


async def _is(one: Ref[Talker], wanted: tuple[int, int]) -> bool:
    return (await one.ask(Talker.open)) == wanted


def _descriptors(pid: int) -> int:
    return psutil.Process(pid).num_fds()


async def test_nodes_that_are_killed_while_others_talk_to_them_leave_nothing(
    system: System, talkers: Talkers
) -> None:
    one, _, beside, _ = talkers
    agent = place_of(system, "at/0").pid

    async def killed_once() -> None:
        await one.ask(Talker.have_kept, beside, "view", A_LEASE, 2)
        await beside.ask(Talker.have_kept, one, "view", A_LEASE, 2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.ask, Talker.talk_on, beside)
            await beside.tell(Talker.kill_process)
        await one.ask(Talker.talk_on, beside)
        await one.ask(Talker.drop)

    await killed_once()
    shared = {one for one in census() if "/dev/shm" in one}
    before = await one.ask(Talker.open)
    of_agent = _descriptors(agent)
    for _ in range(5):
        await killed_once()
    await eventually(lambda: _at_most(one, before), within=20)
    await eventually(lambda: _descriptors(agent) <= of_agent, within=20)
    assert {one for one in census() if "/dev/shm" in one} == shared


async def _at_most(one: Ref[Talker], wanted: tuple[int, int]) -> bool:
    found = await one.ask(Talker.open)
    return all(now <= before for now, before in zip(found, wanted, strict=True))


async def test_kill_9_of_an_agent_ends_all_its_links_and_the_next_place_has_its_own(
    system: System, talkers: Talkers
) -> None:
    one, _, beside, _ = talkers
    await one.ask(Talker.have_kept, beside, "view", A_LEASE, 3)
    gone = place_of(system, "at/0")
    pids = [await talker.ask(Talker.pid) for talker in (one, beside)]
    os.kill(gone.pid, signal.SIGKILL)
    await eventually(lambda: gone.over, within=20)
    assert not any(map(alive, [gone.pid, *pids]))
    await one.ask(Talker.talk_on, beside)
    assert await one.ask(Talker.count_together, beside, 10) == 20
    assert place_of(system, "at/0").key == place_of(system, "at/2").key != gone.key


async def test_an_agent_that_is_stopped_keeps_nobody_from_who_is_linked_already(
    system: System, talkers: Talkers
) -> None:
    one, _, beside, _ = talkers
    await one.ask(Talker.talk, beside, 1)
    agent = place_of(system, "at/0").pid
    os.kill(agent, signal.SIGSTOP)
    try:
        await one.ask(Talker.talk, beside, 100)
    finally:
        os.kill(agent, signal.SIGCONT)
    await beside.ask(Talker.talk, one, 1)


async def test_a_reload_links_the_new_processes_of_a_place_to_each_other(
    system: System, talkers: Talkers
) -> None:
    one, _, beside, _ = talkers
    await one.ask(Talker.talk, beside, 1)
    for surge in (False, True):
        await system.reload(surge=surge)
        assert await one.ask(Talker.count_together, beside, 10) == 20
        assert _ports(system) == []

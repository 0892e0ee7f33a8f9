"""What two agents count of connections that one passes on to the other, and how many they take."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import pytest

from actors import Sticky, keys, listen
from actors._base.loop import Loop
from actors._base.run_loop import open_loop
from actors.machines import passing
from actors.machines.passing import Passing, Sharing
from actors.routing import Router
from actors.testing import eventually
from tests.machines.conftest import material
from tests.routing.serving_nodes import FakeNode, connect

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@dataclass
class Machine:
    """The agent of a machine, with one listener and one node."""

    loop: Loop
    slot: int
    max_connections: int | None = None
    events: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place = f"far@{self.slot}#1"
        spec = listen(
            "app:handle",
            "127.0.0.1:0",
            policy=Sticky(keys.ip()),
            max_pending=1,
            max_connections=self.max_connections,
            name="web",
        )
        self.router = Router(spec, self.loop, self.events.append)
        self.router.open()
        self.node = FakeNode(self.router, f"far/{self.slot}", self.slot)
        self.router.add_node(self.node)
        own = lambda: (material("run 1"), "127.0.0.1", 10.0)  # noqa: E731
        self.passing = Passing(self.loop, own, lambda _: self.router)
        self.way = self.passing.open(self.router)

    def close(self) -> None:
        self.passing.close()
        self.node.close()
        self.router.close()


class Pair:
    """Two of them: all keys belong to the second one."""

    def __init__(self, loop: Loop) -> None:
        self.here, self.there = Machine(loop, 0), Machine(loop, 1, max_connections=1)
        self.clients: list[socket.socket] = []
        self.share(self.here, self.there)

    def share(self, *machines: Machine, shutdown: float = 0.0) -> None:
        ways = {one.place: one.way for one in machines}
        for one in machines:
            slots = {self.there.slot: self.there.place}
            one.passing.share(
                "web", Sharing(here=one.place, slots=slots, ways=ways, shutdown=shutdown)
            )

    def connect(self, machine: Machine) -> socket.socket:
        made = connect(machine.router)
        self.clients.append(made)
        return made

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for machine in (self.here, self.there):
            machine.close()


@pytest.fixture
async def pair(anyio_backend: Any) -> AsyncIterator[Pair]:
    async with open_loop() as loop:
        made = Pair(loop)
        yield made
        made.close()


def _figures(machine: Machine) -> tuple[int, int, int, int]:
    now = machine.router.snapshot()
    return now.accepted, now.pending, now.passed_on, now.passing


async def _until(expected: Callable[[], bool]) -> None:
    await eventually(expected, within=20)


async def _fill(pair: Pair) -> None:
    """Give the second machine as many as its node takes, and as many as may be pending."""
    for count in (1, 2):
        pair.connect(pair.there)
        await _until(partial(_has_accepted, pair.there, count))


async def _offer_without_room(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """Have the first machine offer one for which the second has no room, and wait for it; return the client."""
    monkeypatch.setattr(passing, "_WITHIN", 60.0)
    await _fill(pair)
    client = pair.connect(pair.here)
    await _until(lambda: len(pair.there.passing._arrivals) == 1)
    return client


def _has_accepted(machine: Machine, count: int) -> bool:
    return machine.router.snapshot().accepted == count


async def test_a_connection_that_is_passed_on_is_counted_where_it_came_until_it_ends(
    pair: Pair,
) -> None:
    client = pair.connect(pair.here)
    await _until(lambda: _figures(pair.here) == (1, 0, 1, 1))
    assert len(pair.there.node.got) == 1
    assert _figures(pair.there) == (0, 0, 0, 0)
    assert [node.open for node in pair.there.router.snapshot().nodes] == [1]
    client.close()
    pair.there.node.finish(1)
    await _until(lambda: _figures(pair.here) == (1, 0, 1, 0))


async def test_a_machine_without_room_takes_none_until_it_has_some(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has not taken is pending where it came, and nothing more is accepted there."""
    await _offer_without_room(pair, monkeypatch)
    assert _figures(pair.here) == (1, 1, 0, 0)
    assert not pair.here.router.snapshot().accepting
    pair.there.node.finish(1)
    await _until(lambda: _figures(pair.here) == (1, 0, 1, 1))
    assert pair.here.router.snapshot().accepting
    assert not pair.here.node.got


async def test_what_a_machine_has_no_room_for_in_time_is_served_where_it_came(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "_WITHIN", 0.5)
    await _fill(pair)
    pair.connect(pair.here)
    await _until(lambda: len(pair.here.node.got) == 1)
    assert _figures(pair.here) == (1, 0, 0, 0)
    await _until(lambda: not pair.there.passing._arrivals)
    pair.there.node.finish(1)
    assert len(pair.there.node.got) == 2, "what was served elsewhere is not served again"


async def test_a_machine_that_leaves_turns_away_what_it_has_not_taken_at_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _offer_without_room(pair, monkeypatch)
    pair.there.passing.leave()
    await _until(lambda: len(pair.here.node.got) == 1)


async def test_when_a_machine_is_lost_what_was_passed_on_to_it_and_by_it_ends(pair: Pair) -> None:
    client = pair.connect(pair.here)
    await _until(lambda: _figures(pair.here)[3] == 1)
    pair.share(pair.here)
    await _until(lambda: _figures(pair.here)[3] == 0)
    assert client.recv(1) == b""
    again = pair.connect(pair.here)
    await _until(lambda: len(pair.here.node.got) == 1)
    pair.share(pair.here, pair.there)
    assert pair.here.node.socks, "what is served where it came stays"
    again.close()


async def test_an_agent_that_drains_waits_for_what_it_offers_to_others(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.share(pair.here, pair.there, shutdown=60.0)
    client = await _offer_without_room(pair, monkeypatch)
    drained = anyio.Event()

    async def drain() -> None:
        await pair.here.passing.drain()
        drained.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain)
        await anyio.wait_all_tasks_blocked()
        assert not drained.is_set()
        pair.there.node.finish(1)
        await _until(lambda: _figures(pair.here)[3] == 1)
        assert not drained.is_set()
        client.close()
        pair.there.node.finish(2)
        await _until(lambda: len(pair.there.node.got) == 3)
        pair.there.node.finish(3)

"""A thread that talks with another looks for the next message for a moment, and is not woken meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio.lowlevel
import pytest

from actors import Actor, System, Topology, nodes
from actors.transport import Lane, endpoint_pair
from actors.transport.testing import ManualLoop
from actors.transport.types.twins import COMPILED
from tests.transport.test_thread_channel import Side, settle

pytestmark = pytest.mark.skipif(COMPILED is None, reason="the C extensions are not compiled here")

Pair = Callable[..., tuple[Side, Side]]


@pytest.fixture
def talking_sides(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two sides of which each may look when it has had one message."""
    sides: list[Side] = []

    def make(*, after: int = 1, second_cpu: bool = True) -> tuple[Side, Side]:
        monkeypatch.setenv("ACTORS_RING_AT", str(after))
        one, other = endpoint_pair()
        sides[:] = Side(one, ManualLoop()), Side(other, ManualLoop())
        for side in sides:
            side.channel.bell_watch.allow(lambda: second_cpu)
            side.loop.settle()
        return sides[0], sides[1]

    yield make
    for side in sides:
        side.channel.close()


def wakes(side: Side) -> int:
    """How often this side has woken the other one."""
    return side.channel.stats().frames_sent


def test_who_looks_is_not_woken_and_finds_the_message(talking_sides: Pair) -> None:
    a, b = talking_sides()
    a.tell(0)
    b.loop.turn()
    assert (b.got, wakes(a)) == ([0], 1)

    a.tell(1)
    b.loop.turn()

    assert (b.got, wakes(a)) == ([0, 1], 1)


def test_control_and_what_is_packed_are_found_too(talking_sides: Pair) -> None:
    a, b = talking_sides()
    a.tell(0)
    b.loop.turn()

    a.tell(memoryview(b"packed"))
    a.tell("control", Lane.CONTROL)
    settle(b)

    assert [bytes(got) if type(got) is memoryview else got for got in b.got] == [
        0,
        "control",
        b"packed",
    ]
    assert wakes(a) == 1


def test_who_has_found_nothing_for_a_moment_sleeps_and_is_woken(talking_sides: Pair) -> None:
    a, b = talking_sides()
    a.tell(0)
    settle(b)

    a.tell(1)

    assert wakes(a) == 2
    settle(b)
    assert b.got == [0, 1]


@pytest.mark.parametrize(
    "case",
    [{"second_cpu": False}, {"after": 0}, {"after": 1000}],
    ids=["one CPU", "never", "not yet"],
)
def test_nobody_looks(talking_sides: Pair, case: dict[str, Any]) -> None:
    a, b = talking_sides(**case)
    for n in range(3):
        a.tell(n)
        b.loop.turn()

    assert (b.got, wakes(a)) == ([0, 1, 2], 3)


def test_a_channel_that_ends_while_it_looks_is_left_alone(talking_sides: Pair) -> None:
    a, b = talking_sides()
    a.tell(0)
    b.loop.turn()

    b.channel.close()
    a.channel.close()
    settle(a, b)

    assert b.ends == [None]


def test_looking_ends_by_itself_where_it_finds_nothing(talking_sides: Pair) -> None:
    a, b = talking_sides()
    for n in range(20):
        a.tell(n)
        settle(b)  # to the end of the window, which finds nothing
    before = wakes(a)

    a.tell("last")
    b.loop.turn()
    a.tell("one more")

    assert wakes(a) == before + 2, "it no longer looks"


class Echo(Actor):
    async def say(self, value: int) -> int:
        return value

    async def say_later(self, value: int) -> int:
        await anyio.sleep(0.0001)
        return value


@pytest.mark.parametrize("method", [Echo.say, Echo.say_later], ids=["at once", "later"])
async def test_asks_and_timers_have_their_turns_while_threads_look(
    monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    monkeypatch.setenv("ACTORS_RING_AT", "1")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async with System(Topology(nodes=[nodes("w", kind="thread")])) as system:
        echo = await system.spawn(Echo, on="w")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            answers = [await echo.ask(method, number) for number in range(300)]
            tasks.cancel_scope.cancel()

    assert answers == list(range(300))
    assert ticks > 300


def test_a_bell_is_looked_at_with_another_bell() -> None:
    one, other = endpoint_pair()
    with pytest.raises(TypeError, match="look takes the bell of the other queue"):
        one.inbound.bell.look(None)
    with pytest.raises(TypeError, match="ring takes the bell of the other queue"):
        one.inbound.bell.ring(None)
    one.close()
    other.close()

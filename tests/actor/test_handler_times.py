"""How long messages wait and run, and their CPU time, is measured while somebody looks, and only then."""

from __future__ import annotations

import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors import Actor, System, Topology, concurrent, nodes
from actors._actor.handler_times import Steps
from actors._actor.message_watch import MessageWatch
from actors._base.durations import Histogram
from actors._system.system import coordinator_of
from actors.nodes import handler_stats
from actors.testing import eventually

pytestmark = pytest.mark.within(20)


class Baker(Actor):
    """Bakes, and waits for the oven."""

    def __init__(self) -> None:
        self.ticks = 0

    async def bake(self) -> str:
        return "bread"

    async def knead(self, seconds: float) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    async def rest(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def fail(self) -> None:
        raise ValueError("burnt")

    @concurrent
    async def beside(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def begin(self) -> None:
        self.context.timers.every(0.001, Baker.tick)

    async def tick(self) -> None:
        self.ticks += 1


class Mill(Actor, blocking=True):
    """Computes in its own thread."""

    def grind(self, seconds: float) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass


def measured(host: Any) -> dict[str, dict[str, Any]]:
    return {shown["method"]: shown for shown in handler_stats(host.times.raw())}


async def test_while_somebody_looks_handlers_show_their_times_and_before_and_after_nothing() -> (
    None
):
    async with System() as system:
        host = coordinator_of(system).host
        baker = await system.spawn(Baker, name="baker")
        plain = type(host.cells[baker.uid])
        await baker.ask(Baker.bake)
        assert host.times.raw() == []
        with host.times.looking():
            late = await system.spawn(Baker, name="late")
            for who in (baker, late):
                assert await who.ask(Baker.bake) == "bread"
            await baker.ask(Baker.knead, 0.05)
            await baker.ask(Baker.rest, 0.05)
            await baker.ask(Baker.beside)
        found = measured(host)
        assert set(found) == {"bake", "knead", "rest", "beside"}
        assert found["bake"]["run"]["count"] >= 2
        assert found["bake"]["class"].endswith(":Baker")
        assert found["knead"]["run"]["longest"] >= 0.05
        assert found["knead"]["cpu_seconds"] >= 0.05
        assert (
            found["rest"]["run"]["longest"] >= 0.04
        )  # timers of uvloop may be a millisecond early
        assert found["rest"]["cpu_seconds"] < 0.05
        assert host.times.cpu[baker.uid] >= 0.05
        for who in (baker, late):
            assert type(host.cells[who.uid]) is plain
        await baker.ask(Baker.bake)
        assert measured(host) == found


async def test_a_message_that_waits_behind_another_shows_how_long() -> None:
    async with System() as system:
        host = coordinator_of(system).host
        baker = await system.spawn(Baker)
        with host.times.looking():
            await baker.tell(Baker.knead, 0.1)
            await baker.ask(Baker.bake)
        assert measured(host)["bake"]["wait"]["longest"] >= 0.09


async def test_those_who_look_at_the_same_time_see_the_same_until_the_last_has_gone() -> None:
    async with System() as system:
        host = coordinator_of(system).host
        baker = await system.spawn(Baker)
        host.times.begin()
        with host.times.looking():
            await baker.ask(Baker.bake)
        await baker.ask(Baker.rest, 0)
        assert host.times.on
        host.times.end()
        assert not bool(host.times.on)
        assert set(measured(host)) == {"bake", "rest"}


async def test_it_goes_on_for_a_while_after_the_last_who_asked() -> None:
    async with System() as system:
        host = coordinator_of(system).host
        host.times.begin_for(0.2, host.loop)
        began = host.loop.now()
        host.times.begin_for(0.4, host.loop)
        await eventually(lambda: not host.times.on)
        assert host.loop.now() - began >= 0.4
        host.times.begin_for(0.01, host.loop)
        assert host.times.on
        await eventually(lambda: not host.times.on)


async def test_of_many_messages_some_are_measured_and_count_for_all() -> None:
    many = 3000
    async with System() as system:
        host = coordinator_of(system).host
        baker = await system.spawn(Baker)
        with host.times.looking():
            for _ in range(many):
                await baker.ask(Baker.bake)
            assert host.times._stride > 1
            counted = measured(host)["bake"]["run"]["count"]
        assert many / 2 < counted <= many + 1


async def test_an_error_of_a_measured_message_goes_where_it_would_go() -> None:
    async with System() as system:
        host = coordinator_of(system).host
        baker = await system.spawn(Baker)
        with host.times.looking():
            with pytest.raises(ValueError, match="burnt"):
                await baker.ask(Baker.fail)
            with anyio.move_on_after(0.01) as late:
                await baker.ask(Baker.rest, 3600)
            assert late.cancelled_caught
            assert await baker.ask(Baker.bake) == "bread"
        assert measured(host)["rest"]["run"]["longest"] < 60


async def test_messages_of_timers_are_measured_too() -> None:
    async with System() as system:
        host = coordinator_of(system).host
        baker = await system.spawn(Baker)
        with host.times.looking():
            await baker.ask(Baker.begin)
            await eventually(lambda: "tick" in measured(host))
        assert measured(host)["tick"]["wait"]["count"] == 0


async def test_the_thread_of_a_blocking_actor_counts_as_its_cpu_time() -> None:
    async with System() as system:
        host = coordinator_of(system).host
        mill = await system.spawn(Mill)
        with host.times.looking():
            await mill.ask(Mill.grind, 0.05)
        assert host.times.cpu[mill.uid] >= 0.05


class Far(Actor):
    """Tells a baker of another node."""

    async def order(self, baker: Any, many: int) -> None:
        for _ in range(many):
            await baker.tell(Baker.bake)
        await baker.ask(Baker.beside)


async def test_tells_of_another_node_are_measured() -> None:
    async with System(Topology(nodes=[nodes("thr", kind="thread")])) as system:
        host = coordinator_of(system).host
        baker = await system.spawn(Baker)
        far = await system.spawn(Far, on="thr")
        with host.times.looking():
            await far.ask(Far.order, baker, 50)
        assert measured(host)["bake"]["wait"]["count"] >= 1


async def test_an_actor_may_be_traced_and_measured_in_any_order() -> None:
    async with System() as system:
        host = coordinator_of(system).host
        baker = await system.spawn(Baker)
        cell = host.cells[baker.uid]
        plain = type(cell)
        watch = MessageWatch(cell, host.loop, 100)
        with host.times.looking():
            await baker.ask(Baker.bake)
            watch.close()
            await baker.ask(Baker.bake)
            other = MessageWatch(cell, host.loop, 100)
            await baker.ask(Baker.rest, 0)
            other.close()
        assert type(cell) is plain
        assert set(measured(host)) == {"bake", "rest"}


async def test_actors_that_have_ended_are_forgotten() -> None:
    async with System() as system:
        host = coordinator_of(system).host
        with host.times.looking():
            for _ in range(3):
                baker = await system.spawn(Baker)
                await baker.ask(Baker.bake)
                await baker.stop()
                await baker.wait()
            host.times._handled.update(dict.fromkeys(range(-5000, 0), 0))
            host.times._adapt()
            assert set(host.times.cpu) <= set(host.cells)


def test_the_steps_of_a_coroutine_end_and_fail_as_it_does() -> None:
    async def inner(value: int) -> int:
        if value < 0:
            raise ValueError(value)
        return value

    async def outer(value: int) -> int:
        found: int = await Steps(inner(value))
        return found

    with pytest.raises(StopIteration) as ended:
        outer(5).send(None)
    assert ended.value.value == 5
    with pytest.raises(ValueError, match="-1"):
        outer(-1).send(None)


def test_histograms_of_several_nodes_are_added_up() -> None:
    one, other = Histogram(), Histogram()
    one.add(0.001)
    one.add_many(0.1, 3)
    other.add_many(10.0, 2)

    one.merge(other.raw())

    assert one.read().count == 6
    assert one.read().longest == 10
    assert one.up_to([0, 96, 144, 200]) == [0, 1, 4, 6]

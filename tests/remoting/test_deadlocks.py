"""Waits that lead in a circle over several nodes are named, whoever began them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import pytest

from actors import Ref, System, Topology, nodes
from actors.errors import CallCycle
from actors.testing import Probe, running_system
from tests.conftest import LOOPS
from tests.remoting.waiting_actors import Door, Member


@pytest.fixture(scope="module", params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None, anyio_backend: object) -> AsyncIterator[System]:
    groups = [nodes("left"), nodes("right", backend="trio"), nodes("beside", kind="thread")]
    async with running_system(Topology(nodes=groups)) as system:
        yield system


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks_in_file: None) -> None:
    """The system is the file's, and so is the census."""


@pytest.fixture
async def probe(system: System) -> Probe:
    return await Probe.start(system)


_numbers = itertools.count(1)


async def members(
    system: System, places: Sequence[str], probe: Probe | None = None, **options: Any
) -> list[Ref[Member]]:
    """Start one member for each place, called by letters."""
    number = next(_numbers)
    ref = None if probe is None else probe.ref
    return [
        await system.spawn(Member, ref, on=place, name=f"{letter}{number}", **options)
        for letter, place in zip("abcdef", places, strict=False)
    ]


def names(error: CallCycle, *circle: Ref[Any]) -> bool:
    """Whether an error names that circle, whoever of it comes first."""
    turned = [[*circle[at:], *circle[:at], circle[at]] for at in range(len(circle))]
    return any(str(error).endswith(" -> ".join(ref.name for ref in way)) for way in turned)


async def until(system: System, who: Ref[Any], holds: Callable[[dict[str, Any]], bool]) -> None:
    """Return when it holds of the figures of *who*."""
    node = next(node for node in system.nodes if node.name == who.node)
    while True:
        actors = (await node.stats())["actors"]
        if any(holds(actor) for actor in actors if actor["uid"] == who.uid):
            return
        await anyio.sleep(0.002)


async def until_waiting(system: System, who: Ref[Any], whom: Ref[Any]) -> None:
    """Return when *who* waits for *whom*."""
    await until(system, who, lambda figures: whom.name in figures["waiting_for"])


class Result:
    """What asking came to."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: CallCycle | None = None

    async def of(self, ref: Ref[Any], method: Any, *args: Any) -> None:
        try:
            self.value = await ref.ask(method, *args)
        except CallCycle as error:
            self.error = error


@pytest.mark.parametrize(
    "places",
    [
        ["left", "right"],
        ["left", "local", "right"],
        ["left", "left", "right"],
        ["left", "right", "right"],
        ["beside", "left", "local", "local", "right", "beside"],
    ],
    ids=" ".join,
)
async def test_a_chain_of_calls_over_nodes_is_refused_where_it_would_close(
    system: System, places: list[str]
) -> None:
    ring = await members(system, places)
    with anyio.fail_after(20):
        with pytest.raises(CallCycle) as caught:
            await ring[0].ask(Member.go_round, [*ring[1:], ring[0]])
        # The one that closes it is refused, and nobody else: it was not sent.
        assert caught.value.ref == ring[0]
        assert caught.value.message is not None
        assert caught.value.message[0] == "go_round"
        assert names(caught.value, *ring), str(caught.value)
        for member in ring:
            assert await member.ask(Member.name) == member.name


async def test_a_circle_that_begins_behind_the_first_caller_is_named_without_it(
    system: System,
) -> None:
    a, b, c = await members(system, ["left", "right", "beside"])
    with anyio.fail_after(20):
        with pytest.raises(CallCycle) as caught:
            await a.ask(Member.go_round, [b, c, b])
        assert names(caught.value, b, c), str(caught.value)
        assert a.name not in str(caught.value)


async def test_a_concurrent_handler_does_not_hide_who_waits_for_it(system: System) -> None:
    with anyio.fail_after(20):
        for places in (["left", "right"], ["left", "left"]):
            a, b = await members(system, places)
            with pytest.raises(CallCycle) as caught:
                await a.ask(Member.start_beside, b, [a])
            assert caught.value.ref == a


async def test_a_generator_that_asks_its_reader_is_refused(system: System) -> None:
    with anyio.fail_after(20):
        for places in (["left", "right"], ["right", "right"]):
            reader, other = await members(system, places)
            with pytest.raises(CallCycle) as caught:
                await reader.ask(Member.read_about_itself, other)
            assert caught.value.ref == reader


async def test_a_chain_that_does_not_close_is_left_alone(system: System) -> None:
    a, b, c, d = await members(system, ["left", "right", "left", "right"])
    with anyio.fail_after(20):
        assert await a.ask(Member.go_round, [b, c, d]) == d.name
        # The same actors again, now that nobody waits.
        assert await d.ask(Member.go_round, [c, b, a]) == a.name
        assert await a.ask(Member.start_beside, b, [c, d]) == d.name


@pytest.mark.parametrize(
    "places",
    [["left", "right"], ["left", "right", "local"], ["left", "left", "right", "right"]],
    ids=" ".join,
)
async def test_waits_that_began_independently_are_found(
    system: System, probe: Probe, places: list[str]
) -> None:
    for last in range(len(places)):
        ring = await members(system, places, probe)
        # The waits begin one after the other; which of them closes the circle makes no difference.
        order = [*range(last + 1, len(ring)), *range(last + 1)]
        results = [Result() for _ in ring]
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                doors = [await system.spawn(Door, on="local") for _ in ring]
                for index, member in enumerate(ring):
                    friend = ring[(index + 1) % len(ring)]
                    asked = (member, Member.ask_after, doors[index], friend)
                    tasks.start_soon(results[index].of, *asked)
                    await probe.expect(("waits", member.name))
                for index in order[:-1]:
                    await doors[index].tell(Door.open)
                    await until_waiting(system, ring[index], ring[(index + 1) % len(ring)])
                await doors[order[-1]].tell(Door.open)
        errors = [result.error for result in results if result.error is not None]
        assert errors, [result.value for result in results]
        for error in errors:
            assert error.ref in ring
            assert error.message == ("name", (), {})
            assert names(error, *ring), str(error)


async def test_a_wait_for_room_in_a_mailbox_counts(system: System, probe: Probe) -> None:
    a, b = await members(system, ["left", "right"], probe, mailbox=1)
    door = await system.spawn(Door, on="local")
    first, second = Result(), Result()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.of, a, Member.ask_after, door, b)
            tasks.start_soon(second.of, b, Member.ask_after, door, a)
            await probe.next()
            await probe.next()
            await a.tell(Member.note, "full")
            await b.tell(Member.note, "full")
            await door.tell(Door.open)
    assert first.error or second.error


async def test_a_reader_that_waits_for_an_item_counts(system: System, probe: Probe) -> None:
    with anyio.fail_after(20):
        for places in (["left", "right"], ["left", "left"]):
            a, b = await members(system, places, probe)
            door = await system.spawn(Door, on="local")
            asking, reading = Result(), Result()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(asking.of, a, Member.ask_after, door, b)
                await probe.expect(("waits", a.name))
                tasks.start_soon(reading.of, b, Member.read, a)
                await until_waiting(system, b, a)
                await door.tell(Door.open)
            assert asking.error or reading.error
            assert asking.error or asking.value == b.name
            assert reading.error or reading.value == [a.name] * 3


async def test_what_waits_for_a_concurrent_handler_is_in_no_circle(
    system: System, probe: Probe
) -> None:
    with anyio.fail_after(20):
        for places in (["left", "right"], ["left", "left"]):
            a, b = await members(system, places, probe)
            held, door = [await system.spawn(Door, on="local") for _ in range(2)]
            waiting, asking = Result(), Result()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(waiting.of, a, Member.ask_held, b, held)
                # Not only asked: a message that b has not taken waits for what b does next.
                await probe.expect(("holds", b.name))
                await until_waiting(system, a, b)
                tasks.start_soon(asking.of, b, Member.ask_after, door, a)
                await probe.expect(("waits", b.name))
                await door.tell(Door.open)
                await until_waiting(system, b, a)
                # More than any question takes: b waits for a, and a for what b does beside that.
                await anyio.sleep(0.25)
                await held.tell(Door.open)
            assert waiting.value == b.name
            assert asking.value == a.name


async def test_who_has_been_answered_waits_no_more(system: System, probe: Probe) -> None:
    with anyio.fail_after(20):
        for places in (["left", "left"], ["left", "right"]):
            a, b = await members(system, places, probe)
            door = await system.spawn(Door, on="local")
            held, asked, asking = Result(), Result(), Result()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(held.of, b, Member.hold, door)
                await probe.expect(("holds", b.name))
                tasks.start_soon(asked.of, a, Member.go_round, [b])
                # It has come: the other way round it would be a circle.
                await until(system, b, lambda figures: figures["mailbox"] == 1)
                tasks.start_soon(asking.of, b, Member.go_round, [a])
                await until(system, b, lambda figures: figures["mailbox"] == 2)
                # In one turn b answers a and asks it: a has not seen the answer yet.
                await door.tell(Door.open)
            assert (asked.error, asking.error) == (None, None)
            assert (asked.value, asking.value) == (b.name, a.name)


async def test_a_task_beside_the_messages_may_ask_its_own_actor(
    system: System, probe: Probe
) -> None:
    (member,) = await members(system, ["left"], probe)
    with anyio.fail_after(20):
        await member.ask(Member.ask_itself_in_task)
        await probe.expect(("asked itself", member.name))

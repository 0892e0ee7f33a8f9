"""Every message of a system that traces them is an event; of any other system, none is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from actors import Buffer, Node, Ref, SharedBuffer, System, Topology, move, nodes
from actors._events import EventStream
from actors.testing import running_system
from tests.actors.circles import Member
from tests.conftest import LOOPS

MIB = 1024 * 1024


@pytest.fixture(scope="module", params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None, anyio_backend: object) -> AsyncIterator[System]:
    groups = [nodes("left"), nodes("beside", kind="thread")]
    async with running_system(Topology(nodes=groups, trace=True)) as system:
        yield system


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks_in_file: None) -> None:
    """The system is the file's, and so is the census."""


@pytest.fixture
def events(system: System) -> Iterator[EventStream]:
    events = system.events()
    yield events
    events.close()


async def next_message(events: EventStream) -> dict[str, Any]:
    """Return the facts of the next message; every other event is passed over."""
    while True:
        event = await anext(events)
        if event.kind == "message":
            return dict(event.facts)


async def told(events: EventStream, ref: Ref[Member], value: Any) -> tuple[str, int]:
    """Tell *ref* a value; return how it travelled, and its bytes."""
    await ref.tell(Member.note, value)
    facts = await next_message(events)
    assert facts["actor"] == ref.name
    return facts["mode"], facts["bytes"]


async def test_a_message_is_an_event_with_all_that_is_known_of_it(
    system: System, events: EventStream
) -> None:
    here, there = [await system.spawn(Member, on=on) for on in ("local", "left")]
    with anyio.fail_after(20):
        await here.ask(Member.name)
        facts: dict[str, Any] = {"verb": "ask", "node": "local", "actor": here.name, "to": "local"}
        facts |= {"method": "name", "mode": "reference", "bytes": 0}
        assert await next_message(events) == facts
        await there.tell(Member.note, "text")
        facts |= {"verb": "tell", "actor": there.name, "to": "left/0", "method": "note"}
        found = await next_message(events)
        assert found.pop("bytes") > len("text")
        del facts["bytes"]
        assert found == facts | {"mode": "copy"}
        async with there.stream(Member.names, 2) as items:
            assert [item async for item in items] == [there.name] * 2
        found = await next_message(events)
        assert (found["verb"], found["method"]) == ("stream", "names")


async def test_what_nodes_say_to_each_other_is_heard_where_the_system_was_made(
    system: System, events: EventStream
) -> None:
    a, b, c = [await system.spawn(Member, on=on) for on in ("left", "beside", "left")]
    with anyio.fail_after(20):
        assert await a.ask(Member.go_round, [b, c]) == c.name
        found = [await next_message(events) for _ in range(3)]
    ways = {(facts["node"], facts["actor"], facts["method"]) for facts in found}
    assert ways == {
        ("local", a.name, "go_round"),
        ("left/0", b.name, "go_round"),
        ("beside/0", c.name, "go_round"),
    }


async def test_the_mode_says_how_a_payload_travelled_within_a_node(
    system: System, events: EventStream
) -> None:
    ref = await system.spawn(Member)
    with anyio.fail_after(20):
        assert await told(events, ref, b"x" * 1000) == ("reference", 1000)
        assert await told(events, ref, ("one", ("two", 3))) == ("reference", 6)
        assert await told(events, ref, ["one", "two"]) == ("copy", 6)
        assert await told(events, ref, bytearray(100)) == ("copy", 100)
        assert await told(events, ref, {"in it": move(Buffer(MIB))}) == ("transfer", MIB + 5)
        assert (await told(events, ref, [SharedBuffer(100)]))[0] == "shared"


async def test_the_mode_says_how_a_payload_travelled_to_another_process(
    system: System, events: EventStream
) -> None:
    ref = await system.spawn(Member, on="left")
    node: Node = next(node for node in system.nodes if node.name == "local")

    async def modes() -> dict[str, int]:
        links = (await node.stats())["links"]
        counted: dict[str, int] = links["left/0"]["modes"]
        return counted

    with anyio.fail_after(30):
        assert await told(events, ref, ["small"]) < ("copy", 200)
        found = ("", 0)
        while found[0] != "lease":  # shared memory is there when it was wanted before
            found = await told(events, ref, b"x" * MIB)
            assert found[0] in ("copy", "lease")
            assert MIB <= found[1] < MIB + 200
        leases = (await modes())["lease"]
        assert leases > 0
        mode, size = await told(events, ref, move(Buffer(MIB)))
        assert (mode, MIB <= size < MIB + 200) == ("transfer", True)
        mode, size = await told(events, ref, SharedBuffer(MIB))
        assert (mode, size < 200) == ("shared", True)
        counted = await modes()
        assert (counted["lease"], counted["transfer"], counted["shared"]) == (leases, 1, 1)


async def test_a_message_that_is_refused_is_no_event(system: System, events: EventStream) -> None:
    refs = [await system.spawn(Member, on=on) for on in ("local", "left")]
    with anyio.fail_after(20):
        for ref in refs:
            with pytest.raises(TypeError):
                await ref.tell(Member.note, anyio.Lock())
            await ref.ask(Member.name)
            assert (await next_message(events))["method"] == "name"


async def test_messages_are_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    async with System(trace=True) as system:
        events = system.events()
        ref = await system.spawn(Member)
        with anyio.fail_after(20):
            await ref.ask(Member.name)
            await next_message(events)
    lines = capfd.readouterr().err.splitlines()
    assert any('"system stopped"' in line for line in lines)
    assert not any('"message"' in line for line in lines)


async def test_a_system_that_does_not_trace_reports_no_message() -> None:
    async with running_system(Topology(nodes=[nodes("beside", kind="thread")])) as system:
        events = system.events()
        refs = [await system.spawn(Member, on=on, name=on) for on in ("local", "beside")]
        with anyio.fail_after(20):
            for ref in refs:
                await ref.ask(Member.name)
            await refs[0].stop()
            kinds: list[str] = []
            while "child_ended" not in kinds:
                kinds.append((await anext(events)).kind)
    assert "message" not in kinds

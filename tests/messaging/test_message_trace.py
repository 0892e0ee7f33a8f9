"""Every message of a system that traces them is an event; of any other system, none is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from actors import Buffer, Node, Ref, SharedBuffer, System, Topology, move, nodes
from actors._base.events import EventStream
from actors.testing import running_system
from tests.conftest import LOOPS
from tests.contracts.contract_actors import Counting, Gate, Keeper, OutOfStock, Shop
from tests.contracts.payloads import LARGE, PayloadActor
from tests.remoting.waiting_actors import Member

MIB = 1024 * 1024
ANSWERS = ("reply", "item", "error")


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


async def next_sent(events: EventStream) -> dict[str, Any]:
    """Return the facts of the next message that is no answer."""
    while True:
        facts = await next_message(events)
        if facts["verb"] not in ANSWERS:
            return facts


async def told(events: EventStream, ref: Ref[Member], value: Any) -> tuple[str, int]:
    """Tell *ref* a value; return how it travelled, and its bytes."""
    await ref.tell(Member.note, value)
    facts = await next_sent(events)
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
        answered = facts | {"verb": "reply", "bytes": len(here.name)}
        assert await next_message(events) == answered
        await there.tell(Member.note, "text")
        facts |= {"verb": "tell", "actor": there.name, "to": "left/0", "method": "note"}
        found = await next_sent(events)
        assert found.pop("bytes") > len("text")
        del facts["bytes"]
        assert found == facts | {"mode": "copy"}
        async with there.stream(Member.names, 2) as items:
            assert [item async for item in items] == [there.name] * 2
        found = await next_sent(events)
        assert (found["verb"], found["method"]) == ("stream", "names")


async def answers(events: EventStream, *of: Ref[Any], count: int = 1) -> list[dict[str, Any]]:
    """Return the facts of so many answers of some actors; what else there is, is passed over."""
    found: list[dict[str, Any]] = []
    names = {ref.name for ref in of}
    while len(found) < count:
        facts = await next_message(events)
        if facts["verb"] in ANSWERS and facts["actor"] in names:
            found.append(facts)
    return found


@pytest.mark.parametrize("on", ["local", "left", "beside"])
async def test_what_comes_back_is_an_event_of_the_node_that_sends_it(
    system: System, events: EventStream, on: str
) -> None:
    porter = await system.spawn(PayloadActor, on=on)
    counting, shop = await system.spawn(Counting, on=on), await system.spawn(Shop, on=on)
    node = "local" if on == "local" else f"{on}/0"
    with anyio.fail_after(20):
        await porter.ask(PayloadActor.give, "moved buffer", LARGE)
        async with counting.stream(Counting.failing, 2) as items:
            with pytest.raises(LookupError):
                assert [item async for item in items] == [0, 1]
        with pytest.raises(OutOfStock):
            await shop.ask(Shop.buy, "tea")
        found = await answers(events, porter, counting, shop, count=5)
    assert [facts["verb"] for facts in found] == ["reply", "item", "item", "error", "error"]
    assert [facts["method"] for facts in found] == ["give", *["failing"] * 3, "buy"]
    assert found[0]["mode"] == "transfer"
    assert LARGE <= found[0]["bytes"] < LARGE + 200
    assert found[1]["mode"] == ("reference" if on == "local" else "copy")
    assert all((facts["node"], facts["to"]) == (node, "local") for facts in found)


async def test_the_mode_of_a_reply_says_how_it_travelled(
    system: System, events: EventStream
) -> None:
    here, there = [await system.spawn(PayloadActor, on=on) for on in ("local", "left")]

    async def reply(ref: Ref[PayloadActor], kind: str, size: int) -> tuple[str, int]:
        await ref.ask(PayloadActor.give, kind, size)
        (facts,) = await answers(events, ref)
        return facts["mode"], facts["bytes"]

    with anyio.fail_after(30):
        assert await reply(here, "bytes", LARGE) == ("reference", LARGE)
        assert await reply(here, "bytearray", LARGE) == ("copy", LARGE)
        assert (await reply(here, "shared buffer", LARGE))[0] == "shared"
        assert (await reply(there, "bytearray", 100))[0] == "copy"
        found = ("", 0)
        while found[0] != "lease":  # shared memory is there when it was wanted before
            found = await reply(there, "bytes", 6 * LARGE)
            assert found[0] in ("copy", "lease")
            assert 6 * LARGE <= found[1] < 6 * LARGE + 200
        mode, size = await reply(there, "shared buffer", LARGE)
        assert (mode, size < 200) == ("shared", True)


async def test_a_reply_that_cannot_be_sent_is_an_error(system: System, events: EventStream) -> None:
    keeper = await system.spawn(Keeper)
    with anyio.fail_after(20):
        with pytest.raises(TypeError):
            await keeper.ask(Keeper.lock)
        (facts,) = await answers(events, keeper)
    assert (facts["verb"], facts["method"]) == ("error", "lock")


async def test_nothing_is_kept_of_an_ask_that_was_cancelled(
    system: System, events: EventStream
) -> None:
    for on in ("local", "left"):
        gate = await system.spawn(Gate, on=on)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(gate.ask, Gate.wait)
                assert (await next_sent(events))["method"] == "wait"
                tasks.cancel_scope.cancel()
            await gate.ask(Gate.open)
            (facts,) = await answers(events, gate)
        assert facts["method"] == "open"


async def test_what_nodes_say_to_each_other_is_heard_where_the_system_was_made(
    system: System, events: EventStream
) -> None:
    a, b, c = [await system.spawn(Member, on=on) for on in ("left", "beside", "left")]
    with anyio.fail_after(20):
        assert await a.ask(Member.go_round, [b, c]) == c.name
        found = [await next_sent(events) for _ in range(3)]
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
            assert (await next_sent(events))["method"] == "name"


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

"""`context.subscribe` on every kind of node: a message for each value of a topic, if the mailbox has room."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors import Actor, Lagged, Ref, SharedBuffer, current
from actors.errors import MessageTooBig, NotAMessage, NotSendable
from actors.testing import Recorder, eventually
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest

pytestmark = pytest.mark.within(20)


class Listener(Actor):
    """Passes on the values of topics."""

    def __init__(self, probe: Ref[Recorder], topic: str = "") -> None:
        self.probe = probe
        self.topic = topic

    async def on_start(self) -> None:
        if self.topic:
            await self.context.subscribe(self.topic, Listener.heard)

    async def heard(self, value: Any) -> None:
        await self.probe.tell(Recorder.record, value)

    async def heard_too(self, value: Any) -> None:
        await self.probe.tell(Recorder.record, ("too", value))

    async def heard_at(self, value: tuple[str, Ref[Gate] | None] | Lagged) -> None:
        """Report a value, and hold at its gate."""
        if isinstance(value, Lagged):
            await self.heard(value)
            return
        label, gate = value
        await self.heard(label)
        if gate is not None:
            await gate.ask(Gate.wait)

    async def size(self, value: bytes | Lagged) -> None:
        await self.probe.tell(Recorder.record, value if isinstance(value, Lagged) else len(value))

    async def follow(self, topic: str, method: str = "heard", buffer: int = 256) -> None:
        await self.context.subscribe(topic, getattr(Listener, method), buffer=buffer)

    async def follow_from_last(self, topic: str) -> None:
        await self.context.subscribe(topic, Listener.heard, last=True)

    async def read_last(self, topic: str) -> Any:
        async with current().topic(topic).subscribe(last=True) as values:
            return await anext(values)

    async def publish_kept(self, topic: str, values: list[Any]) -> None:
        for value in values:
            current().topic(topic, keep_last=True).publish(value)

    async def leave(self, topic: str) -> bool:
        return self.context.unsubscribe(current().topic(topic))

    async def hold(self, gate: Ref[Gate]) -> None:
        await self.probe.tell(Recorder.record, "held")
        await gate.ask(Gate.wait)

    async def publish(self, topic: str, values: list[Any]) -> None:
        for value in values:
            current().topic(topic).publish(value)

    async def refused(self, what: str) -> str:
        wrong: Any = {"hook": Actor.on_start, "two": Listener.follow_two, "none": Listener.ping}
        try:
            if what in wrong:
                await self.context.subscribe("news", wrong[what])
            else:
                await self.context.subscribe("news", Listener.heard, buffer=0)
        except (NotAMessage, TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return "taken"

    async def follow_two(self, one: Any, two: Any) -> None: ...

    async def ping(self) -> None: ...

    async def crash(self) -> None:
        raise RuntimeError("boom")


async def _listener(node: NodeUnderTest, topic: str = "", **options: Any) -> Ref[Listener]:
    return await node.spawn(Listener, node.probe.ref, topic, **options)


async def test_each_value_comes_as_a_message_in_order_from_any_node(node: NodeUnderTest) -> None:
    await _listener(node, "news")
    publisher = await _listener(node)
    for number in range(3):
        node.system.topic("news").publish(number)
    for number in range(3):
        await node.probe.expect(number)
    await publisher.ask(Listener.publish, "news", [["a list"], {"b": 1}])
    await node.probe.expect(["a list"])
    await node.probe.expect({"b": 1})


async def test_one_actor_follows_several_topics_and_a_second_call_replaces_the_first(
    node: NodeUnderTest,
) -> None:
    listener = await _listener(node, "a")
    await listener.ask(Listener.follow, "b", "heard_too")
    node.system.topic("a").publish(1)
    await node.probe.expect(1)
    node.system.topic("b").publish(2)
    await node.probe.expect(("too", 2))
    await listener.ask(Listener.follow, "a", "heard_too")
    node.system.topic("a").publish(3)
    await node.probe.expect(("too", 3))


async def test_what_has_no_room_is_lost_and_told_in_its_place(node: NodeUnderTest) -> None:
    listener, gate = await _listener(node, mailbox=4), await node.gate()
    publisher = await _listener(node)
    await listener.ask(Listener.follow, "busy")
    await listener.tell(Listener.hold, gate)
    await node.probe.expect("held")
    await publisher.ask(Listener.publish, "busy", list(range(10)))
    await gate.ask(Gate.open)
    for number in range(4):
        await node.probe.expect(number)
    await node.probe.expect(Lagged(6))
    await publisher.ask(Listener.publish, "busy", ["again"])
    await node.probe.expect("again")


async def test_a_subscription_has_a_bound_of_its_own_and_leaves_room_for_others(
    node: NodeUnderTest,
) -> None:
    listener, gate = await _listener(node), await node.gate()
    publisher = await _listener(node)
    await listener.ask(Listener.follow, "busy", "heard", 2)
    await listener.tell(Listener.hold, gate)
    await node.probe.expect("held")
    await publisher.ask(Listener.publish, "busy", list(range(5)))
    listener.tell_nowait(Listener.heard, "told")
    await gate.ask(Gate.open)
    for value in (0, 1, Lagged(3), "told"):
        await node.probe.expect(value)


async def test_each_gap_is_told_in_its_own_place(node: NodeUnderTest) -> None:
    listener, publisher = await _listener(node), await _listener(node)
    first, second = await node.gate(), await node.gate()
    await listener.ask(Listener.follow, "gaps", "heard_at", 1)
    await publisher.ask(Listener.publish, "gaps", [("a", first)])
    await node.probe.expect("a")
    await publisher.ask(Listener.publish, "gaps", [("b", second), ("lost", None)])
    await first.ask(Gate.open)
    await node.probe.expect("b")
    await publisher.ask(Listener.publish, "gaps", [("c", None), ("lost", None), ("lost", None)])
    await second.ask(Gate.open)
    for heard in (Lagged(1), "c", Lagged(2)):
        await node.probe.expect(heard)


async def test_big_values_are_bounded_in_bytes(node: NodeUnderTest) -> None:
    listener, gate = await _listener(node), await node.gate()
    publisher = await node.spawn(Publisher, on=node.on)
    await listener.ask(Listener.follow, "big", "size")
    await listener.tell(Listener.hold, gate)
    await node.probe.expect("held")
    await publisher.ask(Publisher.publish_big, "big", 20, 4 * 1024 * 1024)  # 80 MiB
    await gate.ask(Gate.open)
    sizes: list[Any] = []
    while not sizes or not isinstance(sizes[-1], Lagged):
        sizes.append(await node.probe.next())
    assert sum(sizes[:-1]) <= 64 * 1024 * 1024
    assert len(sizes) - 1 + sizes[-1].missed == 20


class Publisher(Actor):
    async def publish_big(self, topic: str, count: int, size: int) -> None:
        for _ in range(count):
            current().topic(topic).publish(bytes(size))
            await anyio.lowlevel.checkpoint()


async def test_who_has_left_gets_nothing_more_also_of_what_is_queued(node: NodeUnderTest) -> None:
    listener, publisher = await _listener(node, "news"), await _listener(node)
    assert await listener.ask(Listener.leave, "news")
    assert not await listener.ask(Listener.leave, "news")
    await publisher.ask(Listener.publish, "news", ["unheard"])
    await listener.ask(Listener.heard, "last")
    await node.probe.expect("last")


async def test_it_ends_with_the_incarnation_and_begins_again_in_on_start(
    node: NodeUnderTest,
) -> None:
    listener, gate = await _listener(node, "news"), await node.gate()
    publisher = await _listener(node)
    await listener.ask(Listener.follow, "other")
    await listener.tell(Listener.hold, gate)
    await node.probe.expect("held")
    await publisher.ask(Listener.publish, "other", ["of the first run"])
    await listener.tell(Listener.crash)
    await gate.ask(Gate.open)
    await node.probe.expect("of the first run")
    await listener.wait_ready()
    await publisher.ask(Listener.publish, "other", ["unheard"])
    await publisher.ask(Listener.publish, "news", ["heard"])
    await node.probe.expect("heard")
    await listener.stop()
    await listener.wait()
    node.system.topic("news").publish("nobody hears")
    await eventually(lambda: not node.system.node.host.topics._away.get("news"))


async def test_who_subscribes_later_gets_the_last_value_first_from_any_node(
    node: NodeUnderTest,
) -> None:
    name = f"weather on {node.on}"
    publisher, listener = await _listener(node), await _listener(node)
    await listener.ask(Listener.follow_from_last, name)  # there is none yet
    await publisher.ask(Listener.publish_kept, name, ["rain", ["sun"]])
    await node.probe.expect("rain")
    await node.probe.expect(["sun"])
    later = await _listener(node)
    await later.ask(Listener.follow_from_last, name)
    await node.probe.expect(["sun"])
    assert await publisher.ask(Listener.read_last, name) == ["sun"]
    async with node.system.topic(name).subscribe(last=True) as values:
        assert await anext(values) == ["sun"]
    node.system.topic(name).publish("not kept")
    node.system.topic(name, keep_last=True).publish("wind")
    assert await publisher.ask(Listener.read_last, name) == "wind"
    async with node.system.topic(name).subscribe() as values:
        node.system.topic(name).publish("now")
        assert await anext(values) == "now"


async def test_what_cannot_be_kept_is_refused_at_the_publisher(node: NodeUnderTest) -> None:
    publisher = await _listener(node)
    with pytest.raises(MessageTooBig, match="a value that is kept may have 262144 bytes, and this"):
        await publisher.ask(Listener.publish_kept, "big", ["x" * 300_000])
    with pytest.raises(NotSendable, match=r"may hold no SharedBuffer|cannot leave this machine"):
        await publisher.ask(Listener.publish_kept, "big", [SharedBuffer(64)])


REFUSED = {
    "hook": (NotAMessage, "is a hook of Actor"),
    "two": (TypeError, "missing 1 required positional argument: 'two'"),
    "none": (TypeError, "takes 1 positional argument but 2 were given"),
    "buffer": (ValueError, "buffer must be a whole number of 1 or more, got 0"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_can_never_work_is_refused_in_the_call(node: NodeUnderTest, what: str) -> None:
    kind, text = REFUSED[what]
    refused = await (await _listener(node)).ask(Listener.refused, what)
    assert refused.startswith(kind.__name__)
    assert text in refused

"""Topics reach every subscriber on every kind of node, in the order of each publisher."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Lagged, current
from actors.errors import InvalidSpec, NotSendable
from tests.contracts.node_under_test import NodeUnderTest

pytestmark = pytest.mark.within(20)


class Reader(Actor):
    """Subscribes to a topic for as long as it is told to."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.subscribed = anyio.Event()
        self.changed = anyio.Event()

    async def follow(self, topic: str, buffer: int = 256) -> None:
        self.context.tasks.start_soon(self._read, topic, buffer)
        await self.subscribed.wait()

    async def _read(self, topic: str, buffer: int) -> None:
        async with current().topic(topic).subscribe(buffer=buffer) as values:
            self.subscribed.set()
            async for value in values:
                self.got.append(value)
                self.changed.set()

    async def stall(self, topic: str, buffer: int, publish: int) -> list[Any]:
        """Subscribe, have that many values published before the first is read, and read."""
        async with current().topic(topic).subscribe(buffer=buffer) as values:
            for number in range(publish):
                current().topic(topic).publish(number)
            return [await anext(aiter(values)) for _ in range(buffer + 1)]

    async def first(self, count: int) -> list[Any]:
        """Return the first so many values as soon as they are there."""
        while len(self.got) < count:
            self.changed = anyio.Event()
            await self.changed.wait()
        return self.got[:count]

    async def until_all_are_accounted_for(self, count: int) -> int:
        """Return how many values came, when they and the lost ones are so many."""
        while True:
            lost = [value.missed for value in self.got if isinstance(value, Lagged)]
            came = len(self.got) - len(lost)
            if came + sum(lost) == count:
                return came
            self.changed = anyio.Event()
            await self.changed.wait()

    async def publish(self, topic: str, values: list[Any]) -> None:
        for value in values:
            current().topic(topic).publish(value)


async def test_a_subscriber_gets_what_is_published_elsewhere_in_order(node: NodeUnderTest) -> None:
    reader = await node.spawn(Reader)
    await reader.ask(Reader.follow, "news")

    for number in range(100):
        node.system.topic("news").publish(number)

    assert await reader.ask(Reader.first, 100) == list(range(100))


async def test_what_a_node_publishes_reaches_the_others(node: NodeUnderTest) -> None:
    publisher = await node.spawn(Reader)
    async with node.system.topic("news").subscribe() as values:
        await publisher.ask(Reader.publish, "news", [1, "two", {"three": [3]}])

        assert [await anext(values) for _ in range(3)] == [1, "two", {"three": [3]}]


async def test_every_subscriber_gets_a_value_of_its_own(node: NodeUnderTest) -> None:
    first, second = await node.spawn(Reader), await node.spawn(Reader)
    for reader in (first, second):
        await reader.ask(Reader.follow, "news")
    value = [1]

    node.system.topic("news").publish(value)
    value.append(2)

    assert await first.ask(Reader.first, 1) == [[1]]
    assert await second.ask(Reader.first, 1) == [[1]]


async def test_topics_do_not_mix(node: NodeUnderTest) -> None:
    reader = await node.spawn(Reader)
    await reader.ask(Reader.follow, "a")

    node.system.topic("b").publish("not this")
    node.system.topic("a").publish("this")

    assert await reader.ask(Reader.first, 1) == ["this"]


async def test_a_full_subscriber_loses_values_and_is_told_how_many(node: NodeUnderTest) -> None:
    reader = await node.spawn(Reader)

    got = await reader.ask(Reader.stall, "busy", 3, 10)

    assert got == [0, 1, 2, Lagged(7)]


async def test_what_a_link_has_no_room_for_at_the_end_of_a_burst_is_told_too(
    node: NodeUnderTest,
) -> None:
    reader = await node.spawn(Reader)
    await reader.ask(Reader.follow, "burst", 10_000)
    for _ in range(100):  # 5 MB in one turn of the loop
        node.system.topic("burst").publish("x" * 50_000)
    got = await reader.ask(Reader.until_all_are_accounted_for, 100)
    assert got <= 100


async def test_what_cannot_be_sent_is_refused_at_the_publisher(node: NodeUnderTest) -> None:
    reader = await node.spawn(Reader)
    await reader.ask(Reader.follow, "news")

    with pytest.raises(NotSendable, match="function"):
        node.system.topic("news").publish(lambda: None)
    node.system.topic("news").publish("fine")

    assert await reader.ask(Reader.first, 1) == ["fine"]


async def test_whoever_left_gets_nothing_more(node: NodeUnderTest) -> None:
    topic = node.system.topic("news")
    async with topic.subscribe() as values:
        topic.publish(1)
        assert await anext(values) == 1
    publisher = await node.spawn(Reader)

    await publisher.ask(Reader.publish, "news", [2])
    async with topic.subscribe() as values:
        await publisher.ask(Reader.publish, "news", [3])
        assert await anext(values) == 3


async def test_a_reader_that_ends_is_no_subscriber_any_more(node: NodeUnderTest) -> None:
    reader = await node.spawn(Reader)
    await reader.ask(Reader.follow, "news")
    await reader.stop()
    await reader.wait()

    node.system.topic("news").publish(1)

    again = await node.spawn(Reader)
    await again.ask(Reader.follow, "news")
    node.system.topic("news").publish(2)
    assert await again.ask(Reader.first, 1) == [2]


@pytest.mark.parametrize("buffer", [0, -1, 1.5, True, "many"])
async def test_a_buffer_that_holds_nothing_is_refused(node: NodeUnderTest, buffer: Any) -> None:
    with pytest.raises(ValueError, match="buffer must be a whole number of 1 or more, got"):
        async with node.system.topic("news").subscribe(buffer=buffer):
            pass


@pytest.mark.parametrize("name", ["", 7, None])
async def test_a_topic_has_a_name(node: NodeUnderTest, name: Any) -> None:
    with pytest.raises(InvalidSpec, match="a topic has a non-empty text for a name, got"):
        node.system.topic(name)

"""The channel layer over several nodes; `tests/soak` runs the tests of another layer on it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from channels.exceptions import ChannelFull

from actors import Actor, Ref, System, Topology, nodes
from actors.channels import TopicLayer
from actors.errors import NoSystem

pytestmark = pytest.mark.usefixtures("no_leaks")


class Member(Actor):
    """Has a layer of its own, as a process with consumers has."""

    def __init__(self) -> None:
        self._layer = TopicLayer(capacity=3)
        self.channel = ""

    async def on_start(self) -> None:
        self.channel = await self._layer.new_channel()

    async def name(self) -> str:
        return self.channel

    async def add(self, group: str, channel: str = "") -> None:
        await self._layer.group_add(group, channel or self.channel)

    async def discard(self, group: str, channel: str = "") -> None:
        await self._layer.group_discard(group, channel or self.channel)

    async def say(self, group: str, text: str) -> None:
        await self._layer.group_send(group, {"type": "said", "text": text})

    async def send(self, channel: str, text: str) -> None:
        await self._layer.send(channel, {"type": "sent", "text": text})

    async def hear(self, channel: str = "") -> str:
        message = await self._layer.receive(channel or self.channel)
        text: str = message["text"]
        return text

    async def groups(self) -> list[str]:
        """Return the groups that all nodes know this one to be in."""
        groups = self._layer._here().groups.values()
        return sorted(group.name for group in groups if group._joined)


@pytest.fixture
async def members() -> AsyncIterator[list[Ref[Member]]]:
    topology = Topology(nodes=[nodes("web", kind="thread", count=2)])
    async with System(topology) as system:
        yield [await system.spawn(Member, on=f"web/{slot}") for slot in (0, 1)]


@pytest.fixture
async def layer() -> AsyncIterator[TopicLayer]:
    async with System():
        yield TopicLayer(capacity=3, expiry=0.05, channel_capacity={"tiny.*": 1})


async def has(member: Ref[Member], *groups: str) -> None:
    """Wait until what was told to its node has reached it."""
    while await member.ask(Member.groups) != [*groups]:  # noqa: ASYNC110 - asking is the wait
        await anyio.sleep(0.001)


async def test_a_group_has_members_on_all_nodes(members: list[Ref[Member]]) -> None:
    one, two = members
    for member in members:
        await member.ask(Member.add, "kitchen")
    await one.ask(Member.say, "kitchen", "soup")
    assert [await member.ask(Member.hear) for member in members] == ["soup", "soup"]
    await two.ask(Member.discard, "kitchen")
    assert await two.ask(Member.groups) == []
    await two.ask(Member.say, "kitchen", "again")
    assert await one.ask(Member.hear) == "again"
    await one.ask(Member.send, await two.ask(Member.name), "directly")
    assert await two.ask(Member.hear) == "directly"


async def test_a_channel_of_another_node_is_added_and_discarded_too(
    members: list[Ref[Member]],
) -> None:
    one, two = members
    theirs = await two.ask(Member.name)
    await one.ask(Member.add, "kitchen", theirs)
    await has(two, "kitchen")
    await one.ask(Member.say, "kitchen", "soup")
    assert await two.ask(Member.hear) == "soup"
    await one.ask(Member.discard, "kitchen", theirs)
    await has(two)


async def test_a_message_to_a_channel_of_no_process_goes_to_one_receiver(
    members: list[Ref[Member]],
) -> None:
    one, two = members
    for text in ("a", "b"):
        await one.ask(Member.send, "thumbnails", text)
    heard = [await member.ask(Member.hear, "thumbnails") for member in members]
    assert heard == ["a", "b"]
    await one.ask(Member.add, "all", "thumbnails")
    await two.ask(Member.say, "all", "c")
    assert await two.ask(Member.hear, "thumbnails") == "c"
    await two.ask(Member.discard, "all", "thumbnails")
    await has(one)


async def heard(layer: TopicLayer, channel: str) -> Any:
    """Return the next message, or None if none comes."""
    try:
        return await asyncio.wait_for(layer.receive(channel), 0.02)
    except TimeoutError:
        return None


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_channel_holds_so_many_messages_and_each_for_so_long(layer: TopicLayer) -> None:
    mine = await layer.new_channel()
    for channel in (mine, "jobs"):
        for number in range(3):
            await layer.send(channel, {"type": "job", "number": number})
        with pytest.raises(ChannelFull):
            await layer.send(channel, {"type": "job"})
        await anyio.sleep(0.06)
        assert await heard(layer, channel) is None
        await layer.send(channel, {"type": "job", "number": 3})
        assert await heard(layer, channel) == {"type": "job", "number": 3}
    await layer.send("tiny.jobs", {"type": "job"})
    with pytest.raises(ChannelFull):
        await layer.send("tiny.jobs", {"type": "job"})


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_channels_whose_consumers_have_gone_leave_their_groups(layer: TopicLayer) -> None:
    for group in ("a", "b", "b"):
        await layer.group_add(group, await layer.new_channel())
    for _ in range(9):
        await layer.group_send("a", {"type": "said"})
        await layer.group_send("b", {"type": "said"})
    assert len(layer._here().inboxes.channels) == 3
    await anyio.sleep(0.06)
    await layer.group_send("b", {"type": "said"})
    assert list(layer._here().groups) == []
    await anyio.sleep(0.06)
    await layer.send("of.nobody!", {"type": "said"})
    await layer.send(mine := await layer.new_channel(), {"type": "said"})
    assert list(layer._here().inboxes.channels) == [mine]
    await layer.flush()
    assert list(layer._here().inboxes.channels) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_two_members_of_a_group_do_not_share_a_message(layer: TopicLayer) -> None:
    channels = [await layer.new_channel() for _ in range(2)]
    for channel in channels:
        await layer.group_add("a", channel)
    said = {"type": "said", "to": ["a"]}
    await layer.group_send("a", said)
    first = await layer.receive(channels[0])
    first["to"].append("b")
    assert await layer.receive(channels[1]) == said == {"type": "said", "to": ["a"]}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_wrong_names_and_messages_are_refused(layer: TopicLayer) -> None:
    with pytest.raises(TypeError, match="Channel name must be"):
        await layer.send("not allowed", {})
    with pytest.raises(TypeError, match="Group name must be"):
        await layer.group_send("a!b", {})
    with pytest.raises(TypeError, match=r"^a message is a dict, got \['x'\]$"):
        await layer.send("a", ["x"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"only the process that made a channel .*: 'a\.b!c'$"):
        await layer.receive("a.b!c")


async def test_without_a_system_that_is_said() -> None:
    with pytest.raises(NoSystem, match="no system runs here"):
        await TopicLayer().send("a", {})


async def test_a_clock_that_is_set_forward_takes_no_channel_out_of_its_groups(
    layer: TopicLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = TopicLayer()
    channel = await patient.new_channel()
    await patient.group_add("kitchen", channel)
    later = time.time() + 2 * patient.group_expiry
    monkeypatch.setattr(time, "time", lambda: later)
    await patient.group_send("kitchen", {"type": "said", "text": "soup"})
    with anyio.fail_after(20):
        assert (await patient.receive(channel))["text"] == "soup"

"""Actors are members of groups; whoever asks or follows sees them, from every node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors import ActorStopped, Ref, System
from actors.errors import InvalidSpec, LimitReached, SystemStopped
from actors.testing import eventually
from tests.groups.guests import Guest, Host, Thread

pytestmark = pytest.mark.within(30)


@pytest.fixture(autouse=True)
async def _bounded(system: System) -> AsyncIterator[None]:
    yield
    for group in ("lobby", "bar"):
        for ref in await system.members(group):
            await ref.stop()
            await ref.wait()


async def ended(ref: Ref[Any]) -> None:
    await ref.stop()
    await ref.wait()


async def test_a_member_is_seen_from_every_node_as_soon_as_it_has_joined(
    system: System, place: str
) -> None:
    guest = await system.spawn(Guest, on=place)
    other = await system.spawn(Guest, on="box/1")
    assert await system.members("lobby") == []

    await guest.ask(Guest.join, "lobby")

    assert await system.members("lobby") == [guest]
    assert await other.ask(Guest.members, "lobby") == [guest]
    assert await guest.ask(Guest.members, "lobby") == [guest]
    await ended(other)


async def test_c43_all_members_of_one_name_get_what_is_sent_to_the_group(system: System) -> None:
    guests = [await system.spawn(Guest, "lobby", on=on) for on in ("local", "box/0", "box/1")]

    members = await system.members("lobby")
    for member in members:
        await member.tell(Guest.hear, "the bar is open")

    assert members == guests
    assert [await guest.ask(Guest.all_heard) for guest in guests] == [["the bar is open"]] * 3


async def test_c61_who_follows_gets_the_current_set_at_once_and_then_every_change(
    system: System, place: str
) -> None:
    first = await system.spawn(Guest, on=place)
    await first.ask(Guest.join, "lobby", {"name": "ann"})
    async with system.watch_members("lobby") as lobby:
        assert lobby.members == {first: {"name": "ann"}}

        second = await system.spawn(Guest, "lobby", on="box/1")
        change = await anext(lobby)
        assert (change.ref, change.joined, change.meta) == (second, True, None)
        await first.ask(Guest.leave, "lobby")
        change = await anext(lobby)
        assert (change.ref, change.joined, change.meta) == (first, False, {"name": "ann"})
        assert lobby.members == {second: None}
    await ended(first)


async def test_c61_leaving_one_group_keeps_the_other(system: System, place: str) -> None:
    guest = await system.spawn(Guest, "lobby", "bar", on=place)

    await guest.ask(Guest.leave, "lobby")
    await guest.ask(Guest.leave, "lobby")

    assert await system.members("lobby") == []
    assert await system.members("bar") == [guest]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_c61_the_end_of_an_actor_ends_its_memberships_in_all_groups(
    system: System, place: str, end: str
) -> None:
    guest = await system.spawn(Guest, "lobby", "bar", on=place, restart=None)
    async with system.watch_members("lobby") as lobby, system.watch_members("bar") as bar:
        if end == "stop":
            await guest.stop()
        else:
            await guest.stop(grace=0)
        assert [(await anext(one)).joined for one in (lobby, bar)] == [False, False]
        assert lobby.members == bar.members == {}
    assert await system.members("lobby") == await system.members("bar") == []


async def test_an_actor_that_was_restarted_has_joined_again_by_itself_or_not_at_all(
    system: System, place: str
) -> None:
    again = await system.spawn(Guest, "lobby", on=place)  # joins in on_start
    once = await system.spawn(Guest, on=place)
    await once.ask(Guest.join, "lobby")
    for guest in (again, once):
        await guest.tell(Guest.crash)
        assert await guest.ask(Guest.incarnation) == 2

    assert await system.members("lobby") == [again]
    await ended(once)


async def test_joining_again_replaces_what_the_member_says_of_itself(
    system: System, place: str
) -> None:
    guest = await system.spawn(Guest, on=place)
    await guest.ask(Guest.join, "lobby", "here")
    async with system.watch_members("lobby") as lobby:
        await guest.ask(Guest.join, "lobby", "away")
        change = await anext(lobby)
        assert (change.ref, change.joined, change.meta) == (guest, True, "away")
        assert lobby.members == {guest: "away"}
    assert await system.members("lobby") == [guest]


async def test_a_node_follows_as_the_parent_does(system: System, place: str) -> None:
    host = await system.spawn(Host, on="box/1")
    first = await system.spawn(Guest, "lobby", on=place, name="first")
    assert await host.ask(Host.follow, "lobby") == {first: None}

    second = await system.spawn(Guest, on=place, name="second")
    await second.ask(Guest.join, "lobby", 2)
    assert await host.ask(Host.changes, 1) == [("second", True, 2)]
    await ended(first)
    await ended(second)

    seen = await host.ask(Host.changes, 3)
    assert seen[1:] == [("first", False, None), ("second", False, 2)]
    assert await host.ask(Host.members) == {}
    await ended(host)


async def test_children_of_actors_and_blocking_actors_join_too(system: System, place: str) -> None:
    parent = await system.spawn(Guest, on=place)
    child = await parent.ask(Guest.child, "lobby")
    thread = await system.spawn(Thread, on=place)
    await thread.ask(Thread.join, "lobby")

    async with system.watch_members("lobby") as lobby:
        assert lobby.members == {child: None, thread: "by thread"}
        await ended(parent)
        assert (await anext(lobby)).ref == child
    await ended(thread)


async def test_a_slow_reader_gets_the_latest_of_each_member_and_misses_no_state(
    system: System,
) -> None:
    keeps, goes, comes = [await system.spawn(Guest, on="box/0") for _ in range(3)]
    await keeps.ask(Guest.join, "lobby", 0)
    await goes.ask(Guest.join, "lobby", "goes")
    async with system.watch_members("lobby") as lobby:
        for number in range(1, 100):
            await keeps.ask(Guest.join, "lobby", number)
            await comes.ask(Guest.join, "lobby", number)
            await comes.ask(Guest.leave, "lobby")
        await goes.ask(Guest.leave, "lobby")
        await comes.ask(Guest.join, "lobby", "last")
        await eventually(lambda: len(lobby._changes._news) == 3)

        read = [await anext(lobby) for _ in range(3)]
        assert {change.ref: (change.joined, change.meta) for change in read} == {
            keeps: (True, 99),
            goes: (False, "goes"),
            comes: (True, "last"),
        }
        assert lobby.members == {keeps: 99, comes: "last"}
    await ended(goes)


async def test_what_a_reader_changes_reaches_no_other_reader(system: System) -> None:
    guest = await system.spawn(Guest, on="box/0")
    await guest.ask(Guest.join, "lobby", {"tags": ["a"]})
    async with system.watch_members("lobby") as one, system.watch_members("lobby") as other:
        one.members[guest]["tags"].append("b")
        one.members.clear()
        assert other.members == one.members == {guest: {"tags": ["a"]}}


async def test_who_follows_again_gets_the_set_of_then(system: System) -> None:
    guest = await system.spawn(Guest, "lobby", on="box/0")
    for _ in range(20):
        async with system.watch_members("lobby") as lobby:
            assert lobby.members == {guest: None}


@pytest.mark.parametrize("group", ["", 3, "x" * 257])
async def test_a_name_that_no_group_can_have_is_refused(system: System, group: Any) -> None:
    guest = await system.spawn(Guest, on="box/0")
    for use in (guest.ask(Guest.join, group), system.members(group)):
        with pytest.raises(InvalidSpec, match=r"group has a|of a group has at most 256"):
            await use
    with pytest.raises(InvalidSpec):
        async with system.watch_members(group):
            raise AssertionError("it has begun")
    await ended(guest)


@pytest.mark.parametrize(
    "meta, why",
    [
        ("x" * 5000, "meta has at most 4096 bytes, got about 5008"),
        ([{1}], r"meta is plain data .*, got \{1\}"),
    ],
)
async def test_what_a_member_may_not_say_of_itself_is_refused(
    system: System, meta: Any, why: str
) -> None:
    guest = await system.spawn(Guest, on="box/0")
    with pytest.raises(InvalidSpec, match=why):
        await guest.ask(Guest.join, "lobby", meta)
    assert await system.members("lobby") == []
    await ended(guest)


async def test_an_actor_is_in_at_most_64_groups(system: System, place: str) -> None:
    guest = await system.spawn(Guest, on=place)
    with pytest.raises(LimitReached, match=r"join\('many 64'\): this actor is in 64 groups"):
        await guest.ask(Guest.join_many, 65)
    await guest.ask(Guest.leave, "many 3")
    await guest.ask(Guest.join, "lobby")

    assert await system.members("many 63") == await system.members("lobby") == [guest]
    await ended(guest)
    assert await system.members("many 63") == []


async def test_an_actor_that_ends_joins_nothing_any_more(system: System) -> None:
    Late.refused.clear()
    late = await system.spawn(Late, on="local")
    await ended(late)

    assert Late.refused == [True]
    assert await system.members("lobby") == []


class Late(Guest):
    refused: list[bool] = []  # noqa: RUF012 - of this process

    async def on_stop(self, _exit: Any) -> None:
        try:
            await self.context.join("lobby")
        except ActorStopped:
            self.refused.append(True)


async def test_the_end_of_the_system_ends_the_wait_of_who_follows() -> None:
    async with System() as system:
        watch = system.watch_members("lobby")
        lobby = await watch.__aenter__()
    with pytest.raises(SystemStopped, match="nobody joins or leaves any more"):
        await anext(lobby)
    await watch.__aexit__(None, None, None)

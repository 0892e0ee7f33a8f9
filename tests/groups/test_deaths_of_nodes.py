"""Memberships end with their node; who follows a group keeps following it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest

from actors import Node, System, Topology, nodes
from actors._groups import MOST_OF_NODE, MemberChange
from actors._remoting import directory_operations as directory
from actors._system.system import coordinator_of
from actors.testing import eventually, running_system
from tests.groups.guests import Guest, Host

pytestmark = pytest.mark.within(60)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what is shown here is how processes come and go."""
    return "asyncio", {}


@pytest.fixture
async def running() -> AsyncIterator[System]:
    async with running_system(Topology(nodes=[nodes("box", count=2)])) as system:
        yield system


def node_named(system: System, name: str) -> Node:
    return next(node for node in system.nodes if node.name == name)


async def test_the_death_of_a_node_ends_the_memberships_of_its_actors(running: System) -> None:
    gone = await running.spawn(Guest, on="box/0")
    await gone.ask(Guest.join, "lobby")
    back = await running.spawn(Guest, "lobby", on="box/0")  # joins again when it is started again
    stays = await running.spawn(Guest, "lobby", on="box/1")
    host = await running.spawn(Host, on="box/1")
    await host.ask(Host.follow, "lobby")
    node_named(running, "box/0").kill()

    assert (gone.name, False, None) in await host.ask(Host.changes, 2)
    await back.wait_ready()
    assert await running.members("lobby") == [stays, back]
    await eventually(partial(_has_seen, host, {stays, back}))


async def _has_seen(host: Any, members: set[Any]) -> bool:
    return set(await host.ask(Host.members)) == members


async def test_a_reload_ends_memberships_and_the_actors_join_again(running: System) -> None:
    guest = await running.spawn(Guest, "lobby", on="box/0")
    async with running.watch_members("lobby") as lobby, anyio.create_task_group() as tasks:
        tasks.start_soon(running.reload, "box/0")
        assert await anext(lobby) == MemberChange(guest, joined=False)
        assert await anext(lobby) == MemberChange(guest, joined=True)

    assert await running.members("lobby") == [guest]


async def test_a_node_that_dies_follows_nothing_any_more(running: System) -> None:
    host = await running.spawn(Host, on="box/0")
    await host.ask(Host.follow, "lobby")
    feeds = coordinator_of(running).group_directory._feeds
    assert list(feeds["lobby"]) == ["box/0"]
    node_named(running, "box/0").kill()

    await eventually(lambda: not feeds)


async def test_a_stopped_node_that_follows_a_busy_group_costs_no_more_than_the_members(
    running: System,
) -> None:
    host = await running.spawn(Host, on="box/1")
    guest = await running.spawn(Guest, on="box/0")
    await host.ask(Host.follow, "lobby")
    node = node_named(running, "box/1")
    assert node.pid is not None
    os.kill(node.pid, signal.SIGSTOP)
    try:
        for number in range(1500):  # 6 MB
            await guest.ask(Guest.join, "lobby", f"{number:04}" * 1000)
        [feed] = coordinator_of(running).group_directory._feeds["lobby"].values()
        assert len(feed.changes._news) == 1
    finally:
        os.kill(node.pid, signal.SIGCONT)

    await eventually(lambda: host.ask(Host.members))
    seen: dict[Any, Any] = {}
    while seen.get(guest) != "1499" * 1000:
        seen = await host.ask(Host.members)


async def test_a_node_is_believed_about_its_own_actors_only(running: System) -> None:
    """Whatever runs on a node may send what it likes over its link."""
    core = coordinator_of(running)
    other = await running.spawn(Guest, on="box/1")
    run = core.runs["box/0"]
    assert run.link is not None
    handlers = core.host.handlers.notes
    events = running.events()
    handlers[directory.group_joined.name](run.link, "lobby", other, None)
    handlers[directory.group_joined.name](run.link, "lobby", other, "x" * 5000)
    handlers[directory.groups_left.name](run.link, ["lobby"], other)

    async for event in events:
        if event.kind == "report_refused":
            assert event.facts["kind"] == "group_joined"
            break
    assert await running.members("lobby") == []


async def test_the_parent_bounds_what_one_node_joins(
    running: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors._system.group_directory.MOST_OF_NODE", 2)
    guest = await running.spawn(Guest, on="box/0")
    for group in ("a", "b", "c"):
        await guest.ask(Guest.join, group)

    assert [len(await running.members(group)) for group in ("a", "b", "c")] == [1, 1, 0]
    assert MOST_OF_NODE == 65_536

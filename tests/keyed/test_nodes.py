"""A key has one actor also while its nodes die, are renewed, and while their group is scaled."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, Keyed, Node, System, Topology, keyed, nodes
from actors._keyed.key import key_bytes
from actors.errors import ActorsError, InvalidSpec
from actors.routing import owner
from actors.testing import eventually, running_system
from tests.keyed.rooms import Room, Visitor

pytestmark = pytest.mark.within(60)

KEYS = [f"room {number}" for number in range(40)]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what is shown here is how processes come and go."""
    return "asyncio", {}


@pytest.fixture
async def running() -> AsyncIterator[System]:
    topology = Topology(nodes=[nodes("box", count=2), nodes("other")], patience=10)
    async with running_system(topology) as system:
        yield system


def node_named(system: System, name: str) -> Node:
    return next(node for node in system.nodes if node.name == name)


def homes(keys: list[str], count: int) -> dict[str, str]:
    """Return where the router's policy `Sticky` sends the keys over so many slots."""
    return {key: f"box/{owner(key_bytes(key), range(count))}" for key in keys}


async def places(rooms: Keyed[Any, Room], keys: list[str]) -> dict[str, str]:
    return {key: await rooms[key].ask(Room.where) for key in keys}


async def test_keys_go_to_the_nodes_that_sticky_routing_gives_them(running: System) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="box"))

    assert await places(rooms, KEYS) == homes(KEYS, 2)


async def test_c40_every_key_is_reached_in_the_same_partition_whatever_the_group_is_scaled_to(
    running: System,
) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="box"))
    keys = [f"{random.Random(7).random()} {number}" for number in range(100)]
    for count in (2, 1, 3, 2):
        await running.scale("box", count)
        await eventually(partial(_are_at_home, rooms, keys, count), within=20)
        assert await places(rooms, keys) == homes(keys, count)
        assert await rooms.count() == len(keys)
    await running.scale("box", 0)

    with pytest.raises(InvalidSpec, match="on='box' is no node or group"):
        await rooms["new"].ask(Room.greet)
    with pytest.raises(InvalidSpec, match="there is no group of nodes 'boxes'"):
        await running.scale("boxes", 9)
    await running.scale("box", 2)
    assert await places(rooms, keys) == homes(keys, 2)


async def test_when_the_group_grows_the_keys_of_the_new_node_move_and_no_others(
    running: System,
) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="box"))
    before = {key: await rooms[key].ask(Room.run) for key in KEYS}
    await running.scale("box", 3)
    moved = {key for key, home in homes(KEYS, 3).items() if home == "box/2"}
    await eventually(partial(_lives, rooms, set(KEYS) - moved))

    assert 0 < len(moved) < len(KEYS) / 2
    assert await places(rooms, KEYS) == homes(KEYS, 3)
    after = {key: await rooms[key].ask(Room.run) for key in KEYS}
    assert {key for key in KEYS if after[key] != before[key]} == moved


async def _are_at_home(rooms: Keyed[Any, Any], keys: list[str], count: int) -> bool:
    return await places(rooms, keys) == homes(keys, count)


async def _lives(rooms: Keyed[Any, Any], keys: set[str]) -> bool:
    return set(await rooms.keys()) == keys


async def test_when_the_group_shrinks_the_keys_of_the_node_that_goes_move_and_no_others(
    running: System,
) -> None:
    await running.scale("box", 3)
    rooms = await running.start(keyed(Room, name="rooms", on="box"))
    before = {key: await rooms[key].ask(Room.run) for key in KEYS}
    moved = {key for key, home in homes(KEYS, 3).items() if home == "box/2"}
    await running.scale("box", 2)

    assert await places(rooms, KEYS) == homes(KEYS, 2)
    after = {key: await rooms[key].ask(Room.run) for key in KEYS}
    assert {key for key in KEYS if after[key] != before[key]} == moved


async def test_no_message_is_lost_while_the_group_is_scaled_up_and_down(running: System) -> None:
    rooms = await running.start(keyed(Passing, name="rooms", on="box"))
    visitors = [await running.spawn(Counter, on=on) for on in ("other", "box/0", "local")]
    collected = await running.spawn(Collector, name="collector")
    each = 150

    async with anyio.create_task_group() as tasks:
        for who, visitor in enumerate(visitors):
            tasks.start_soon(visitor.ask, Counter.send, who, each)
        for count in (3, 2, 3, 1, 2):
            await anyio.sleep(0.2)
            await running.scale("box", count)
    for key in ("a", "b", "c", "d"):
        await rooms[key].ask(Room.greet)

    got = await collected.ask(Collector.got)
    for who in range(len(visitors)):
        for key in ("a", "b", "c", "d"):
            mine = [what for other, at, what in got if (other, at) == (who, key)]
            assert mine == [n for n in range(each) if "abcd"[n % 4] == key]


async def test_what_was_told_before_a_stop_is_handled_though_it_comes_by_another_way(
    running: System,
) -> None:
    """The messages wait for the link between two nodes, which the first of them has asked for."""
    rooms = await running.start(keyed(Passing, name="rooms", on="box"))
    collected = await running.spawn(Collector, name="collector")
    counter = await running.spawn(Counter, on="other")
    await rooms["a"].ask(Room.greet)

    await counter.ask(Counter.send_and_stop, 500)

    assert [what for _, _, what in await collected.ask(Collector.got)] == [*range(500)]


class Collector(Actor):
    def __init__(self) -> None:
        self.all: list[tuple[int, str, int]] = []

    async def add(self, who: int, key: str, what: int) -> None:
        self.all.append((who, key, what))

    async def got(self) -> list[tuple[int, str, int]]:
        return self.all


class Passing(Room):
    """A room that passes on what it is told."""

    async def pass_on(self, who: int, what: int) -> None:
        found: Any = await self.context.system.lookup("collector")
        await found.ask(Collector.add, who, self.key, what)


class Counter(Actor):
    """Tells rooms numbers, one after the other."""

    async def send_and_stop(self, count: int) -> None:
        rooms: Any = await self.context.system.keyed("rooms")
        for number in range(count):
            await rooms["a"].tell(Passing.pass_on, 0, number)
        await rooms.stop("a")

    async def send(self, who: int, count: int) -> None:
        rooms: Any = await self.context.system.keyed("rooms")
        for number in range(count):
            await rooms["abcd"[number % 4]].tell(Passing.pass_on, who, number)
            await anyio.sleep(0.005)


async def test_an_actor_comes_back_with_its_node_under_its_address(running: System) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="box"))
    key = next(key for key, home in homes(KEYS, 2).items() if home == "box/1")
    uid, _ = await rooms[key].ask(Room.run)
    node_named(running, "box/1").kill()
    await eventually(lambda: not node_named(running, "box/1").ready)

    assert await rooms[key].ask(Room.run) == (uid, 2)  # it has waited for the node


async def test_a_key_without_an_actor_goes_to_the_next_node_while_its_own_is_away(
    running: System,
) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="box"))
    key = next(key for key, home in homes(KEYS, 2).items() if home == "box/1")
    node_named(running, "box/1").kill()
    await eventually(lambda: not node_named(running, "box/1").ready)

    assert await rooms[key].ask(Room.where) == "box/0"
    await eventually(lambda: node_named(running, "box/1").ready)
    assert await rooms[key].ask(Room.where) == "box/0"  # it stays there


async def test_the_first_use_waits_for_the_only_node_of_its_group(running: System) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="other"))
    node_named(running, "other/0").kill()
    await eventually(lambda: not node_named(running, "other/0").ready)

    assert await rooms["x"].ask(Room.where) == "other/0"


async def test_renewed_nodes_keep_their_keys(running: System) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="box"))
    visitor = await running.spawn(Visitor, on="other")
    before = await visitor.ask(Visitor.runs, rooms, KEYS[:6])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.reload, "box")
        for _ in range(20):
            for key in KEYS[:6]:
                assert await rooms[key].ask(Room.where) == homes(KEYS, 2)[key]
            await anyio.sleep(0.02)

    after = await visitor.ask(Visitor.runs, rooms, KEYS[:6])
    assert [uid for uid, _ in after] == [uid for uid, _ in before]
    assert {run for _, run in after} == {2}


async def test_an_actor_whose_node_was_stopped_for_good_starts_on_another(running: System) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="box"))
    key = next(key for key, home in homes(KEYS, 2).items() if home == "box/1")
    await rooms[key].ask(Room.run)
    await node_named(running, "box/1").stop()

    assert await rooms[key].ask(Room.run) == (await _uid(rooms, key), 1)
    assert await rooms[key].ask(Room.where) == "box/0"


async def _uid(rooms: Keyed[Any, Any], key: str) -> int:
    return (await rooms[key].ref()).uid


async def test_a_node_that_is_killed_while_it_holds_addresses_hinders_no_stop(
    running: System,
) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="box", idle=0.3))
    visitor = await running.spawn(Visitor, on="other")
    await visitor.ask(Visitor.greet, rooms, "x")
    node_named(running, "other/0").kill()

    await eventually(partial(_lives, rooms, set()))


async def _keep_busy(room: Any) -> None:
    while True:
        await room.tell(Room.say, 1)
        await anyio.sleep(0.05)


async def test_an_idle_stop_works_after_the_node_was_renewed(running: System) -> None:
    rooms = await running.start(keyed(Room, name="rooms", on="other", idle=0.5))
    uid, _ = await rooms["x"].ask(Room.run)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep_busy, rooms["x"])
        await running.reload("other")
        tasks.cancel_scope.cancel()
    assert await rooms["x"].ask(Room.run) == (uid, 2)

    await eventually(partial(_lives, rooms, set()))


async def test_a_key_has_one_actor_while_nodes_are_killed_scaled_and_renewed(
    running: System, tmp_path: Path
) -> None:
    """Each actor locks a file of its key for as long as it lives; a second one could not start."""
    rooms = await running.start(
        keyed(partial(Locking, folder=str(tmp_path)), name="rooms", on="box", idle=0.05)
    )
    visitors = [await running.spawn(Lockers, on=on) for on in ("local", "other")]
    chance = random.Random(7)
    done = anyio.Event()
    answers: list[str] = []

    async def use(visitor: Any) -> None:
        while not done.is_set():
            try:
                answers.append(await visitor.ask(Lockers.use, rooms, chance.choice("abc")))
            except ActorsError as error:
                answers.append(str(error))
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        for visitor in visitors:
            tasks.start_soon(use, visitor)
        for step in range(6):
            await anyio.sleep(0.25)
            if step % 3 == 0:
                node_named(running, "box/0").kill()
            elif step % 3 == 1:
                await running.scale("box", 3 if step == 1 else 2)
            else:
                await eventually(lambda: all(node.ready for node in running.nodes))
                await running.reload("box")
        done.set()

    assert answers.count("hello") > 50
    assert [answer for answer in answers if "another actor" in answer] == []


class Locking(Actor):
    """Holds a lock that the kernel frees when its process ends."""

    def __init__(self, key: str, *, folder: str) -> None:
        import fcntl  # noqa: PLC0415 - a door to this test alone

        self.file = Path(folder, key).open("w", encoding="utf-8")  # noqa: SIM115 - for its life
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another actor of {key} lives") from None

    async def on_stop(self, _exit: Any) -> None:
        self.file.close()

    async def hello(self) -> str:
        return "hello"


class Lockers(Actor):
    async def use(self, rooms: Keyed[str, Locking], key: str) -> str:
        return await rooms[key].within(5).ask(Locking.hello)

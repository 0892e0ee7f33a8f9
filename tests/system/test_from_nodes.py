"""The whole face of a System works on its nodes, also where the parent has none of the user's classes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from actors import (
    Actor,
    Restart,
    System,
    Topology,
    child,
    dynamic,
    listen,
    nodes,
    pool,
    supervisor,
)
from actors._system.system import coordinator_of
from actors.errors import (
    ActorsError,
    AlreadyStarted,
    CallCycle,
    ChildNotStarted,
    InvalidSpec,
    NotFound,
    SupervisorStopped,
)
from actors.testing import eventually

pytestmark = pytest.mark.within(60)

PATIENCE = 20


class Worker(Actor):
    """What the tests start."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    async def value(self) -> int:
        return self.number

    async def where(self) -> str:
        return self.context.node


class Slow(Actor):
    """Never ready."""

    async def on_start(self) -> None:
        await anyio.sleep_forever()


class Curious(Actor):
    """Asks for something of whoever starts it."""

    def __init__(self, asked: Any) -> None:
        self.asked = asked

    async def on_start(self) -> None:
        await self.asked.ask(Boss.where)


class Boss(Actor):
    """Asks its system for everything, on its node."""

    async def where(self) -> str:
        return self.context.node

    async def start(self, *what: str) -> Any:
        ref: Any = await self.context.system.start(SPECS[what[0]]())
        return str(ref) if what[0] != "pool" else ref

    async def start_child(self, path: str, name: str) -> Any:
        handle = self.context.system.supervisor(path)
        return await handle.start_child(child(Worker, 7, name=name, restart=Restart.TEMPORARY))

    async def start_curious(self) -> Any:
        curious = child(Curious, self.context.ref, name="nosy", on="box")
        return await self.context.system.supervisor("crowd").start_child(curious)

    async def call(self, path: str, verb: str, *args: Any) -> Any:
        return await getattr(self.context.system.supervisor(path), verb)(*args)

    async def rows(self, path: str) -> list[tuple[str, str, Any]]:
        rows = await self.context.system.supervisor(path).children()
        return [(row.name, row.state.value, row.child) for row in rows]

    async def counts(self, path: str) -> list[int]:
        count = await self.context.system.supervisor(path).count()
        return [count.specs, count.active]

    async def scale(self, group: str, count: int) -> list[str]:
        return [node.name for node in await self.context.system.scale(group, count)]

    async def reload(self, *names: str) -> list[str]:
        return [node.name for node in await self.context.system.reload(*names)]

    async def nodes(self) -> list[tuple[str, str, int, str]]:
        found = self.context.system.nodes
        return [(node.name, node.group, node.slot, node.state.value) for node in found]

    async def stats(self, name: str) -> Any:
        node = next(node for node in self.context.system.nodes if node.name == name)
        return (await node.stats())["node"]

    async def end(self, verb: str, name: str) -> None:
        node = next(node for node in self.context.system.nodes if node.name == name)
        done = getattr(node, verb)()
        if done is not None:
            await done

    async def stop_my_pool(self) -> str:
        found = await self.context.system.pool("staff")
        assert found is not None
        await found.stop(drain=True)
        try:
            await found.wait()
        except CallCycle as error:
            return str(error)
        return "it has ended"

    async def follow(self, kind: str) -> list[dict[str, Any]]:
        """Return the facts of the first event of a kind that follows a start of another actor."""
        events = self.context.system.events()
        await self.context.system.spawn(Worker, name="seen", on="box")
        async for event in events:
            if event.kind == kind and event.facts.get("child") == "seen":
                events.close()
                return [
                    dict(event.facts),
                    {"age": self.context.system.node.host.loop.now() - event.at},
                ]
        return []

    async def fall_behind(self) -> list[int]:
        """Read nothing while very many things happen; return how many events were lost, and how many left."""
        host: Any = self.context.ref.host
        events = self.context.system.events()
        for number in range(4500):
            host.services.event("made_up", {"number": number})
        await anyio.sleep(0.1)
        lost = left = 0
        with anyio.move_on_after(2):
            async for event in events:
                if event.kind == "events_lost":
                    lost += event.facts["count"]
                else:
                    left += 1
        events.close()
        return [lost, left]

    async def open_many(self, count: int) -> str:
        streams = [self.context.system.events() for _ in range(count)]
        try:
            with anyio.fail_after(5):
                await streams[-1].__anext__()
        except ActorsError as error:
            return str(error)
        finally:
            for stream in streams:
                stream.close()
        return ""


SPECS: dict[str, Any] = {
    "child": lambda: child(Worker, 3, name="kid", on="box"),
    "unplaced": lambda: child(Worker, 4, name="loose"),
    "tree": lambda: supervisor(
        "outer",
        [
            supervisor("inner", [child(Worker, 5, name="leaf", on="box/0")]),
            dynamic("guests", max_children=1),
        ],
    ),
    "pool": lambda: pool(Worker, 6, size=1, name="crew"),
    "nodes": lambda: nodes("more", kind="thread"),
    "environment": lambda: nodes("more", env={"LD_PRELOAD": "evil.so"}),
    "pool environment": lambda: pool(size=1, name="sly", env={"A": "b"}),
    "listener": lambda: listen("tests.pkg:handler", "127.0.0.1:0", nodes="box"),
    "nonsense": lambda: 7,
    "slow": lambda: child(Slow, name="slow", on="box"),
}


@pytest.fixture(scope="module")
def topology() -> Topology:
    return Topology(
        nodes=[nodes("box"), nodes("spare", kind="thread")],
        children=[dynamic("crowd"), child(Boss, name="boss", on="box")],
    )


@pytest.fixture
async def system(topology: Topology) -> AsyncIterator[System]:
    async with System(topology, local=False) as system:
        yield system


@pytest.fixture
async def boss(system: System) -> Any:
    return await system.lookup("boss")


async def test_a_node_starts_actors_trees_pools_and_nodes(system: System, boss: Any) -> None:
    assert await boss.ask(Boss.start, "child") == "<Ref kid Worker on box/0>"
    assert await boss.ask(Boss.start, "unplaced") == "<Ref loose Worker on main/0>"
    assert await boss.ask(Boss.start, "tree") == "None"
    for name, value in (("kid", 3), ("loose", 4), ("leaf", 5)):
        ref = await system.lookup(name)
        assert ref is not None
        assert await ref.ask(Worker.value) == value
    crew = await boss.ask(Boss.start, "pool")
    assert await crew.ask(Worker.value) == 6
    assert await boss.ask(Boss.start, "nodes") == "[<Node more/0 thread READY>]"
    assert "more/0" in [node.name for node in system.nodes]
    with pytest.raises(AlreadyStarted, match="kid"):
        await boss.ask(Boss.start, "child")
    with pytest.raises(InvalidSpec, match="there is a group of nodes 'more' already"):
        await boss.ask(Boss.start, "nodes")


async def test_a_node_manages_supervisors(system: System, boss: Any) -> None:
    ann = await boss.ask(Boss.start_child, "crowd", "ann")
    assert await ann.ask(Worker.value) == 7
    assert await boss.ask(Boss.rows, "crowd") == [("ann", "RUNNING", ann)]
    assert await boss.ask(Boss.counts, "crowd") == [1, 1]
    await boss.ask(Boss.call, "crowd", "stop_child", "ann")
    with pytest.raises(NotFound, match="ann"):
        await boss.ask(Boss.call, "crowd", "stop_child", "ann")
    await boss.ask(Boss.start, "tree")
    await boss.ask(Boss.call, "outer", "stop_child", "inner")
    assert [row[:2] for row in await boss.ask(Boss.rows, "outer")] == [
        ("guests", "RUNNING"),
        ("inner", "STOPPED"),
    ]
    with pytest.raises(SupervisorStopped, match="'outer/inner' is not running"):
        await boss.ask(Boss.rows, "outer/inner")
    await boss.ask(Boss.call, "outer", "restart_child", "inner")
    await boss.ask(Boss.call, "outer", "stop_child", "inner")
    await boss.ask(Boss.call, "outer", "delete_child", "inner")
    assert [row[0] for row in await boss.ask(Boss.rows, "outer")] == ["guests"]
    with pytest.raises(
        InvalidSpec, match="there is no supervisor 'nobody'; there are crowd, outer"
    ):
        await boss.ask(Boss.rows, "nobody")


@pytest.mark.parametrize(
    "what, why",
    [
        ("environment", r"nodes\('more', env=...\) is for the program that made the system"),
        ("pool environment", r"pool\('sly', env=...\) is for the program that made the system"),
        ("listener", r"listen\('127.0.0.1:0'\) is for the program that made the system"),
        ("nonsense", r"start\(\) takes what child\(\), .* made, got 7"),
    ],
)
async def test_what_a_node_may_not_start_is_refused_by_name(boss: Any, what: str, why: str) -> None:
    with pytest.raises(ActorsError, match=why):
        await boss.ask(Boss.start, what)


async def test_a_node_changes_groups(system: System, boss: Any) -> None:
    assert await boss.ask(Boss.scale, "spare", 2) == ["spare/0", "spare/1"]
    everyone = [("box/0", "box", 0, "READY"), ("spare/0", "spare", 0, "READY")]
    assert await boss.ask(Boss.nodes) == [*everyone, ("spare/1", "spare", 1, "READY")]
    assert await boss.ask(Boss.stats, "spare/1") == "spare/1"
    await boss.ask(Boss.end, "stop", "spare/1")
    assert await boss.ask(Boss.nodes) == everyone
    await boss.ask(Boss.scale, "box", 2)
    before = {node.name: node.pid for node in system.nodes}
    await boss.ask(Boss.end, "kill", "box/1")
    await eventually(lambda: _pid(system, "box/1") != before["box/1"], PATIENCE)
    await eventually(lambda: all(node.ready for node in system.nodes), PATIENCE)
    assert await boss.ask(Boss.reload, "box/1") == ["box/1"]
    with pytest.raises(InvalidSpec, match="there is no group of nodes 'nope'"):
        await boss.ask(Boss.scale, "nope", 1)
    with pytest.raises(InvalidSpec, match="a group has a whole number of nodes, 0 or more; got -1"):
        await boss.ask(Boss.scale, "spare", -1)


def _pid(system: System, name: str) -> int | None:
    return next(node.pid for node in system.nodes if node.name == name)


async def test_events_are_read_on_a_node(boss: Any) -> None:
    facts, age = await boss.ask(Boss.follow, "child_started")
    assert (facts["supervisor"], facts["child"]) == ("spawned", "seen")
    assert 0 <= age["age"] < 5


async def test_a_node_that_reads_no_events_is_told_how_many_it_has_lost(boss: Any) -> None:
    lost, left = await boss.ask(Boss.fall_behind)
    assert lost > 300
    assert left >= 4096 - 1
    assert lost + left >= 4500


async def test_a_node_may_not_follow_the_events_any_number_of_times(
    system: System, boss: Any
) -> None:
    why = "box/0 follows the events 64 times already, which is as often as a node may"
    assert (await boss.ask(Boss.open_many, 65)).startswith(why)
    core = coordinator_of(system)
    await eventually(lambda: core.events_of_nodes.open_streams == 0, PATIENCE)


async def test_the_streams_of_a_node_end_with_it(system: System, boss: Any) -> None:
    core = coordinator_of(system)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_ignore_end, boss)
        await eventually(lambda: core.events_of_nodes.open_streams == 1, PATIENCE)
        system.nodes[0].kill()
    await eventually(lambda: core.events_of_nodes.open_streams == 0, PATIENCE)


async def _ignore_end(boss: Any) -> None:
    with suppress(ActorsError):
        await boss.ask(Boss.follow, "never")


# -- calls that end who makes them -----------------------------------------------------------------


async def test_an_actor_that_stops_itself_by_its_supervisor_has_its_answer_first(
    system: System, boss: Any
) -> None:
    with anyio.fail_after(4):  # below the 5 seconds after which it would be killed
        await boss.ask(Boss.call, "", "stop_child", "boss")
        assert str(await boss.wait()) == "SHUTDOWN"


async def test_who_waits_for_the_caller_is_not_waited_for(system: System, boss: Any) -> None:
    asker = await system.spawn(Asker, boss, on="box", name="asker")
    with anyio.fail_after(4):
        await asker.ask(Asker.have_me_stopped)
        assert str(await asker.wait()) == "SHUTDOWN"


class Asker(Actor):
    def __init__(self, boss: Any) -> None:
        self.boss = boss

    async def have_me_stopped(self) -> None:
        await self.boss.ask(Boss.call, "spawned", "stop_child", "asker")


async def test_scaling_the_own_node_away_and_reloading_it_are_accepted(
    system: System, boss: Any
) -> None:
    await system.scale("box", 2)
    other: Any = await system.spawn(Boss, on="box/1")
    with anyio.fail_after(PATIENCE):
        assert await other.ask(Boss.scale, "box", 1) == ["box/0"]
        await eventually(lambda: "box/1" not in [node.name for node in system.nodes], PATIENCE)
        events = system.events()
        assert await boss.ask(Boss.reload, "box") == ["box/0"]
        async for event in events:
            if event.kind == "reload_done":
                break
    assert event.facts["by"] == "actor boss"


async def test_a_worker_that_stops_its_pool_does_not_wait_for_itself(system: System) -> None:
    staff = await system.start(pool(Boss, size=1, name="staff"))
    with anyio.fail_after(PATIENCE):
        why = await staff.ask(Boss.stop_my_pool)
        assert "cannot end before this task is done" in why
        assert await staff.wait() in {"it was stopped", "it has ended"}


async def test_a_child_that_asks_who_starts_it_is_refused(boss: Any) -> None:
    with anyio.fail_after(PATIENCE), pytest.raises(ChildNotStarted, match="CallCycle"):
        await boss.ask(Boss.start_curious)


async def test_a_start_that_is_cancelled_on_the_node_leaves_nothing(
    system: System, boss: Any
) -> None:
    with anyio.move_on_after(0.5):
        await boss.ask(Boss.start, "slow")
    await eventually(lambda: _names(system), PATIENCE)
    assert await system.lookup("slow") is None


async def _names(system: System) -> bool:
    tree = await system.tree()
    return "slow" not in [row["name"] for row in tree["children"]]

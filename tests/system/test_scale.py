"""Groups of nodes are added to a running system and scaled, while clients connect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from actors import (
    Actor,
    ActorsError,
    NodeDown,
    RoundRobin,
    System,
    Topology,
    child,
    current,
    listen,
    nodes,
    supervisor,
)
from actors._base.events import Event
from actors._system import cpu_budget
from actors._system.system import coordinator_of
from actors.errors import BootFailed, InvalidSpec
from actors.nodes import NodeKind
from actors.testing import running_system
from tests.leaks import census

PATIENCE = 40.0
KINDS = pytest.mark.parametrize("kind", ["process", "thread"])


@pytest.fixture
def anyio_backend() -> str:
    """One loop: the clients are written for it, and the nodes have their own."""
    return "asyncio"


class Where(Actor):
    async def node(self) -> str:
        return current().node.name


def serving(kind: NodeKind = "process", count: int = 1, **options: Any) -> Topology:
    return Topology(
        nodes=[nodes("web", kind=kind, count=count, **options)],
        listeners=[
            listen("tests.end_to_end.echo_handler:echo", "127.0.0.1:0", policy=RoundRobin())
        ],
    )


@asynccontextmanager
async def running(topology: Topology | None = None) -> AsyncIterator[System]:
    with anyio.fail_after(PATIENCE):
        async with running_system(topology) as system:
            yield system


def port_of(system: System, number: int = 0) -> int:
    router = coordinator_of(system).listeners[number].router
    assert router is not None
    return router.port


async def heard(stream: AsyncIterator[Event], kind: str, **facts: object) -> Mapping[str, Any]:
    async for event in stream:
        if event.kind == kind and facts.items() <= event.facts.items():
            return event.facts
    raise AssertionError(f"the events ended without {kind} {facts}")


async def say(stream: SocketStream, word: str = "hello") -> str:
    """Return which node answers on a connection."""
    await stream.send(word.encode())
    name, _, said = (await stream.receive()).decode().partition(" ")
    assert said == word
    return name


async def connected(port: int) -> str:
    """Return which node answers on a new connection."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        return await say(stream)


async def one_with_each(open_: AsyncExitStack, port: int) -> dict[str, SocketStream]:
    """Return a connection with each of two nodes; one whose loop has not turned lately gets none at first."""
    by_name: dict[str, SocketStream] = {}
    while len(by_name) < 2:
        stream = await open_.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
        name = await say(stream)
        if name in by_name:
            await stream.aclose()
        by_name.setdefault(name, stream)
    return by_name


class Clients:
    """Connect over and over again; every connection has to be answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.served: list[str] = []
        self.news = anyio.Event()

    async def go_on(self) -> None:
        while True:
            self.served.append(await connected(self.port))
            self.news.set()
            self.news = anyio.Event()

    async def see(self, *names: str) -> None:
        """Wait until each of these nodes has served somebody from now on."""
        begin = len(self.served)
        while not set(names) <= set(self.served[begin:]):
            await self.news.wait()


@KINDS
async def test_new_nodes_take_connections_and_nodes_that_go_lose_none(kind: NodeKind) -> None:
    async with running(serving(kind)) as system, anyio.create_task_group() as tasks:
        clients = Clients(port_of(system))
        for _ in range(4):
            tasks.start_soon(clients.go_on)
        await clients.see("web/0")
        three = await system.scale("web", 3)
        assert [(node.name, node.state.value) for node in three] == [
            ("web/0", "READY"),
            ("web/1", "READY"),
            ("web/2", "READY"),
        ]
        await clients.see("web/0", "web/1", "web/2")
        assert [node.name for node in await system.scale("web", 1)] == ["web/0"]
        begin = len(clients.served) + 4  # those that were being answered
        while len(clients.served) < begin + 20:
            await clients.news.wait()
        assert set(clients.served[begin:]) == {"web/0"}
        assert [place.name for place in _places(system)] == ["web/0"]
        tasks.cancel_scope.cancel()


def _places(system: System) -> Any:
    router = coordinator_of(system).listeners[0].router
    assert router is not None
    return router.snapshot().nodes


@KINDS
async def test_l12_an_open_connection_is_finished_before_its_node_goes(kind: NodeKind) -> None:
    async with running(serving(kind, 2, shutdown=600.0)) as system, AsyncExitStack() as open_:
        port = port_of(system)
        by_name = await one_with_each(open_, port)
        events = system.events()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(system.scale, "web", 1)
            await heard(events, "node_draining", node="web/1")
            assert await say(by_name["web/1"], "still here") == "web/1"
            assert {await connected(port) for _ in range(4)} == {"web/0"}
            assert await say(by_name["web/1"], "and still") == "web/1"
            await by_name["web/1"].aclose()
        ended = await heard(events, "node_ended", node="web/1")
        assert ended["why"] == ("exit code 0" if kind == "process" else "its thread ended")
        assert await say(by_name["web/0"]) == "web/0"


async def test_a_connection_that_does_not_end_is_cut_off_within_the_shutdown() -> None:
    async with running(serving("thread", 2, shutdown=0.25)) as system, AsyncExitStack() as open_:
        by_name = await one_with_each(open_, port_of(system))
        await system.scale("web", 1)
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await by_name["web/1"].receive()
        assert await say(by_name["web/0"]) == "web/0"


async def test_a_drained_node_finishes_its_connections_and_the_others_get_the_new_ones() -> None:
    async with running(serving("thread", 2)) as system:
        port = port_of(system)
        events = system.events()
        node = system.nodes[2]
        async with AsyncExitStack() as open_, anyio.create_task_group() as tasks:
            by_name = await one_with_each(open_, port)
            tasks.start_soon(node.drain, 600.0)
            await heard(events, "node_draining", node="web/1")
            assert await say(by_name["web/1"]) == "web/1"
            assert {await connected(port) for _ in range(4)} == {"web/0"}
            await by_name["web/1"].aclose()
        assert node.state.value == "DRAINING"
        assert [node.name for node in await system.scale("web", 1)] == ["web/0"]


async def test_a_group_is_added_and_runs_actors() -> None:
    async with running() as system:
        added = await system.start(nodes("extra", count=2, kind="thread"))
        assert [(node.name, node.state.value) for node in added] == [
            ("extra/0", "READY"),
            ("extra/1", "READY"),
        ]
        assert system.nodes[1:] == added
        where = await system.spawn(Where, on="extra/1")
        assert await where.ask(Where.node) == "extra/1"
        await system.start(supervisor("family", [child(Where, name="kid", on="extra")]))
        assert await system.lookup("kid") is not None
        tree = await system.tree()
        assert [row["name"] for row in tree["children"][0]["children"]] == ["extra/0", "extra/1"]


async def test_nodes_that_are_started_later_count_for_the_cpu_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu_budget, "usable_cpus", lambda: 2)
    async with running_system(Topology(nodes=[nodes("web", kind="thread")])) as system:
        events = system.events()
        await system.start(nodes("work", kind="thread"))
        await system.start(nodes("more", kind="thread"))
        await system.scale("web", 2)
        await system.scale("web", 1)
        await system.scale("more", 0)
        await system.scale("work", 2)
        events.close()
        told = [event.facts async for event in events if event.kind == "cpu_budget"]
    assert [(facts["nodes"], facts["groups"]) for facts in told] == [
        (3, "web=1, work=1, more=1"),
        (4, "web=2, work=1, more=1"),
        (3, "web=1, work=2"),
    ]
    assert {facts["cpus"] for facts in told} == {2}


async def test_a_name_that_is_there_is_refused_and_named() -> None:
    async with running(serving("thread")) as system:
        for name in ("web", "local"):
            with pytest.raises(InvalidSpec, match=f"a group of nodes {name!r} already"):
                await system.start(nodes(name, kind="thread"))
        assert len(system.nodes) == 2


async def test_of_a_group_that_fails_to_boot_nothing_is_left_and_its_name_is_free() -> None:
    async with running() as system:
        with pytest.raises(BootFailed, match=r"node extra/\d was not ready after 0.001 s"):
            await system.start(nodes("extra", count=3, boot_timeout=0.001))
        assert [node.name for node in system.nodes] == ["local"]
        assert coordinator_of(system).tree.node_names() == set()
        (node,) = await system.start(nodes("extra", kind="thread"))
        assert node.ready


async def test_of_new_nodes_that_fail_to_boot_none_is_left_and_the_others_serve(
    tmp_path: Path,
) -> None:
    flag = tmp_path / "no-more"
    async with running(serving(env={"NO_MORE": str(flag)})) as system:
        flag.touch()
        with pytest.raises(ActorsError, match="RuntimeError: no more of these"):
            await system.scale("web", 3)
        assert [node.name for node in system.nodes] == ["local", "web/0"]
        assert {await connected(port_of(system)) for _ in range(4)} == {"web/0"}
        flag.unlink()
        assert len(await system.scale("web", 2)) == 2


async def test_slots_are_stable_and_the_lowest_free_ones_are_taken_first() -> None:
    async with running(Topology(nodes=[nodes("pool", kind="thread", count=3)])) as system:
        await system.nodes[1].stop()
        assert [node.slot for node in await system.scale("pool", 4)] == [0, 1, 2, 3]
        assert [node.slot for node in await system.scale("pool", 2)] == [0, 1]
        assert [node.slot for node in await system.scale("pool", 2)] == [0, 1]


async def test_a_group_without_nodes_can_be_scaled_up_or_made_anew() -> None:
    async with running(Topology(nodes=[nodes("pool", kind="thread")])) as system:
        assert await system.scale("pool", 0) == []
        with pytest.raises(InvalidSpec, match="no node or group"):
            await system.spawn(Where, on="pool")
        assert [node.name for node in await system.scale("pool", 1)] == ["pool/0"]
        await system.scale("pool", 0)
        made = await system.start(nodes("pool", kind="thread", count=2))
        assert [node.name for node in made] == ["pool/0", "pool/1"]


async def test_what_cannot_be_scaled_is_refused_with_the_value() -> None:
    async with running(serving("thread")) as system:
        many: list[tuple[str, Any, str]] = [
            ("wbe", 2, "there is no group of nodes 'wbe'; the groups are 'web'"),
            ("web/0", 2, "there is no group of nodes 'web/0'"),
            ("web", -1, "0 or more; got -1"),
            ("web", 1.0, "0 or more; got 1.0"),
            ("web", True, "0 or more; got True"),
            ("web", 5000, "count must be 1 to 1024, got 5000"),
            ("web", 0, "web=0 leaves nobody to serve 127.0.0.1:0"),
            ("local", 2, "'local' is the local node"),
        ]
        for group, count, why in many:
            with pytest.raises(InvalidSpec, match=why):
                await system.scale(group, count)
        assert len(system.nodes) == 2


async def test_two_changes_of_a_group_come_one_after_the_other() -> None:
    async with running(Topology(nodes=[nodes("pool", kind="thread")])) as system:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(system.scale, "pool", 3)
            tasks.start_soon(system.scale, "pool", 2)
            tasks.start_soon(system.scale, "pool", 1)
        assert [node.name for node in system.nodes] == ["local", "pool/0"]


async def test_a_system_can_stop_while_nodes_are_added() -> None:
    async def scale(system: System) -> None:
        with suppress(ActorsError):
            await system.scale("web", 4)

    async with anyio.create_task_group() as tasks, running(serving()) as system:
        tasks.start_soon(scale, system)
        await anyio.wait_all_tasks_blocked()


async def test_the_first_actors_of_a_system_without_a_local_node_wait_for_their_group() -> None:
    where: list[str] = []

    async def spawn(system: System) -> None:
        where.append((await system.spawn(Where)).node)

    async with System(local=False) as system, anyio.create_task_group() as tasks:
        tasks.start_soon(spawn, system)
        tasks.start_soon(spawn, system)
    assert where == ["main/0", "main/0"]


async def test_a_ref_to_a_node_that_was_scaled_away_says_so() -> None:
    async with running(Topology(nodes=[nodes("pool", kind="thread", count=2)])) as system:
        gone = await system.spawn(Where, on="pool/1")
        await system.scale("pool", 1)
        with pytest.raises(NodeDown, match=r"pool/1 is down \(stopped\); it is not coming back"):
            await gone.ask(Where.node)
        await system.scale("pool", 2)
        with pytest.raises(ActorsError, match="NODE_DOWN"):
            await gone.ask(Where.node)


@pytest.mark.parametrize("kind,count", [("thread", 8), ("process", 4)])  # processes are dear
async def test_l08_stopping_nodes_with_two_listeners_leaves_nothing_twice_over(
    kind: NodeKind, count: int
) -> None:
    path, policy = "tests.end_to_end.echo_handler:echo", RoundRobin()
    listeners = [listen(path, "127.0.0.1:0", policy=policy, name=name) for name in ("a", "b")]
    topology = Topology(nodes=[nodes("web", kind=kind, count=count)], listeners=listeners)
    left: list[set[str]] = []
    for _ in range(2):
        async with running(topology) as system:
            for number in range(2):
                served = {await connected(port_of(system, number)) for _ in range(count)}
                assert served == {f"web/{slot}" for slot in range(count)}
        left.append(census())
    assert left[1] <= left[0]


async def test_l09_a_system_without_nodes_stops_and_stops_again() -> None:
    with anyio.fail_after(PATIENCE):
        async with System() as system:
            await system.stop()
            await system.stop()
            await anyio.sleep_forever()
        await system.stop()

"""Nodes go on with new code, one after another, and no client notices."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from actors import ActorsError, Node, Ref, System, Topology, asgi, listen, nodes
from actors._base.events import Event
from actors._system.system import coordinator_of
from actors.errors import InvalidSpec, ReloadFailed, ReloadRunning
from actors.testing import running_system
from tests.system.reload_rig import Code, Ledger, Load, failing_at, until

PATIENCE = 60.0
NOT_STARTED = {"type": "lifespan.startup.failed", "message": "no database"}


@pytest.fixture
def anyio_backend() -> str:
    """One loop: the clients are written for it, and the nodes have their own."""
    return "asyncio"


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Code:
    monkeypatch.syspath_prepend(str(tmp_path))
    written = Code(tmp_path)
    written.write("one")
    return written


@asynccontextmanager
async def running(*groups: Any, serve: Any = None) -> AsyncIterator[System]:
    listeners = [listen(serve, "127.0.0.1:0", nodes="web")] if serve is not None else []
    with anyio.fail_after(PATIENCE):
        async with running_system(Topology(nodes=groups, listeners=listeners)) as system:
            yield system


def port_of(system: System) -> int:
    router: Any = coordinator_of(system).listeners[0].router
    return int(router.port)


def pids(system: System) -> dict[str, int | None]:
    return {node.name: node.pid for node in system.nodes if node.kind == "process"}


async def heard(stream: AsyncIterator[Event], kind: str) -> Event:
    async for event in stream:
        if event.kind == kind:
            return event
    raise AssertionError(f"the events ended without {kind}")


async def test_a_rolling_reload_of_four_nodes_under_keep_alive_load_loses_no_request(
    code: Code,
) -> None:
    async with running(nodes("web", count=4, shutdown=2.0), serve=asgi(code.app)) as system:
        before = pids(system)
        load = Load(port_of(system))
        async with load.running():
            await load.see("one")
            code.write("two")
            renewed = await system.reload()
            await load.see("two")
            assert set(load.answers) == {"two"}
            code.write("three")
            await system.reload("web", surge=True)
            await load.see("three")
        assert load.failures == []
        assert set(load.answers) == {"three"}
        assert [node.name for node in renewed] == ["web/0", "web/1", "web/2", "web/3"]
        assert [(node.state.value, node.restarts) for node in renewed] == [("READY", 2)] * 4
        assert not set(before.values()) & set(pids(system).values())


async def test_new_code_that_raises_at_start_leaves_every_node_as_it_was(code: Code) -> None:
    async with running(nodes("web", count=4), serve=asgi(code.app)) as system:
        before = pids(system)
        load = Load(port_of(system))
        async with load.running():
            await load.see("one")
            code.write("two", begin="raise OSError('no disk')")
            with pytest.raises(ReloadFailed, match="OSError: no disk") as caught:
                await system.reload()
            code.write("two", startup=f"await send({NOT_STARTED}); return")
            with pytest.raises(ReloadFailed, match=r"startup .*: no database"):
                await system.reload(surge=True)
            await load.see("one")
        assert load.failures == []
        assert set(load.answers) == {"one"}
        assert pids(system) == before
        assert (caught.value.node, caught.value.renewed) == ("web/0", [])
        assert caught.value.traceback.splitlines()[-3:] == [
            f'  File "{code.path}", line 2, in <module>',
            "    raise OSError('no disk')",
            "OSError: no disk",
        ]


async def test_a_reload_stops_at_the_first_node_that_does_not_get_ready(
    code: Code, tmp_path: Path
) -> None:
    async with running(nodes("web", count=3), serve=code.handler) as system:
        before, events = pids(system), system.events()
        code.write("two", begin=failing_at(2, tmp_path))
        with pytest.raises(ReloadFailed, match="web/1 stays as it was, renewed before it: web/0"):
            await system.reload()
        after = pids(system)
        assert [name for name in after if after[name] != before[name]] == ["web/0"]
        failed = await heard(events, "reload_failed")
        assert failed.facts["node"] == "web/1"
        assert "no more of these" in failed.facts["traceback"]
        assert await answers(system, 3) == {"one", "two"}


async def test_with_surge_all_nodes_are_renewed_or_none(code: Code, tmp_path: Path) -> None:
    async with running(nodes("web", count=3), serve=code.handler) as system:
        before = pids(system)
        code.write("two", begin=failing_at(3, tmp_path))
        with pytest.raises(ReloadFailed, match="none is renewed"):
            await system.reload(surge=True)
        assert pids(system) == before
        assert len(coordinator_of(system).runs) == 3
        assert await answers(system, 3) == {"one"}


async def answers(system: System, count: int) -> set[str]:
    """Return what so many connections in a row are told."""
    said = set()
    for _ in range(count):
        async with await anyio.connect_tcp("127.0.0.1", port_of(system)) as stream:
            said.add((await stream.receive()).decode())
    return said


async def test_a_process_that_is_not_ready_in_time_is_removed(code: Code, tmp_path: Path) -> None:
    async with running(nodes("web"), serve=code.handler) as system:
        before = pids(system)
        code.write("two", begin=until(tmp_path / "never"))
        with pytest.raises(ReloadFailed, match=r"node web/0 was not ready after 0\.5 s"):
            await system.reload(ready_timeout=0.5)
        assert pids(system) == before
        assert len(coordinator_of(system).runs) == 1
        assert await answers(system, 1) == {"one"}


async def test_a_websocket_is_told_at_once_to_come_back_and_finds_the_new_code(code: Code) -> None:
    async with running(nodes("web", shutdown=2 * PATIENCE), serve=asgi(code.app)) as system:
        url = f"ws://127.0.0.1:{port_of(system)}/"
        async with connect(url, proxy=None) as old, anyio.create_task_group() as tasks:
            assert await old.recv() == "one"
            events = system.events()
            code.write("two")
            tasks.start_soon(system.reload)
            await heard(events, "node_draining")
            with pytest.raises(ConnectionClosed) as caught:
                await old.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012
            async with connect(url, proxy=None) as new:
                assert await new.recv() == "two"


async def test_an_actor_ends_in_the_old_process_before_it_begins_in_the_new_one(
    tmp_path: Path,
) -> None:
    notes = tmp_path / "notes"
    async with running(nodes("web", shutdown=20.0)) as system:
        ledger = await system.spawn(Ledger, str(notes), name="ledger", on="web/0")
        _, old = await ledger.ask(Ledger.where)
        assert await ledger.ask(Ledger.add) == 1
        events = system.events()
        async with anyio.create_task_group() as tasks:
            late: list[int] = []

            async def ask() -> None:
                late.append(await ledger.ask(Ledger.slowly, 0.5))

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(system.reload)
            await heard(events, "node_draining")
            assert await ledger.ask(Ledger.add) == 1  # it waited for the new process
        node, new = await ledger.ask(Ledger.where)
        assert (node, new != old, late) == ("web/0", True, [old])
        assert await ledger.ask(Ledger.add) == 2
        assert await system.lookup("ledger") == ledger
        said = notes.read_text().splitlines()
        assert said == [f"begins {old}", f"ends {old}", f"begins {new}"]
        row = (await system.tree())["children"][1]["children"][0]
        assert (row["state"], row["last_exit"]) == ("RUNNING", "NODE_DOWN(web/0: it is draining)")


async def test_nodes_find_each_other_s_actors_after_any_number_of_reloads(tmp_path: Path) -> None:
    groups = nodes("web"), nodes("rooms")
    async with running(*groups) as system:
        room = await system.spawn(Ledger, str(tmp_path / "room"), name="room", on="rooms")
        other = await system.spawn(Ledger, str(tmp_path / "other"), name="other", on="web/0")
        seen = await both_ways(room, other)
        for _ in range(2):
            before = seen
            await system.reload()
            await room.wait_ready()
            await other.wait_ready()
            seen = await both_ways(room, other)
            assert [name for name, _ in seen] == ["rooms/0", "web/0", "rooms/0", "web/0"]
            assert not {pid for _, pid in seen} & {pid for _, pid in before}


async def both_ways(room: Ref[Ledger], other: Ref[Ledger]) -> list[tuple[str, int]]:
    return [
        await other.ask(Ledger.relay, room),
        await room.ask(Ledger.relay, other),
        await room.ask(Ledger.where),
        await other.ask(Ledger.where),
    ]


async def test_old_and_new_processes_talk_to_other_nodes_at_the_same_time(
    code: Code, tmp_path: Path
) -> None:
    asking = "from tests.system.reload_rig import ask_the_room; await ask_the_room()"
    code.write("one", request=asking)
    groups = nodes("web", shutdown=2.0), nodes("rooms")
    async with running(*groups, serve=asgi(code.app)) as system:
        await system.spawn(Ledger, str(tmp_path / "room"), name="room", on="rooms")
        load = Load(port_of(system), rate=50)
        async with load.running():
            await load.see("one")
            code.write("two", request=asking, startup=asking)
            await system.reload("web")
            await load.see("two")
        assert load.failures == []


async def test_a_node_that_asked_others_before_it_was_ready_is_reached_by_them(
    code: Code, tmp_path: Path
) -> None:
    code.write("one")
    async with running(nodes("web"), nodes("rooms"), serve=asgi(code.app)) as system:
        room = await system.spawn(Ledger, str(tmp_path / "room"), name="room", on="rooms")
        code.write(
            "two", startup="from tests.system.reload_rig import ask_the_room; await ask_the_room()"
        )
        await system.scale("web", 2)
        other = await system.spawn(Ledger, str(tmp_path / "other"), on="web/1")
        assert (await room.ask(Ledger.relay, other))[0] == "web/1"


async def test_one_reload_at_a_time(code: Code, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running(nodes("web"), nodes("other"), serve=code.handler) as system:
        code.write("two", begin=until(gate))
        events = system.events()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(system.reload, "web")
            await heard(events, "reload_started")
            with pytest.raises(
                ReloadRunning, match=r"another reload is under way, by system.reload\(\): web"
            ):
                await system.reload("other")
            gate.touch()
        assert await answers(system, 1) == {"two"}


async def test_what_cannot_be_reloaded_is_refused_by_name() -> None:
    async with running(nodes("threads", kind="thread")) as system:
        many: list[tuple[tuple[str, ...], str]] = [
            (("wbe",), "there is no node or group 'wbe'; the nodes are threads/0"),
            (("threads",), "'threads' cannot be reloaded: a thread has the code of its process"),
            ((), "there is no process node to reload"),
        ]
        for names, why in many:
            with pytest.raises(InvalidSpec, match=why):
                await system.reload(*names)
        with pytest.raises(InvalidSpec, match="ready_timeout must be more than 0 seconds, got -1"):
            await system.reload(ready_timeout=-1)


async def test_a_node_that_dies_while_its_successor_boots_is_restarted_and_the_reload_fails(
    code: Code, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with running(nodes("web"), serve=code.handler) as system:
        code.write("two", begin=until(gate))
        (node,) = system.nodes[1:]
        events = system.events()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_kill_when, tmp_path / "gate.asked", node)
            with pytest.raises(
                ReloadFailed, match=r"is being restarted.*ended meanwhile: killed by SIGKILL"
            ):
                await system.reload()
        gate.touch()
        assert (await heard(events, "node_ready")).facts["restarts"] == 1
        assert len(coordinator_of(system).runs) == 1
        assert await answers(system, 1) == {"two"}


async def _kill_when(path: Path, node: Node) -> None:
    while not await anyio.Path(path).exists():  # noqa: ASYNC110 - another process makes it
        await anyio.sleep(0.02)
    assert node.pid is not None
    os.kill(node.pid, signal.SIGKILL)


async def test_a_system_can_stop_while_it_reloads(code: Code, tmp_path: Path) -> None:
    async def reload(system: System) -> None:
        with pytest.raises(ActorsError):
            await system.reload()

    async with (
        anyio.create_task_group() as tasks,
        running(nodes("web"), serve=code.handler) as system,
    ):
        code.write("two", begin=until(tmp_path / "never"))
        events = system.events()
        tasks.start_soon(reload, system)
        await heard(events, "reload_started")

"""A connection that cannot be: each mistake is one error that names it, and the system goes on."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

import actors
from actors import System
from actors._base import version
from actors._base.control_folder import make_folder, socket_path
from actors._remoting import operations as ops
from actors._system import client_task
from actors.errors import ActorsError, InvalidSpec, NoSystem
from tests.cli.running_command import Running
from tests.connect.shop import Counter

PATIENCE = 15


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _refusal(which: Any = None) -> str:
    with pytest.raises(ActorsError) as refused:
        async with actors.connect(which):
            pass
    return str(refused.value)


async def test_no_system_runs(folder: Path) -> None:
    with pytest.raises(NoSystem, match=r"no system of yours is running .*control=True"):
        await actors.connect()
    with pytest.raises(NoSystem, match="no system runs as 'orders'; running: none"):
        await actors.connect("orders")
    with (
        pytest.raises(NoSystem, match="no system runs in process 4711"),
        actors.connect(4711),
    ):
        pass


@pytest.mark.parametrize("which", [True, "", 1.5, ["orders"]])
async def test_what_names_no_system_is_shown(which: Any) -> None:
    with pytest.raises(InvalidSpec, match="connect takes the name of a system"):
        await actors.connect(which)


async def test_several_systems_run(folder: Path) -> None:
    async with System(control=True), System(control="shop") as shop:
        assert "2 systems are running; choose one:\n  connect('" in await _refusal()
        await shop.spawn(Counter, 3, name="counter")
        # In the same process, and even in the same loop: it is another program's view all the same.
        async with actors.connect("shop") as system:
            counter = await system.lookup("counter", Counter)
            assert counter is not None
            assert await counter.ask(Counter.add) == 4


async def test_a_socket_whose_system_has_ended_is_no_system(folder: Path) -> None:
    make_folder(folder / "actors")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_path(folder / "actors", 2**21)))
    assert "no system of yours is running" in await _refusal()


async def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    os.chmod(folder, 0o755)  # noqa: PTH101, S103 - as a careless user does
    assert "so that others can enter it" in await _refusal(folder)


async def test_something_else_that_listens_there_is_no_system(folder: Path) -> None:
    make_folder(folder / "actors")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(socket_path(folder / "actors", 4711)))
        other.listen()
        refusal: list[str] = []

        async def connect() -> None:
            refusal.append(await _refusal())

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connect)
                await anyio.wait_readable(other)
                other.accept()[0].close()
        assert refusal[0].startswith("system 4711 did not answer: ")


@pytest.mark.usefixtures("connected_folder")
class TestOfARunningSystem:
    async def test_another_version_is_refused(
        self, shop: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_task, "installed_version", lambda: "0.0.1")
        assert await _refusal() == (
            f"system {shop.pid} refused: this system runs actors-framework {_version()}, and the program "
            "that wants to connect has 0.0.1: a client needs the same version"
        )

    async def test_one_that_says_no_more_than_connect_is_no_client(self, shop: Running) -> None:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(shop.socket))
            raw.sendall(json.dumps({"op": "connect"}).encode() + b"\n")
            reply = await anyio.to_thread.run_sync(raw.makefile().readline)
            assert "has None: a client needs the same version" in json.loads(reply)["error"]

    async def test_what_a_client_may_not_ask_for_is_not_served(self) -> None:
        with anyio.fail_after(PATIENCE):
            async with actors.connect() as system:
                parent = _parent(system)
                for call in (
                    parent.call(ops.scale, "web", 5),
                    parent.call(ops.stop_system),
                    parent.call(ops.stop_node, "web/0", None),
                ):
                    with pytest.raises(ActorsError, match="is not served here"):
                        await call
                assert len(system.nodes) == 2

    @pytest.mark.parametrize("garbage", ["note", "bytes"])
    async def test_what_breaks_the_protocol_ends_that_connection_alone(self, garbage: str) -> None:
        with anyio.fail_after(PATIENCE):
            async with actors.connect() as system:
                pids = {node.pid for node in system.nodes}
                other = await actors.connect()
                if garbage == "note":
                    _parent(other).note(ops.kill_node, "web/0", "a stranger")
                else:
                    _parent(other)._channel._sock.send(b"\xff" * 64)
                await other.wait()
                assert {node.pid for node in system.nodes} == pids
                counter = await system.lookup("counter", Counter)
                assert counter is not None
                assert await counter.ask(Counter.add, 0)

    async def test_a_node_does_for_a_client_only_what_its_actors_do(self) -> None:
        with anyio.fail_after(PATIENCE):
            async with actors.connect() as system:
                counter = await system.lookup("counter", Counter)
                assert counter is not None
                pid = await counter.ask(Counter.pid)
                link = _client(system).host.peers["web/0"].link
                with pytest.raises(ActorsError, match="is not served here"):
                    await link.call(ops.stats)
                link.note(ops.end_now)
                while link.closed is None:  # noqa: ASYNC110 - there is no event to wait for
                    await anyio.sleep(0.01)
                assert await counter.ask(Counter.pid) == pid


def _client(system: System) -> Any:
    access: Any = system._access
    return access.client


def _parent(system: System) -> Any:
    return _client(system).parent


def _version() -> str:
    return version.installed_version()

"""Process nodes as other systems' cluster tests treat theirs: the L rows of the cases.

L16 is in virtual time, in `tests/conformance`; L15 and L17 have their full numbers in `tests/soak`.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest

from actors import Node, NodeDown, Restart, System, Topology, listen, nodes
from actors.errors import BootFailed
from actors.testing import crash, eventually, running_system
from tests import scripts
from tests.conftest import LOOPS
from tests.end_to_end.server_process import free_port
from tests.nodes.cluster_actors import Holder, Host, is_open

PATIENCE = 20.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what a node does with itself is not the parent's loop's business."""
    return LOOPS["uvloop"]


def _web(port: int, handler: str = "echo", **options: Any) -> Topology:
    listener = listen(f"tests.nodes.cluster_actors:{handler}", f"127.0.0.1:{port}", nodes="web")
    return Topology(nodes=[nodes("web", **options)], listeners=[listener])


def _nodes(system: System) -> list[Node]:
    return [node for node in system.nodes if node.kind == "process"]


async def _log(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """All of the log, which is written a moment after the end of its system."""
    lines: list[dict[str, Any]] = []

    def ended() -> bool:
        lines.extend(json.loads(line) for line in capfd.readouterr().err.splitlines())
        return any(line["event"] == "system stopped" for line in lines)

    await eventually(ended, PATIENCE)
    return lines


async def test_l01_a_node_with_a_listener_is_told_in_order_and_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with anyio.fail_after(PATIENCE):
        port = free_port()
        async with running_system(_web(port)) as system:
            (node,) = _nodes(system)
            pid = node.pid
            assert node.state.value == "READY"
            await crash(node)
            assert node.state.value in {"EXITED", "SPAWNED", "BOOTING"}
            await eventually(lambda: node.ready, PATIENCE)
            again = node.pid
        assert node.state.value == "EXITED"
        said = await _log(capfd)
    told = [line for line in said if line["event"] in {"node ready", "listening", "node ended"}]
    assert [line["event"] for line in told] == [
        *["node ready", "listening"],
        *["node ready", "node ended"],
    ]
    assert [line["address"] for line in told if line["event"] == "listening"] == [
        f"127.0.0.1:{port}"
    ]
    # Another run is another process under the same name.
    assert [line.get("pid") for line in told if line["event"] == "node ready"] == [pid, again]
    assert pid != again
    assert {line["node"] for line in told if line["event"] != "listening"} == {"web/0"}


async def test_l02_a_node_that_leaves_is_told_once_when_it_and_its_names_are_gone() -> None:
    with anyio.fail_after(PATIENCE):
        port = free_port()
        async with running_system(_web(port, "leave")) as system:
            (node,) = _nodes(system)
            pid = node.pid
            assert pid is not None
            await system.spawn(Host, on="web", name="host", restart=Restart.TEMPORARY)
            events = system.events()
            stream = await anyio.connect_tcp("127.0.0.1", port)
            async for event in events:
                if event.kind == "node_died":
                    break
            assert event.facts["why"] == "exit code 42"
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
            assert await system.lookup("host") is None
            await eventually(lambda: node.ready, PATIENCE)  # nobody had asked for it
            await stream.aclose()
        rest = [event.kind async for event in events]
        assert "node_died" not in rest


def test_l10_a_program_that_fails_takes_its_nodes_along(tmp_path: Path) -> None:
    source = """
        import actors

        async def main():
            async with actors.System(actors.Topology(nodes=[actors.nodes("web", count=2)])) as system:
                print(*(node.pid for node in system.nodes if node.pid and node.kind == "process"))
                raise RuntimeError("after two nodes were ready")

        actors.run(main)
    """
    code, out, err = scripts.run(tmp_path / "fails.py", source)
    assert code == 1
    assert "RuntimeError: after two nodes were ready" in err
    pids = [int(pid) for pid in out.split()]
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def _connect(port: int) -> tuple[anyio.abc.SocketStream, int]:
    """Connect, and say which process serves."""
    stream = await anyio.connect_tcp("127.0.0.1", port)
    return stream, int(await stream.receive())


async def test_l12_a_draining_node_waits_for_its_last_connection_and_gets_no_new_one() -> None:
    drained = anyio.Event()

    async def drain(node: Node) -> None:
        await node.drain(grace=PATIENCE)
        drained.set()

    with anyio.fail_after(PATIENCE):
        port = free_port()
        async with running_system(_web(port, count=2)) as system:
            stream, pid = await _connect(port)
            (node,) = [node for node in _nodes(system) if node.pid == pid]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(drain, node)
                await eventually(lambda: node.state.value == "DRAINING")
                for _ in range(4):
                    other, other_pid = await _connect(port)
                    assert other_pid != pid
                    await other.aclose()
                # Served as before, and waited for.
                await stream.send(b"still here")
                assert await stream.receive() == b"still here"
                assert not drained.is_set()
                await stream.aclose()
                await drained.wait()


@contextmanager
def _server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


async def test_l14_an_outgoing_connection_does_not_keep_a_node() -> None:
    with anyio.fail_after(PATIENCE), _server() as server:
        async with running_system(Topology(nodes=[nodes("web")])) as system:
            (node,) = _nodes(system)
            host = await system.spawn(Host, on="web")
            await host.ask(Host.connect, server.getsockname()[1])
            connection, _ = server.accept()
            connection.settimeout(PATIENCE)
            with connection:
                await node.stop(grace=PATIENCE * 10)
                assert await anyio.to_thread.run_sync(connection.recv, 1) == b""
            assert node.state.value == "EXITED"


async def test_l14_what_does_not_end_by_the_grace_is_killed_with_its_node() -> None:
    with anyio.fail_after(PATIENCE), _server() as server:
        async with running_system(Topology(nodes=[nodes("web")])) as system:
            (node,) = _nodes(system)
            pid = node.pid
            assert pid is not None
            host = await system.spawn(Host, on="web")
            await host.ask(Host.connect, server.getsockname()[1])
            await host.tell(Host.hang)
            await node.stop(grace=0.3)
            assert not psutil.pid_exists(pid)
            assert (await host.wait()).abnormal or str(await host.wait()) == "SHUTDOWN"


@contextmanager
def few_descriptors(more: int) -> Iterator[None]:
    """Let this process have only so many descriptors more than it has."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}
    free = next(number for number in count() if number not in used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def start_without_descriptors(more: int, nodes_: int) -> None:
    """Try to start more nodes than there are descriptors for; nothing of it is left."""
    with few_descriptors(more), pytest.raises(BootFailed) as caught:
        async with System(Topology(nodes=[nodes("web", count=nodes_)])):
            pytest.fail("it started")
    assert re.search(
        r"node web/\d+ could not be started: .*Too many open files.* \(RLIMIT_NOFILE of this process is \d+: ",
        str(caught.value),
    )
    assert psutil.Process().children() == []


@pytest.mark.usefixtures("cold_nodes")
@pytest.mark.parametrize("more", [8, 14, 22])
async def test_l15_without_descriptors_no_node_is_half_started(more: int) -> None:
    with anyio.fail_after(PATIENCE):
        await start_without_descriptors(more, 8)
        if more == 8:  # with descriptors again, nodes start
            async with running_system(Topology(nodes=[nodes("web")])) as system:
                assert await (await system.spawn(Host, on="web")).ask(Host.pid) != os.getpid()


async def rounds(times: int, each: int) -> tuple[int, int]:
    """Start and stop that many nodes so often; return descriptors and resident bytes after it."""
    for _ in range(times):
        async with running_system(Topology(nodes=[nodes("web", count=each)])) as system:
            assert len(_nodes(system)) == each
    return psutil.Process().num_fds(), psutil.Process().memory_info().rss


async def test_l17_starting_and_stopping_nodes_leaves_nothing() -> None:
    with anyio.fail_after(60):
        descriptors, resident = await rounds(1, 2)
        after = await rounds(2, 2)
    assert after[0] == descriptors
    assert after[1] < 1.2 * resident


async def test_l18_what_a_crashed_actor_had_open_is_closed() -> None:
    with anyio.fail_after(PATIENCE):
        async with running_system() as system:
            holder = await system.spawn(Holder, restart=Restart.TEMPORARY)
            file, listening, port = await holder.ask(Holder.held)
            await holder.tell(Holder.crash)
            assert (await holder.wait()).error is not None
            gc.collect()  # an object may be in a cycle with its context
            assert not is_open(file)
            assert not is_open(listening)
            with socket.create_server(("127.0.0.1", port)):
                pass


async def test_l18_the_port_of_a_node_that_died_can_be_bound_at_once() -> None:
    with anyio.fail_after(PATIENCE):
        async with running_system(Topology(nodes=[nodes("web")])) as system:
            (node,) = _nodes(system)
            holder = await system.spawn(Holder, on="web", restart=Restart.TEMPORARY)
            host = await system.spawn(Host, on="web")
            _, _, port = await holder.ask(Holder.held)
            with pytest.raises(NodeDown, match="exit code 1"):
                await host.ask(Host.exit, 1)
            with socket.create_server(("127.0.0.1", port)):
                pass
            await eventually(lambda: node.ready, PATIENCE)

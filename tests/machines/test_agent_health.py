"""What probes are told of an agent."""

from __future__ import annotations

import resource
import socket

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from actors.errors import InvalidSpec
from actors.machines.agent_health import AgentHealth
from tests.machines.joining import free_port

pytestmark = [pytest.mark.within(20), pytest.mark.usefixtures("no_leaks")]


class _Probed:
    ready = False
    doing = "it waits"


async def _ask(port: int, request: bytes) -> tuple[str, str]:
    """Return the first line and the body of an answer."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        answer = b""
        async for part in stream:
            answer += part
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head.partition("\r\n")[0], body


async def test_it_is_alive_while_it_answers_and_ready_when_its_nodes_are() -> None:
    probed, port = _Probed(), free_port()
    health = await AgentHealth.open(("127.0.0.1", port), probed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(health.serve)
        assert await _ask(port, b"GET /live HTTP/1.1\r\n\r\n") == ("HTTP/1.1 200 OK", "alive\n")
        ready = b"GET /ready?verbose HTTP/1.1\r\nHost: here\r\n\r\n"
        assert await _ask(port, ready) == ("HTTP/1.1 503 Service Unavailable", "it waits\n")
        probed.ready = True
        assert (await _ask(port, ready))[0] == "HTTP/1.1 200 OK"
        assert await _ask(port, b"HEAD /live HTTP/1.1\r\n\r\n") == ("HTTP/1.1 200 OK", "")
        assert (await _ask(port, b"GET / HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"
        assert (await _ask(port, b"POST /live HTTP/1.1\r\n\r\n"))[0].startswith("HTTP/1.1 405")
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("said", [b"", b"x" * 5000, b"\0\xff\r\n\r\n", b"GET /ready"])
async def test_who_says_anything_else_is_let_go_and_others_are_answered(said: bytes) -> None:
    port = free_port()
    health = await AgentHealth.open(("127.0.0.1", port), _Probed())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(health.serve)
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for stranger in strangers:
            stranger.sendall(said)
        assert (await _ask(port, b"GET /live HTTP/1.1\r\n\r\n"))[1] == "alive\n"
        for stranger in strangers:
            stranger.close()
        tasks.cancel_scope.cancel()


async def test_a_probe_is_answered_however_many_are_connected_and_say_nothing() -> None:
    port = free_port()
    health = await AgentHealth.open(("127.0.0.1", port), _Probed())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(health.serve)
        strangers = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(300)]
        assert (await _ask(port, b"GET /live HTTP/1.1\r\n\r\n"))[1] == "alive\n"
        for stranger in strangers:
            await stranger.aclose()
        tasks.cancel_scope.cancel()


async def test_it_answers_again_when_there_is_a_descriptor_for_a_probe() -> None:
    port = free_port()
    health = await AgentHealth.open(("127.0.0.1", port), _Probed())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(health.serve)
        await anyio.lowlevel.checkpoint()
        with socket.socket() as probe:
            resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno() + 1, before[1]))
            try:
                probe.connect(("127.0.0.1", port))
                probe.sendall(b"GET /live HTTP/1.1\r\n\r\n")
                await anyio.sleep(0.05)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            answer = await anyio.to_thread.run_sync(probe.recv, 1000)
        assert answer.endswith(b"alive\n")
        tasks.cancel_scope.cancel()


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidSpec, match=f"--health: cannot listen on 127.0.0.1:{port}: "):
            await AgentHealth.open(("127.0.0.1", port), _Probed())
    with pytest.raises(InvalidSpec, match="--health: cannot listen on "):
        await AgentHealth.open(("\udcff", port), _Probed())

"""500 clients that never finish their head: they delay nobody, burn nothing, and are cut off."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import psutil
import pytest
from anyio.abc import SocketStream

from actors import LeastConnections, Sticky, System, Topology, asgi, keys, listen, nodes
from actors._system.system import coordinator_of
from actors.routing import Policy
from actors.testing import running_system
from tests.conftest import LOOPS

SLOW = 500
SECONDS = 4.0
HEAD_TIMEOUT = 6.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(120)]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what the parent does for a slow client is the same on each."""
    return LOOPS["uvloop"]


def burnt(system: System) -> float:
    """Return the seconds of CPU that the nodes have used so far."""
    pids = [node.pid for node in system.nodes if node.kind == "process"]
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(time.user + time.system for time in times)


@pytest.mark.parametrize("policy", [Sticky(keys.cookie("sid")), LeastConnections()], ids=str)
async def test_500_slow_heads(policy: Policy, no_leaks: None) -> None:
    app = asgi("tests.end_to_end.session_app:app", head_timeout=HEAD_TIMEOUT)
    topology = Topology(
        nodes=[nodes("web", count=2)], listeners=[listen(app, "127.0.0.1:0", policy=policy)]
    )
    with anyio.fail_after(100):
        async with running_system(topology) as system:
            router = coordinator_of(system).listeners[0].router
            assert router is not None
            slow = [await anyio.connect_tcp("127.0.0.1", router.port) for _ in range(SLOW)]
            for stream in slow:
                await stream.send(b"GET / HTTP/1.1\r\nX-Slow: ")
            before = burnt(system)
            worst = await served_meanwhile(f"http://127.0.0.1:{router.port}", slow)
            used = burnt(system) - before
            print(f"{policy}: worst request {worst:.3f} s, nodes used {used:.2f} s CPU")  # noqa: T201 - a soak shows what it has counted
            assert worst < 1.0
            assert used < SECONDS / 2
            for stream in slow:
                assert (await ending(stream)).startswith(b"HTTP/1.1 408 ")
            assert router.snapshot().peeking == 0


async def served_meanwhile(url: str, slow: list[SocketStream]) -> float:
    """Serve an honest client while the slow ones add a byte a second; return its longest wait."""
    worst = 0.0
    until = anyio.current_time() + SECONDS
    turn = 0
    while anyio.current_time() < until:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            asked = anyio.current_time()
            assert (await client.get("/")).status_code == 200
            worst = max(worst, anyio.current_time() - asked)
        for stream in slow[turn % 10 :: 10]:
            await stream.send(b"x")
        turn += 1
        await anyio.sleep(0.1)
    return worst


async def ending(stream: SocketStream) -> bytes:
    """Return all that a client is told before its end."""
    data = b""
    async with stream:
        try:
            async for part in stream:
                data += part
        except anyio.BrokenResourceError:
            pass
    return data

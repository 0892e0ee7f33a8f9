"""Sessions of MCP and Socket.IO, 16 of 16 over four nodes, with the protocols' own clients."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from actors import keys
from tests.end_to_end.session_clients import mcp_sessions_stay, site, socketio_sessions_stay

pytestmark = pytest.mark.soak
CLIENT = Path(__file__).parents[1] / "end_to_end" / "socketio_client.cjs"


async def test_16_of_16_mcp_sessions_over_four_nodes() -> None:
    with anyio.fail_after(120):
        await mcp_sessions_stay(4, 16)


async def test_16_of_16_clients_of_python_socketio_over_four_nodes() -> None:
    with anyio.fail_after(120):
        await socketio_sessions_stay(4, 16)


@pytest.fixture
def anyio_backend() -> str:
    """The clients' libraries are for asyncio; what is tested runs in other processes."""
    return "asyncio"


@pytest.fixture(scope="module")
def node_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where Node.js finds the package `socket.io-client`."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js or npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    quietly = ("--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=0")
    installed = subprocess.run(
        ["npm", "install", "--prefix", str(folder), *quietly, "socket.io-client@4"],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install socket.io-client: {installed.stderr.strip()[-200:]}")
    return str(folder / "node_modules")


async def test_16_of_16_clients_of_socket_io_client_over_four_nodes(node_path: str) -> None:
    with anyio.fail_after(120):
        async with site("socketio_app:app", keys.query("sid"), 4) as web:
            done = await anyio.run_process(
                ["node", str(CLIENT), web.url, "16"],
                env={**os.environ, "NODE_PATH": node_path},
                check=False,
            )
    assert done.stderr == b""
    seen = json.loads(done.stdout)
    even, odd = ["to the even"], ["to the odd", "again"]
    assert seen["errors"] == []
    assert set(seen["nodes"]) == {f"web/{slot}" for slot in range(4)}
    assert seen["transports"] == ["websocket"] * 16
    assert seen["kept"] == 16
    assert seen["dropped"] == "io server disconnect"
    assert [heard for number, heard in enumerate(seen["heard"]) if number != 3] == [
        odd if number % 2 else even for number in range(16) if number != 3
    ]
    assert seen["heard"][3] == odd[:1]

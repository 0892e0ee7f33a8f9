"""MCP and Socket.IO over two nodes, with the protocols' own clients; `tests/soak` has more of them."""

import anyio
import pytest

from tests.end_to_end.session_clients import mcp_sessions_stay, socketio_sessions_stay

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_mcp_sessions_stay_with_the_node_that_began_them() -> None:
    with anyio.fail_after(50):
        await mcp_sessions_stay(2, 3)


async def test_socketio_clients_stay_with_their_node_and_share_rooms_with_all() -> None:
    with anyio.fail_after(50):
        await socketio_sessions_stay(2, 3)

"""An MCP server over streamable HTTP, without sessions."""

from __future__ import annotations

import asyncio

from mcp.server.mcpserver import MCPServer

server = MCPServer("doubles")


@server.tool()
async def double(number: int) -> int:
    """Return twice the number."""
    await asyncio.sleep(0.02)
    return 2 * number


app = server.streamable_http_app(stateless_http=True)

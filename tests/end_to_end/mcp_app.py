"""An MCP server over streamable HTTP: its sessions are in the memory of the node that began them."""

from mcp.server.mcpserver import MCPServer

import actors

server = MCPServer("where")
app = server.streamable_http_app()


@server.tool()
def node() -> str:
    """Say which node runs this."""
    return actors.current().node.name

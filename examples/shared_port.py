"""One port, many processes: a TCP echo server whose connections are spread over supervised nodes.

Run it as ``actors run examples.shared_port:topology`` or ``python examples/shared_port.py``, then
connect with ``nc 127.0.0.1 7000``: it names the node that serves you, and echoes.
"""

import os

import anyio
from anyio.abc import ByteStream

import actors


async def handle(stream: ByteStream) -> None:
    """Serve one connection, on the node that the router chose for it."""
    node = actors.current().node
    await stream.send(f"you are served by {node.name}, process {node.pid}\n".encode())
    async for data in stream:
        await stream.send(data)


def topology() -> actors.Topology:
    """Return two nodes behind one port, `ECHO_PORT` or 7000."""
    port = os.environ.get("ECHO_PORT", "7000")
    return actors.Topology(
        nodes=[actors.nodes("echo", count=2)],
        listeners=[
            actors.listen(handle, f"127.0.0.1:{port}", nodes="echo", policy=actors.RoundRobin())
        ],
    )


async def main() -> None:
    """Serve until a signal ends it."""
    async with actors.System(topology()):
        await anyio.sleep_forever()


if __name__ == "__main__":
    actors.run(main)

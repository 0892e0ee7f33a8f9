"""A handler that replies with the name of its node, and whose import can be made to fail."""

from __future__ import annotations

import os
from pathlib import Path

from anyio import EndOfStream
from anyio.abc import ByteStream

from actors import current

if Path(os.environ.get("NO_MORE", "/nowhere")).exists():
    raise RuntimeError("no more of these")


async def echo(stream: ByteStream) -> None:
    """Answer every piece with the name of the node, until the client has no more."""
    name = current().node.name
    try:
        while True:
            await stream.send(f"{name} {(await stream.receive()).decode()}".encode())
    except EndOfStream:
        return

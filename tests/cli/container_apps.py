"""What the tests of the container guide run in a namespace of their own."""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio
import numpy as np

from actors import Actor, Topology, child, nodes


class Hoard(Actor):
    """Takes arrays, and memory."""

    async def total(self, array: np.ndarray[Any, Any]) -> int:
        return int(array.sum())

    async def grow(self, size: int) -> int:
        return len(bytearray(os.urandom(1 << 20) * (size >> 20)))


class Driver(Actor):
    """Sends big arrays to another node, and says what became of them."""

    async def on_start(self) -> None:
        await self.context.ref.tell(Driver.run)

    async def run(self) -> None:
        hoard = await self.context.system.lookup("hoard", Hoard)
        assert hoard is not None
        sums = [await hoard.ask(Hoard.total, np.ones(4 << 20)) for _ in range(3)]
        self.context.log.info("sent", sums=sums)


arrays = Topology(
    nodes=[nodes("a"), nodes("b")],
    children=[child(Hoard, name="hoard", on="a"), child(Driver, on="b")],
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once, or for ``/slow`` after an hour, whatever the server says."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        sys.stderr.write("slow request\n")
        with anyio.CancelScope(shield=True):
            await anyio.sleep(3600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

"""A system whose actors stop at a `breakpoint()`."""

from __future__ import annotations

import os
import signal
import sys

from actors import Actor, Topology, child, nodes


class Stops(Actor):
    async def total(self, price: int, count: int) -> int:
        breakpoint()  # noqa: T100 - the test is about it
        return price * count

    async def die(self) -> None:
        breakpoint()  # noqa: T100 - the test is about it
        os.kill(os.getpid(), signal.SIGKILL)

    async def wait_shortly(self) -> None:
        sys.breakpointhook.waits = 0.01  # type: ignore[attr-defined]

    async def pid(self) -> int:
        return os.getpid()


topology = Topology(
    nodes=[nodes("box", hang_after=1.0), nodes("thr", kind="thread")],
    children=[child(Stops, name="stops", on="box")],
)

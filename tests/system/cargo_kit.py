"""Every way a payload takes between two nodes, as one message each, and the actor at the other end."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np

from actors import Actor, Buffer, Ref, SharedBuffer, concurrent, move
from actors.nodes import _wire as wire
from actors.testing import Recorder
from transport import Lane

LARGE: Final = 100_000
LOCAL: Final = "local"


class Stevedore(Actor):
    """Takes cargo, keeps nothing."""

    def __init__(self) -> None:
        self.count = 0

    async def no_gc(self) -> None:
        gc.collect()
        gc.disable()

    async def descriptors(self) -> int:
        return descriptors()

    async def handled(self) -> int:
        return self.count

    async def take(self, value: Any) -> int:
        self.count += 1
        if isinstance(value, socket.socket):
            value.close()
            return 0
        return len(value)

    async def send_back(self, value: Any) -> Any:
        return move(value) if isinstance(value, Buffer) else value

    async def give(self, value: Any) -> AsyncIterator[Any]:
        for _ in range(3):
            yield value

    async def lie(self, op: str, numbers: list[int]) -> None:
        """Send the parent what no link sends."""
        runtime: Any = self.context.ref.home
        fd = os.open("/dev/null", os.O_RDONLY)
        channel = runtime.peer(LOCAL).link._channel
        channel.send_fds([wire.NOTE, op, [numbers]], [fd], Lane.DATA)

    @concurrent
    async def hang(self, value: Any, probe: Ref[Recorder]) -> Any:
        await probe.tell(Recorder.record, "it is there")
        try:
            await anyio.sleep_forever()
        finally:
            if isinstance(value, socket.socket):
                value.close()


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def half_a_pair() -> socket.socket:
    """A socket whose other end is closed."""
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours


PAYLOADS: Final[dict[str, Callable[[], Any]]] = {
    "copy": lambda: b"small" * 20,
    "lease of bytes": lambda: bytes(LARGE),
    "lease of a bytearray": lambda: bytearray(LARGE),
    "lease of a view": lambda: memoryview(bytes(LARGE)),
    "lease of an array": lambda: np.zeros(LARGE, dtype="u1"),
    "several leases": lambda: [bytes(LARGE), {"more": np.zeros(LARGE)}],
    "transfer of a buffer": lambda: move(Buffer(LARGE, zero=False)),
    "transfer of a bytearray": lambda: move(bytearray(LARGE)),
    "transfer of a socket": lambda: move(half_a_pair()),
    "shared": lambda: SharedBuffer(LARGE),
    "nested descriptors": lambda: {"a": SharedBuffer(8), "b": [SharedBuffer(8)]},
}
Send = Callable[[Ref[Stevedore]], Awaitable[Any]]


async def stream(ref: Ref[Stevedore], value: Any) -> None:
    async with ref.stream(Stevedore.give, value) as items:
        async for _ in items:
            pass


async def leave_stream(ref: Ref[Stevedore], value: Any) -> None:
    async with ref.stream(Stevedore.give, value) as items:
        async for _ in items:
            break


def ways() -> dict[str, Send]:
    """One message of each kind."""
    out: dict[str, Send] = {}
    for name, make in PAYLOADS.items():
        out[name] = lambda ref, make=make: ref.ask(Stevedore.take, make())  # type: ignore[misc]
        if name != "transfer of a socket":
            out[f"{name} and back"] = lambda ref, make=make: ref.ask(  # type: ignore[misc]
                Stevedore.send_back, make()
            )
    for name in ("lease of bytes", "shared"):
        out[f"{name} in a stream"] = lambda ref, make=PAYLOADS[name]: stream(ref, make())  # type: ignore[misc]
        out[f"{name} in a stream that is left"] = (
            lambda ref, make=PAYLOADS[name]: leave_stream(ref, make())  # type: ignore[misc]
        )
    return out

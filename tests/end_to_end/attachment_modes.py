"""One message for every mode of sending a payload between two nodes, and the actor that receives them."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np

from actors import Actor, Buffer, Ref, SharedBuffer, System, concurrent, move
from actors._remoting import protocol as wire
from actors.errors import NodeDown
from actors.testing import Recorder, eventually
from actors.transport import Lane

LARGE: Final = 100_000
LEASED: Final = 600_000
"""Bytes that go by lease if they are copied at both ends."""
LOCAL: Final = "local"


class AttachmentActor(Actor):
    """Takes cargo, keeps nothing."""

    def __init__(self) -> None:
        self.count = 0
        self.numbers: list[int] = []

    async def no_gc(self) -> None:
        gc.collect()
        gc.disable()

    async def descriptors(self) -> int:
        return descriptors()

    async def handled(self) -> int:
        return self.count

    async def take_numbered(self, number: int, value: Any) -> None:
        self.numbers.append(number)
        if isinstance(value, socket.socket):
            value.close()

    async def in_order(self) -> list[int]:
        numbers, self.numbers = self.numbers, []
        return numbers

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

    async def flood(self, there: Ref[AttachmentActor], kinds: list[str]) -> None:
        """Send one of each kind after the other until this node ends."""
        self.context.tasks.start_soon(flood, there, kinds)

    async def lie(self, op: str, numbers: list[int]) -> None:
        """Send the parent what no link sends."""
        runtime: Any = self.context.ref.host
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
    "lease of bytes": lambda: bytes(LEASED),
    "lease of a bytearray": lambda: bytearray(LEASED),
    "lease of a view": lambda: memoryview(bytes(LARGE)),
    "lease of an array": lambda: np.zeros(LARGE, dtype="u1"),
    "several leases": lambda: [bytes(LEASED), {"more": np.zeros(LARGE)}],
    "transfer of a buffer": lambda: move(Buffer(LARGE, zero=False)),
    "transfer of a bytearray": lambda: move(bytearray(LARGE)),
    "transfer of a socket": lambda: move(half_a_pair()),
    "shared": lambda: SharedBuffer(LARGE),
    "nested descriptors": lambda: {"a": SharedBuffer(8), "b": [SharedBuffer(8)]},
}
Send = Callable[[Ref[AttachmentActor]], Awaitable[Any]]


async def flood(there: Ref[AttachmentActor], kinds: list[str]) -> None:
    """Tell an actor one of each kind after the other, for ever."""
    while True:
        for kind in kinds:
            await there.tell(AttachmentActor.take, PAYLOADS[kind]())


async def stream(ref: Ref[AttachmentActor], value: Any) -> None:
    async with ref.stream(AttachmentActor.give, value) as items:
        async for _ in items:
            pass


async def leave_stream(ref: Ref[AttachmentActor], value: Any) -> None:
    async with ref.stream(AttachmentActor.give, value) as items:
        async for _ in items:
            break


def ways() -> dict[str, Send]:
    """One message of each kind."""
    out: dict[str, Send] = {}
    for name, make in PAYLOADS.items():
        out[name] = lambda ref, make=make: ref.ask(AttachmentActor.take, make())  # type: ignore[misc]
        if name != "transfer of a socket":
            out[f"{name} and back"] = lambda ref, make=make: ref.ask(  # type: ignore[misc]
                AttachmentActor.send_back, make()
            )
    for name in ("lease of bytes", "shared"):
        out[f"{name} in a stream"] = lambda ref, make=PAYLOADS[name]: stream(ref, make())  # type: ignore[misc]
        out[f"{name} in a stream that is left"] = (
            lambda ref, make=PAYLOADS[name]: leave_stream(ref, make())  # type: ignore[misc]
        )
    return out


def foreign_segments(home: Any) -> int:
    """How many segments this process has mapped that are not segments of its own node."""
    pool = home.memory.pool._slots.segments.values()
    own = {os.fstat(segment.fd).st_ino for segment in pool}
    lines = Path("/proc/self/maps").read_text().splitlines()
    return len({int(line.split()[4]) for line in lines if "/memfd:actors" in line} - own)


async def held_here(system: System, home: Any) -> dict[str, int]:
    """What this process has on behalf of messages."""
    memory = (await system.node.stats())["memory"]
    return {
        "descriptors": descriptors(),
        "foreign segments": foreign_segments(home),
        **{name: memory[name] for name in ("leases", "buffers", "mapped_leases")},
    }


async def killed_in_the_middle(
    system: System, there: Ref[AttachmentActor], kinds: list[str], *, sender: bool, after: int
) -> None:
    """Have one node flood another with some payloads, kill one of the two, and wait until it is back.

    Args:
        system: with a process node `dock`.
        there: lives on that node, which is the one that is killed.
        kinds: the payloads.
        sender: whether that node is the one that sends.
        after: how many messages are handled before.
    """
    (dock,) = [node for node in system.nodes if node.name == "dock/0"]
    here = await system.spawn(AttachmentActor)
    taker = here if sender else there
    before = await taker.ask(AttachmentActor.handled)

    async def enough() -> bool:
        return await taker.ask(AttachmentActor.handled) >= before + after

    async def send() -> None:
        with contextlib.suppress(NodeDown):
            await flood(there, kinds)

    async with anyio.create_task_group() as tasks:
        if sender:
            await there.ask(AttachmentActor.flood, here, kinds)
        else:
            tasks.start_soon(send)
        await eventually(enough, 60)
        pid = dock.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: dock.ready and dock.pid != pid, 30)
        # What was not sent when the node died waits for its next run, so the flood may not have noticed.
        tasks.cancel_scope.cancel()
    await there.wait_ready()
    await here.stop()
    await here.wait()


async def comes_back(look: Callable[[], Awaitable[dict[str, int]]], to: dict[str, int]) -> None:
    """Wait until nothing is more than it was."""
    found: dict[str, int] = {}
    with anyio.move_on_after(20):
        while True:
            gc.collect()
            found = await look()
            if all(found[name] <= to[name] for name in to):
                return
            await anyio.sleep(0.02)
    assert found == to

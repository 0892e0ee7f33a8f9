"""Payloads of every kind, what a receiver sees of one, and actors that take and give them."""

from __future__ import annotations

import socket
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import anyio
import numpy as np

from actors import Actor, Buffer, Ref, SharedBuffer, concurrent, current, move
from actors.errors import NotSendable
from actors.testing import Recorder
from actors.transport import FRAME_LIMIT
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import is_far

SMALL: Final = 1_000
LARGE: Final = 120_000
"""Sizes below and above the one from which shared memory is used; both are divisible by 8."""


LARGEST: Final = FRAME_LIMIT + (8 << 20)
"""The size of the largest message that the system of these tests takes: more than a frame holds."""


def pattern(size: int) -> bytes:
    """Bytes that are not all the same."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def _view(size: int) -> memoryview:
    return memoryview(bytearray(pattern(size)))


def _array(size: int) -> Any:
    return np.frombuffer(pattern(size), dtype="<f4").reshape(10, -1).copy()


def _records(size: int) -> Any:
    kind = np.dtype([("id", "<i4"), ("at", "<f4", (1,))])
    return np.frombuffer(pattern(size), dtype=kind).copy()


def _read_only(size: int) -> Any:
    array = np.frombuffer(pattern(size), dtype="u1").copy()
    array.flags.writeable = False
    return array


def buffer(size: int) -> Buffer:
    """A buffer that is full."""
    made = Buffer(size)
    made[:] = pattern(size)
    return made


def _shared(size: int) -> SharedBuffer:
    made = SharedBuffer(size)
    made[:] = pattern(size)
    return made


KINDS: Final[dict[str, Callable[[int], Any]]] = {
    "bytes": pattern,
    "bytearray": lambda size: bytearray(pattern(size)),
    "view": _view,
    "view that is read-only": lambda size: memoryview(pattern(size)),
    "view with a shape": lambda size: _view(size).cast("i", (2, size // 8)),
    "array": _array,
    "array in Fortran's order": lambda size: np.asfortranarray(_array(size)),
    "array of records": _records,
    "array that is read-only": _read_only,
    "array of nothing": lambda _size: np.zeros((0, 3), dtype="<i2"),
    "buffer": buffer,
    "moved buffer": lambda size: move(buffer(size)),
    "moved bytearray": lambda size: move(bytearray(pattern(size))),
    "shared buffer": _shared,
}
MOVED: Final = ("moved buffer", "moved bytearray")
SHARED: Final = ("shared buffer",)
"""What cannot leave its machine."""


def kinds_on(node: str) -> list[str]:
    """The payloads that a node of this name can be sent, and can send."""
    return [kind for kind in KINDS if not (is_far(node) and kind in SHARED)]


def seen(value: Any) -> tuple[Any, ...]:
    """What there is to see of a payload, to be compared with what there was."""
    name = type(value).__name__
    if isinstance(value, memoryview):
        return name, zlib.crc32(value.tobytes()), value.format, value.shape, value.readonly
    if isinstance(value, np.ndarray):
        flags = value.flags
        orders = flags.c_contiguous, flags.f_contiguous, flags.writeable
        return name, zlib.crc32(value.tobytes("A")), value.dtype.descr, value.shape, orders
    if isinstance(value, bytes | bytearray | Buffer | SharedBuffer):
        return name, zlib.crc32(bytes(value)), len(value)
    return name, value


def expected(kind: str, size: int) -> tuple[Any, ...]:
    """What a receiver sees of a payload: what the sender has, of which arrays cannot be written."""
    value = KINDS[kind](size)
    if kind in MOVED:
        value = value.value
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    if isinstance(value, memoryview):
        value = value.toreadonly()
    return seen(value)


@dataclass
class Box:
    """Something that holds a payload some levels down."""

    label: str
    items: list[Any]

    @classmethod
    def around(cls, value: Any) -> Box:
        return cls("box", [None, {"deep": (1, [value])}])

    def inside(self) -> Any:
        (value,) = self.items[1]["deep"][1]
        return value


class PayloadActor(Actor):
    """Takes payloads, says what it saw, and gives some of its own."""

    def __init__(self, given: Any = None) -> None:
        self.given = given
        self.log: list[Any] = []
        self.kept: Any = None

    async def look(self, value: Any) -> Any:
        return seen(value)

    async def look_inside(self, box: Box) -> Any:
        return seen(box.inside())

    async def take(self, value: Any) -> None:
        self.log.append(seen(value))

    async def taken(self) -> list[Any]:
        log, self.log = self.log, []
        return log

    async def echo(self, value: Any) -> Any:
        return value

    async def keep(self, value: Any) -> None:
        self.kept = value

    async def hold(self, gate: Ref[Gate], probe: Ref[Recorder]) -> None:
        await probe.tell(Recorder.record, "held")
        await gate.ask(Gate.wait)

    @concurrent
    async def hang(self, value: Any, gate: Ref[Gate]) -> Any:
        await gate.ask(Gate.open)
        await anyio.sleep_forever()
        return value

    async def give(self, kind: str, size: int) -> Any:
        return KINDS[kind](size)

    async def give_inside(self, kind: str, size: int) -> Box:
        return Box.around(KINDS[kind](size))

    async def give_all(self, size: int) -> AsyncIterator[Any]:
        for kind in kinds_on(self.context.node):
            yield KINDS[kind](size)

    async def give_each(self, kinds: list[str]) -> AsyncIterator[Any]:
        for kind in kinds:
            yield KINDS[kind](SMALL)

    async def born_with(self) -> Any:
        return seen(self.given)

    async def crash(self) -> None:
        raise RuntimeError("boom")

    async def publish(self, topic: str, kinds: list[str], size: int) -> None:
        for kind in kinds:
            current().topic(topic).publish(KINDS[kind](size))

    async def listen(self, topic: str, probe: Ref[PayloadActor], count: int) -> None:
        async def values() -> None:
            async with current().topic(topic).subscribe() as published:
                await probe.tell(PayloadActor.take, "subscribed")
                for _ in range(count):
                    await probe.tell(PayloadActor.take, seen(await anext(aiter(published))))

        self.context.tasks.start_soon(values)

    async def accept(self, things: dict[str, list[Any]]) -> list[Any]:
        (given,) = things.values()
        for sock in given[2:]:
            sock.close()
        return [seen(thing) for thing in given[:2]]

    async def give_kept(self) -> Any:
        return [move(part) for part in self.kept]

    async def time_a_move(self) -> str:
        try:
            self.context.timers.once(60, PayloadActor.keep, move(bytearray(8)))
        except NotSendable as error:
            return type(error).__name__
        return "set"

    async def type_of_kept(self) -> str:
        return type(self.kept).__name__

    async def count_up(self, shared: SharedBuffer, times: int) -> int:
        for _ in range(times):
            shared.atomics.add(0, 1)
        return shared.atomics.load(0)

    async def answer(self, sock: socket.socket) -> str:
        with sock:
            sock.sendall(b"hello")
            return sock.recv(100).decode()

    async def send_socket(self) -> Any:
        ours, theirs = socket.socketpair()
        with ours:
            ours.sendall(b"from there")
        return move(theirs)

    async def fill(self, given: Buffer, byte: int) -> Any:
        given[:] = bytes([byte]) * len(given)
        return move(given)

    async def give_viewed(self) -> Any:
        made = Buffer(SMALL)
        self.kept = made.view()
        return move(made)

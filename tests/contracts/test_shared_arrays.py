"""Shared arrays and buffers: the same bytes for all who have them, in messages and in constructors."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import anyio
import numpy as np
import pytest

from actors import Actor, SharedArray, SharedBuffer, current
from actors.errors import NotSendable
from actors.testing import eventually
from tests.contracts.node_under_test import NodeUnderTest
from tests.contracts.payloads import PayloadActor
from tests.transport.sample_values import open_fds
from tests.transport.shared_memory import mapped

TABLE = np.arange(60_000, dtype="<f4").reshape(200, 300)
CANNOT_LEAVE = "cannot leave this machine"
TOTAL = float(TABLE.sum(dtype="f8"))


@dataclass(frozen=True)
class Spec:
    """What a reader is made of."""

    name: str
    table: SharedArray
    counters: tuple[SharedBuffer, ...]


class Reader(Actor):
    """Reads its table, and counts its starts in memory that outlives it."""

    def __init__(self, spec: Spec, table: Any = None) -> None:
        self.spec = spec
        self.same = table is None or table.array is not None
        spec.counters[0].atomics.add(0)

    async def total(self) -> float:
        return float(self.spec.table.array.sum(dtype="f8"))

    async def total_of(self, table: SharedArray) -> float:
        assert np.asarray(table).base is not None
        return float(table.array.sum(dtype="f8"))

    async def write(self) -> None:
        self.spec.table.array[0, 0] = 1.0

    async def crash(self) -> None:
        raise RuntimeError("on purpose")

    async def give(self) -> SharedArray:
        return self.spec.table

    async def child_total(self) -> float:
        child = await current().spawn(Reader, self.spec)
        try:
            return await child.ask(Reader.total)
        finally:
            await child.stop()


def spec() -> Spec:
    return Spec("x", SharedArray.from_array(TABLE), (SharedBuffer(8),))


async def test_it_is_read_without_copies_and_cannot_be_written(node: NodeUnderTest) -> None:
    made = spec()
    reader = await node.spawn(Reader, made)
    assert await reader.ask(Reader.total_of, made.table) == TOTAL
    got = await reader.ask(Reader.give)
    assert got.parts[0] is made.table.parts[0], "one object for each process"
    with pytest.raises(ValueError, match="read-only"):
        await reader.ask(Reader.write)
    with pytest.raises(ValueError, match="read-only"):
        made.table.array[0, 0] = 1.0
    with pytest.raises(ValueError, match="WRITEABLE"):
        made.table.array.flags.writeable = True
    assert np.array_equal(made.table.array, TABLE)


async def test_what_an_actor_is_made_of_is_there_again_after_a_crash_and_for_its_children(
    node: NodeUnderTest,
) -> None:
    made = spec()
    reader = await node.spawn(Reader, made, made.table)
    assert await reader.ask(Reader.child_total) == TOTAL
    await reader.tell(Reader.crash)
    assert await reader.ask(Reader.total) == TOTAL
    assert made.counters[0].atomics.load(0) == 3


async def test_it_cannot_leave_its_machine(node: NodeUnderTest) -> None:
    if not node.far:
        return
    made = spec()
    for value in (made, made.table):
        with pytest.raises(NotSendable, match=rf"args\[0\].*{CANNOT_LEAVE}"):
            await node.spawn(PayloadActor, value)
    porter = await node.spawn(PayloadActor)
    with pytest.raises(NotSendable, match=rf"args\[0\]\.table.*{CANNOT_LEAVE}"):
        await porter.ask(PayloadActor.look, made)
    assert np.array_equal(made.table.array, TABLE)


async def test_its_memory_is_freed_with_the_last_who_has_it(node: NodeUnderTest) -> None:
    await (await node.spawn(Reader, spec())).stop()  # what is made once has been made
    gc.collect()
    before = open_fds(), mapped()
    reader = await node.spawn(Reader, spec())
    array = (await reader.ask(Reader.give)).array
    await reader.stop()
    await reader.wait()
    assert np.array_equal(array, TABLE), "an array that shows it keeps it"
    del array

    def freed() -> bool:
        gc.collect()
        return (open_fds(), mapped()) <= before

    with anyio.fail_after(10):
        await eventually(freed)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(TABLE),
        TABLE[::2, ::-3],
        np.zeros((0, 3)),
        np.array(5),
        np.array([(1, 2.5)], dtype=[("id", "<i4"), ("at", "<f8")]),
        np.array(["2024-01-01"], dtype="M8[D]"),
    ],
    ids=["Fortran", "strided", "empty", "of no dimension", "records", "dates"],
)
def test_arrays_of_every_shape_are_shared(array: Any) -> None:
    shared = SharedArray.from_array(array)
    assert (shared.shape, shared.array.dtype) == (array.shape, array.dtype)
    assert np.array_equal(shared.array, array)
    assert np.array_equal(np.asarray(shared), array)


def test_what_cannot_be_shared_is_refused_at_the_call() -> None:
    with pytest.raises(TypeError, match="an array of objects does not travel"):
        SharedArray.from_array(np.array([object()]))
    with pytest.raises(TypeError, match=r"takes a numpy array, got \[1, 2\]"):
        SharedArray.from_array([1, 2])
    with pytest.raises(TypeError, match=r"made by SharedArray\.from_array"):
        SharedArray()
    shared = SharedArray.from_array(TABLE)
    assert np.asarray(shared, dtype="f8").dtype == "f8"
    assert shared.__array__(copy=True).flags.writeable
    with pytest.raises(ValueError, match="by a copy only"):
        shared.__array__("f8", copy=False)

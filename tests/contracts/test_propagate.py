"""Context variables that a system names go with its messages, on every kind of node; no others do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest

from actors import Ref, System, Topology, move
from actors.errors import InvalidSpec, NotSendable
from actors.testing import running_system
from tests.conftest import LOOPS
from tests.contracts.conftest import GROUPS, KINDS
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest
from tests.contracts.variables import (
    NOTHING,
    PROPAGATED,
    BlockingWitness,
    Witness,
    private,
    request_id,
    tenant,
)

SENT = ("r-1", "acme", None)


@pytest.fixture(scope="module")
async def system(
    no_leaks_in_file: None, anyio_backend: tuple[str, dict[str, Any]]
) -> AsyncIterator[System]:
    loop = next(name for name, options in LOOPS.items() if options == anyio_backend)
    groups = [group for kind, group in GROUPS.items() if kind in KINDS[loop]]
    async with running_system(Topology(nodes=groups, propagate=PROPAGATED)) as system:
        yield system


@contextmanager
def values(one: Any = "r-1", other: Any = "acme") -> Iterator[None]:
    """Have values in the test's context."""
    tokens = [(request_id, request_id.set(one)), (tenant, tenant.set(other))]
    tokens.append((private, private.set("mine")))
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


async def read(witness: Ref[Witness], times: int) -> list[Any]:
    async with witness.stream(Witness.watch_many, times) as items:
        return [item async for item in items]


async def test_a_handler_sees_the_values_of_its_sender_whatever_the_verb(
    node: NodeUnderTest,
) -> None:
    witness = await node.spawn(Witness, node.probe.ref)
    with anyio.fail_after(20), values():
        assert await witness.ask(Witness.look) == SENT
        assert await witness.within(10).ask(Witness.look) == SENT
        assert await witness.ask(Witness.look_beside) == SENT
        assert await read(witness, 40) == [SENT] * 40
        await witness.tell(Witness.tell, "told")
        await node.probe.expect(("told", *SENT))
        witness.tell_nowait(Witness.tell, label="told by keyword")
        await node.probe.expect(("told by keyword", *SENT))


async def test_what_a_handler_sends_carries_them_on(node: NodeUnderTest) -> None:
    chain = [await node.spawn(Witness, on=on) for on in (None, node.on, None, node.on)]
    beside = await node.spawn(Witness, node.probe.ref)
    with anyio.fail_after(20), values():
        assert await chain[0].ask(Witness.pass_on, chain[1:]) == SENT
        await beside.ask(Witness.look_in_task)
        await node.probe.expect(("task", *SENT))


async def test_the_next_message_sees_nothing_of_them(node: NodeUnderTest) -> None:
    witness = await node.spawn(Witness)
    with anyio.fail_after(20):
        with values():
            await witness.ask(Witness.look)
        assert await witness.ask(Witness.look) == NOTHING
        # Nor of what a handler set for itself.
        await witness.ask(Witness.set_it, "its own")
        assert await witness.ask(Witness.look) == NOTHING
        with values("r-2", "other"):
            assert await witness.ask(Witness.look) == ("r-2", "other", None)
        with values("r-3"):
            tenant.set("changed")
            assert await witness.ask(Witness.look) == ("r-3", "changed", None)
        assert await witness.ask(Witness.look) == NOTHING


async def test_a_generator_sees_those_of_its_reader_between_the_messages_of_others(
    node: NodeUnderTest,
) -> None:
    witness = await node.spawn(Witness)
    with anyio.fail_after(20):
        with values():
            opened = witness.stream(Witness.watch_many, 60)
            items = await opened.__aenter__()
        for _ in range(40):
            with values("r-2"):
                assert (await witness.ask(Witness.look))[0] == "r-2"
            assert await anext(items) == SENT
        await opened.__aexit__(None, None, None)


async def test_what_nobody_sent_carries_nothing(node: NodeUnderTest) -> None:
    witness = await node.spawn(Witness, node.probe.ref)
    watched = await node.spawn(Witness)
    with anyio.fail_after(20):
        with values():
            await witness.ask(Witness.watch, watched)
            await watched.stop()
            await node.probe.expect(("on_exit", *NOTHING))
            await witness.ask(Witness.tick_soon)
            await node.probe.expect(("tick", *NOTHING))
            await witness.tell(Witness.crash)
            await node.probe.expect(("on_stop", *NOTHING))
        assert await witness.ask(Witness.look) == NOTHING


async def test_a_message_that_waits_for_room_has_the_values_of_its_own_sender(
    node: NodeUnderTest,
) -> None:
    gate = await node.gate()
    witness = await node.spawn(Witness, node.probe.ref, mailbox=1)

    async def send(number: int) -> None:
        request_id.set([number])
        await witness.tell(Witness.tell, f"sent {number}")

    with anyio.fail_after(20):
        await witness.tell(Witness.hold, gate)
        await node.probe.expect(("holding", *NOTHING))
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(send, number)
            await gate.tell(Gate.open)
        heard = [await node.probe.next() for _ in range(5)]
    assert sorted(heard) == [(f"sent {n}", [n], *NOTHING[1:]) for n in range(5)]


async def test_a_value_is_sent_as_it_was(node: NodeUnderTest) -> None:
    gate = await node.gate()
    witness = await node.spawn(Witness, node.probe.ref)
    numbers = [1]
    with anyio.fail_after(20), values(numbers):
        await witness.tell(Witness.hold, gate)
        await witness.tell(Witness.tell, "sent")
        numbers.append(2)
        await gate.tell(Gate.open)
        await node.probe.expect(("holding", [1], *SENT[1:]))
        await node.probe.expect(("sent", [1], *SENT[1:]))


async def test_a_value_that_cannot_travel_is_refused_at_the_sender_by_its_name(
    node: NodeUnderTest,
) -> None:
    witness = await node.spawn(Witness)
    data = bytearray(b"kept")
    with anyio.fail_after(20):
        with values(anyio.Lock()):
            for send in (witness.ask(Witness.set_it, move(data)), witness.tell(Witness.crash)):
                with pytest.raises(NotSendable) as caught:
                    await send
                assert caught.value.path == f"context variable {PROPAGATED[0]}"
        assert data == b"kept"
        assert await witness.ask(Witness.look) == NOTHING


async def test_a_thread_sends_its_own_values(node: NodeUnderTest) -> None:
    witness = await node.spawn(Witness)
    blocking = node.system.blocking(witness)
    with anyio.fail_after(20):
        with values():
            assert await anyio.to_thread.run_sync(blocking.ask, Witness.look) == SENT
        assert await anyio.to_thread.run_sync(blocking.ask, Witness.look) == NOTHING


@pytest.mark.parametrize(
    "given, why",
    [
        ([request_id], 'propagate takes import paths.* write "module:request_id"'),
        (["request_id"], 'takes "module:name" of context variables, got .request_id.'),
        (["tests.contracts.variables:"], 'takes "module:name"'),
        ("tests.contracts.variables:request_id", "a list of import paths, got"),
        ([PROPAGATED[0], PROPAGATED[0]], "twice"),
        (["tests.contracts.variables:nobody"], "there is no 'tests.contracts.variables:nobody'"),
        (["tests.nowhere:nobody"], "there is no 'tests.nowhere:nobody'"),
        (["tests.contracts.variables:no_variable"], "is no ContextVar, but 'text'"),
    ],
)
def test_what_cannot_be_propagated_is_refused_before_anything_starts(given: Any, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        System(propagate=given)
    with pytest.raises(InvalidSpec, match=why):
        System(Topology(propagate=given))


async def test_a_blocking_actor_sees_the_values_of_its_sender_and_passes_them_on(
    node: NodeUnderTest,
) -> None:
    blocking, witness = await node.spawn(BlockingWitness), await node.spawn(Witness)
    with anyio.fail_after(10):
        with values():
            assert await blocking.ask(BlockingWitness.look) == SENT
            assert await blocking.ask(BlockingWitness.ask_other, witness) == SENT
        assert await blocking.ask(BlockingWitness.look) == NOTHING

"""A sender's places in the mailbox of another node's actor: none is lost, and none is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors import Backoff, Node, Ref, Restart, System, Topology, nodes
from actors._remoting import protocol as wire
from actors._remoting.remote_actor import RemoteActor
from actors.errors import ActorsError, MailboxFull
from actors.testing import Probe, crash, eventually, running_system
from tests.conftest import LOOPS
from tests.contracts.contract_actors import Gate, Worker
from tests.contracts.test_deferring import Door
from tests.nodes.node_actors import Talker, Victim

MANY = 101
"""Messages for each place of the mailbox: who loses one place in so many is caught."""
MUCH = b"x" * 100_000
"""So much that it counts in bytes."""


@pytest.fixture(scope="module", params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None, anyio_backend: object) -> AsyncIterator[System]:
    quickly = Backoff(first=0.01, factor=1, cap=0.01)
    groups = [nodes("left", backoff=quickly), nodes("right", backoff=quickly)]
    async with running_system(Topology(nodes=groups)) as system:
        yield system


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks_in_file: None) -> None:
    """The system is the file's, and so is the census."""


@pytest.fixture
async def right(system: System) -> AsyncIterator[Node]:
    """The node called right/0, ready, and after the test ready again."""
    right = next(node for node in system.nodes if node.name == "right/0")
    await eventually(lambda: right.ready, 10)
    yield right
    await eventually(lambda: right.ready, 10)


def remote(ref: Ref[Any]) -> RemoteActor:
    """What this node keeps of an actor on another."""
    target = ref._target or ref._resolve()
    assert isinstance(target, RemoteActor)
    return target


async def _tell(ref: Ref[Worker]) -> None:
    await ref.tell(Worker.note, 1)


async def _tell_by_keyword(ref: Ref[Worker]) -> None:
    await ref.tell(Worker.note, value=1)


async def _tell_with_a_deadline(ref: Ref[Worker]) -> None:
    await ref.within(60).tell(Worker.note, 1)


async def _tell_a_list(ref: Ref[Worker]) -> None:
    await ref.tell(Worker.note, [1])


async def _ask(ref: Ref[Worker]) -> None:
    await ref.ask(Worker.add, 1)


async def _ask_by_keyword(ref: Ref[Worker]) -> None:
    await ref.ask(Worker.add, a=1)


async def _ask_for_what_fails(ref: Ref[Worker]) -> None:
    with pytest.raises(TypeError):
        await ref.ask(Worker.add, "1", 1)  # type: ignore[call-overload]


async def _tell_much(ref: Ref[Worker]) -> None:
    await ref.tell(Worker.measure, MUCH)


async def _tell_much_by_keyword(ref: Ref[Worker]) -> None:
    await ref.tell(Worker.measure, payload=MUCH)


async def _ask_much(ref: Ref[Worker]) -> None:
    await ref.ask(Worker.measure, MUCH.decode())


async def _take_a_big_ask_back(ref: Ref[Worker]) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ref.ask, Worker.measure, MUCH)
            await anyio.lowlevel.checkpoint()
            scope.cancel()


async def _take_an_ask_back(ref: Ref[Worker]) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ref.ask, Worker.add, 1)
            await anyio.lowlevel.checkpoint()
            scope.cancel()


async def _stream(ref: Ref[Worker]) -> None:
    async with ref.stream(Worker.numbers) as items:
        assert [item async for item in items] == [0, 1, 2]


async def _leave_a_stream(ref: Ref[Worker]) -> None:
    async with ref.stream(Worker.numbers) as items:
        await anext(items)


WAYS: list[Callable[[Ref[Worker]], Any]] = [
    _tell,
    _tell_by_keyword,
    _tell_with_a_deadline,
    _tell_a_list,
    _ask,
    _ask_by_keyword,
    _ask_for_what_fails,
    _tell_much,
    _tell_much_by_keyword,
    _ask_much,
    _take_a_big_ask_back,
    _take_an_ask_back,
    _stream,
    _leave_a_stream,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_").replace("_", " "))
@pytest.mark.parametrize("mailbox", [1, 16])
async def test_every_message_gives_its_place_back_once(
    system: System, right: Node, mailbox: int, way: Callable[[Ref[Worker]], Any]
) -> None:
    worker = await system.spawn(Worker, on="right", mailbox=mailbox)
    account = remote(worker)
    with anyio.fail_after(20):
        for _ in range(MANY if mailbox == 1 else MANY * 2):
            await way(worker)
            assert account.credit <= mailbox
        await worker.ask(Worker.logged)
        await eventually(lambda: (account.credit, account.bytes) == (mailbox, 0))
        await worker.stop()


async def test_big_messages_that_wait_are_counted_in_bytes(system: System, right: Node) -> None:
    probe = await Probe.start(system)
    gate = await system.spawn(Gate, on=system.node)
    worker = await system.spawn(Worker, probe.ref, on="right")
    account = remote(worker)

    async def has(messages: int) -> bool:
        (figures,) = [row for row in (await right.stats())["actors"] if row["uid"] == worker.uid]
        return bool(figures["mailbox_bytes"] == messages * len(MUCH))

    with anyio.fail_after(20):
        await worker.tell(Worker.hold, gate)
        await probe.expect(("held", "begins"))
        for _ in range(3):
            worker.tell_nowait(Worker.measure, MUCH)
        assert account.bytes == 3 * len(MUCH)
        await eventually(lambda: has(3))
        await gate.ask(Gate.open)
        await eventually(lambda: has(0))
        await eventually(lambda: account.bytes == 0)
        await worker.stop()


@pytest.mark.parametrize("op", ["tell", "ask"])
async def test_a_big_message_that_is_not_run_gives_its_bytes_back(
    system: System, right: Node, op: str
) -> None:
    worker = await system.spawn(Worker, on="right")
    account = remote(worker)
    with anyio.fail_after(20):
        assert await worker.ask(Worker.add, 1) == 2
        assert account.peer.link is not None
        address = [wire.TELL, worker.uid] if op == "tell" else [wire.ASK, worker.uid, 10**6]
        nothing = [None] * 4
        account.bytes = len(MUCH)
        account.peer.link.send([*address, "no such message", [], *nothing, len(MUCH)])
        await eventually(lambda: account.bytes == 0)
        await worker.stop()


async def test_a_tell_that_is_not_run_gives_its_place_back(system: System, right: Node) -> None:
    worker = await system.spawn(Worker, on="right", mailbox=2)
    account = remote(worker)
    with anyio.fail_after(20):
        for _ in range(MANY):
            assert account.peer.link is not None
            account.peer.link.send([wire.TELL, worker.uid, "no such message", []])
            account.credit -= 1
            await eventually(lambda: account.credit == 2)
        await worker.stop()


async def test_credit_that_was_not_spent_makes_no_room(system: System, right: Node) -> None:
    probe = await Probe.start(system)
    gate = await system.spawn(Gate, on=system.node)
    worker = await system.spawn(Worker, probe.ref, on="right", mailbox=2)
    account = remote(worker)
    with anyio.fail_after(20):
        await worker.tell(Worker.hold, gate)
        await probe.expect(("held", "begins"))
        await eventually(lambda: account.credit == 2)
        account.credited(1000)
        for number in range(2):
            worker.tell_nowait(Worker.note, number)
        with pytest.raises(MailboxFull):
            worker.tell_nowait(Worker.note, 2)
        account.credited(1000)
        assert account.credit == 2
        await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", 0, 1]
        await worker.stop()


async def test_one_message_taken_is_one_place(system: System, right: Node) -> None:
    probe = await Probe.start(system)
    first, second = [await system.spawn(Gate, on=system.node) for _ in range(2)]
    worker = await system.spawn(Worker, probe.ref, on="right", mailbox=3)
    account = remote(worker)
    with anyio.fail_after(20):
        await worker.tell(Worker.hold, first)
        await probe.expect(("held", "begins"))
        await eventually(lambda: account.credit == 3)
        worker.tell_nowait(Worker.hold, second, "held too")
        for number in range(2):
            worker.tell_nowait(Worker.note, number)
        assert account.credit == 0
        await first.ask(Gate.open)
        await probe.expect(("held too", "begins"))
        await eventually(lambda: account.credit > 0)
        worker.tell_nowait(Worker.note, 2)
        with pytest.raises(MailboxFull):
            worker.tell_nowait(Worker.note, 3)
        await second.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", "held too", 0, 1, 2]
        await worker.stop()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 41])
async def test_each_tell_that_a_dead_node_had_not_taken_is_reported(
    system: System, right: Node, count: int
) -> None:
    probe = await Probe.start(system)
    victim = await system.spawn(Victim, probe.ref, on="right", restart=Restart.TEMPORARY)
    account = remote(victim)
    events = system.events()
    with anyio.fail_after(20):
        await victim.tell(Victim.hang)
        await probe.expect("hanging")
        await eventually(lambda: account.credit == victim.mailbox)
        for number in range(count):
            victim.tell_nowait(Victim.note, number)
        await crash(right)
        assert await _lost(events, victim) == (count, "local")
        assert account.credit == victim.mailbox


@pytest.mark.parametrize("count", [1, 3])
async def test_a_node_reports_its_own_tells_that_a_dead_sibling_had_not_taken(
    system: System, right: Node, count: int
) -> None:
    probe = await Probe.start(system)
    left = next(node for node in system.nodes if node.name == "left/0")
    talker = await system.spawn(Talker, on="left")
    victim = await system.spawn(Victim, probe.ref, on="right", restart=Restart.TEMPORARY)
    events = system.events()
    with anyio.fail_after(20):
        assert await talker.ask(Talker.ask, victim) == right.pid
        await victim.tell(Victim.hang)
        await probe.expect("hanging")
        async with anyio.create_task_group() as tasks:
            before = await _sent_to_right(left)
            tasks.start_soon(_tell_in_vain, talker, victim, count)
            await eventually(lambda: _has_sent(left, before + count + 1))
            await crash(right)
        # The tell from here may not have been acknowledged either, and is then reported for this node.
        lost = await _lost(events, victim)
        assert (lost if lost != (1, "local") else await _lost(events, victim)) == (count, "left/0")


async def _sent_to_right(left: Node) -> int:
    return int((await left.stats())["links"]["right/0"]["messages_sent"])


async def _has_sent(left: Node, messages: int) -> bool:
    return await _sent_to_right(left) >= messages


async def _tell_in_vain(talker: Ref[Talker], victim: Ref[Victim], count: int) -> None:
    with pytest.raises(ActorsError):
        await talker.ask(Talker.tell_many, victim, count)


async def _lost(events: Any, victim: Ref[Victim]) -> tuple[int, str]:
    """How many tells to *victim* its senders' node says may have run, and which node that is."""
    async for event in events:
        facts = event.facts
        if event.kind == "dead_letter" and facts["actor"] == victim.name:
            assert facts["may_have_run"]
            return facts["count"], facts["node"]
    raise AssertionError("the events have ended")


async def test_what_an_actor_defers_keeps_its_credit_until_it_is_handled(
    system: System, right: Node
) -> None:
    probe = await Probe.start(system)
    door = await system.spawn(Door, probe.ref, mailbox=20, on=right)
    for number in range(10):
        await door.tell(Door.enter, str(number))
    await door.ask(Door.knock)
    await eventually(lambda: remote(door).credit in {10, 11})
    await door.tell(Door.open)
    for number in range(10):
        await probe.expect(str(number))
    await eventually(lambda: remote(door).credit == 20)

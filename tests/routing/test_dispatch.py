"""Whatever happens to nodes, each connection has one owner: a model test of the dispatch."""

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.routing import (
    ConnectionDropped,
    HandedOver,
    HandOverFailed,
    LeastConnections,
    NodeSuspect,
    NodeTrusted,
    Policy,
    PolicyFailed,
    Snapshot,
    Sticky,
    ip,
)
from actors.routing.balancer.dispatch import Dispatch
from actors.routing.balancer.records import Connection, Member
from tests.routing.virtual_loop import VirtualLoop

LIMIT = 6
MAX_BATCH = 2


class FakeSocket:
    """Knows whether it is open."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.open = True

    def fileno(self) -> int:
        return self.number

    def close(self) -> None:
        assert self.open
        self.open = False


class ModelNode:
    """A node that remembers what it was handed; `fd` says which connection it is."""

    def __init__(self, model: "Model", name: str, slot: int) -> None:
        self.model = model
        self.name = name
        self.slot = slot
        self.draining = False
        self.reachable = True
        self.unacked: dict[int, int] = {}
        self.open: dict[int, int] = {}

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        assert listener == "listener"
        assert not self.draining, "a draining node got a connection"
        if not self.reachable:
            raise BrokenPipeError
        assert handed
        assert not self.unacked, "more while it owed some"
        for one in handed:
            self._got(one.number, one.fd)
            assert one.client is None

    def _got(self, connection: int, fd: int) -> None:
        assert self.model.holder_of(fd) is None, "two nodes have one connection"
        assert self.model.sockets[fd].open, "a closed connection was handed over"
        assert connection not in self.model.numbers, "a number was used twice"
        self.model.numbers.add(connection)
        self.unacked[connection] = fd
        assert len(self.unacked) <= MAX_BATCH, "more than it may get at once"
        assert len(self.unacked) + len(self.open) <= LIMIT, "more than max_connections"


class Model(RuleBasedStateMachine):
    """Nodes start, die, hang and refuse at random; no connection is lost or handed over twice."""

    policy: Policy = LeastConnections()

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.facts: list[object] = []
        self.nodes: list[ModelNode] = []
        self.sockets: dict[int, FakeSocket] = {}
        self.numbers: set[int] = set()
        self.served = 0
        self.lost = 0
        self.names = 0
        self.dispatch = Dispatch(
            self.loop.as_loop(),
            self.policy,
            listener="listener",
            report=self.facts.append,
            changed=lambda: None,
            limit=lambda _slot: LIMIT,
            max_batch=MAX_BATCH,
        )

    def holder_of(self, fd: int) -> ModelNode | None:
        for node in self.nodes:
            if fd in node.unacked.values() or fd in node.open.values():
                return node
        return None

    def teardown(self) -> None:
        self.dispatch.close()
        acknowledged = self.served + self.lost + sum(len(node.open) for node in self.nodes)
        dropped = sum(1 for fact in self.facts if isinstance(fact, ConnectionDropped))
        never = len(self.sockets) - acknowledged - dropped
        assert never >= 0
        assert not any(sock.open for sock in self.sockets.values()), "our copy was left open"
        assert self.loop.timers == 0
        self.loop.close()

    @rule(keyed=st.booleans())
    def connect(self, *, keyed: bool) -> None:
        sock = self.sockets[len(self.sockets)] = FakeSocket(len(self.sockets))
        key = b"%d" % (sock.number % 5) if keyed else None
        self.dispatch.add(Connection(cast("socket.socket", sock), None, key))

    @precondition(lambda self: len(self.nodes) < 4)
    @rule(slot=st.integers(0, 3))
    def join(self, slot: int) -> None:
        for old in self.nodes:
            old.draining |= old.slot == slot
        self.names += 1
        node = ModelNode(self, f"node-{self.names}", slot)
        self.nodes.append(node)
        self.dispatch.add_node(node)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.nodes))
        self.nodes.remove(node)
        self.lost += len(node.open)
        self.dispatch.remove_node(node.name, dead=True)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.nodes))
        node.draining = True
        self.dispatch.remove_node(node.name, dead=False)

    @precondition(lambda self: self._resumable())
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self._resumable()))
        node.draining = False
        self.dispatch.resume_node(node.name)

    def _resumable(self) -> list[ModelNode]:
        """Nodes that drain, and whose slot no other has taken."""
        taken = {node.slot for node in self.nodes if not node.draining}
        last = {node.slot: node for node in self.nodes}
        return [node for slot, node in last.items() if slot not in taken]

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def break_or_mend_the_link(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.nodes))
        node.reachable = not node.reachable

    @precondition(lambda self: any(node.unacked for node in self.nodes))
    @rule(data=st.data(), accept=st.booleans())
    def answer(self, data: st.DataObject, *, accept: bool) -> None:
        node = data.draw(st.sampled_from([node for node in self.nodes if node.unacked]))
        number = data.draw(st.sampled_from(sorted(node.unacked)))
        fd = node.unacked.pop(number)
        if accept:
            node.open[number] = fd
            self.dispatch.on_acks(node.name, [number], [], [])
            assert not self.sockets[fd].open, "our copy stays open after the acknowledgement"
        else:
            self.dispatch.on_acks(node.name, [], [number], [])

    @precondition(lambda self: any(node.open for node in self.nodes))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from([node for node in self.nodes if node.open]))
        number = data.draw(st.sampled_from(sorted(node.open)))
        del node.open[number]
        self.served += 1
        self.dispatch.on_acks(node.name, [], [], [number])

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.2, 3.0]))
    def wait(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @invariant()
    def every_connection_is_counted_once(self) -> None:
        members = self.dispatch.members
        unacked = sum(len(member.unacked) for member in members)
        assert unacked == sum(len(node.unacked) for node in self.nodes)
        assert [len(m.open) for m in members if m.ready] == [
            len(node.open)
            for node in sorted(self.nodes, key=lambda node: node.slot)
            if not node.draining
        ]
        queued = sum(len(member.queue) for member in members)
        assert self.dispatch.waiting == self.dispatch.pending + queued
        ours = sum(1 for sock in self.sockets.values() if sock.open)
        assert ours == self.dispatch.waiting + unacked

    @invariant()
    def nothing_waits_for_a_node_that_could_take_it(self) -> None:
        if self.dispatch.pending:
            nodes = [
                member.snapshot(LIMIT, self.loop.now(), keyed=False)
                for member in self.dispatch.members
            ]
            assert not any(node.eligible for node in nodes)

    @invariant()
    def only_a_node_that_owes_has_a_queue(self) -> None:
        for member in self.dispatch.members:
            assert not member.queue or member.unacked


class StickyModel(Model):
    """The same with keys."""

    policy = Sticky(ip())


@pytest.mark.parametrize("model", [Model, StickyModel])
def test_nothing_is_lost_or_doubled_whatever_nodes_do(model: type[Model]) -> None:
    case = model.TestCase
    case.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    case("runTest").runTest()


# -- one by one -----------------------------------------------------------------------------------


class Owing:
    """A node that acknowledges nothing by itself; it may be unreachable, and do something before."""

    def __init__(self, name: str, slot: int) -> None:
        self.name = name
        self.slot = slot
        self.got: list[int] = []
        self.numbers: list[int] = []
        self.unreachable = False
        self.before: Callable[[], object] = lambda: None

    def hand_over(self, handed: Sequence[HandedOver], _listener: str) -> None:
        self.before()
        if self.unreachable:
            raise BrokenPipeError
        self.got += [one.fd for one in handed]
        self.numbers += [one.number for one in handed]


class ByHand:
    """A policy that chooses what the test says."""

    def __init__(
        self, choose: Callable[[Sequence[Snapshot], bytes | None], Snapshot | None]
    ) -> None:
        self.choose = choose


def first_eligible(nodes: Sequence[Snapshot], _key: bytes | None = None) -> Snapshot | None:
    return next((node for node in nodes if node.eligible), None)


class Table:
    """A dispatch on virtual time, with nodes `a` and `b` and connections that are numbered from 0."""

    def __init__(
        self, names: str = "ab", choose: Callable[..., Snapshot | None] = first_eligible
    ) -> None:
        self.loop = VirtualLoop()
        self.facts: list[object] = []
        self.sockets: list[FakeSocket] = []
        self.dispatch = Dispatch(
            self.loop.as_loop(),
            cast("Policy", ByHand(choose)),
            listener="web",
            report=self.facts.append,
            changed=lambda: None,
            limit=lambda _slot: None,
            max_batch=1,
        )
        self.nodes = {name: Owing(name, slot) for slot, name in enumerate(names)}
        for node in self.nodes.values():
            self.dispatch.add_node(node)

    def connect(self, key: bytes | None = None) -> None:
        self.sockets.append(FakeSocket(len(self.sockets)))
        self.dispatch.add(Connection(cast("socket.socket", self.sockets[-1]), None, key))

    def got(self, name: str) -> list[int]:
        return self.nodes[name].got

    def told(self, kind: type) -> int:
        return sum(isinstance(fact, kind) for fact in self.facts)

    def close(self) -> None:
        self.dispatch.close()
        assert self.loop.timers == 0
        self.loop.close()


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.close()


def test_what_waits_for_a_node_is_taken_back_in_order() -> None:
    table = Table("")
    table.connect()
    table.connect()
    taken = [table.dispatch.take_pending() for _ in range(3)]
    assert [None if c is None else c.sock.fileno() for c in taken] == [0, 1, None]
    table.close()


def test_a_policy_is_obeyed_whichever_node_it_chooses() -> None:
    table = Table(choose=lambda nodes, _key: nodes[-1])
    table.connect()
    assert (table.got("a"), table.got("b"), table.facts) == ([], [0], [])
    table.close()


def test_a_policy_that_chooses_nobody_lets_the_connection_wait() -> None:
    table = Table(choose=lambda _nodes, _key: None)
    table.connect()
    assert (table.got("a"), table.got("b"), table.facts) == ([], [], [])
    assert table.dispatch.pending == 1
    table.close()


@pytest.mark.parametrize(
    "choose",
    [
        lambda nodes, _key: nodes[0],
        lambda nodes, _key: replace(nodes[1], name="unknown"),
        lambda _nodes, _key: "b",
    ],
    ids=["that may get none", "that is not there", "that is no node"],
)
def test_a_policy_that_chooses_a_node_wrongly_is_told_once_and_replaced(choose: Any) -> None:
    table = Table(choose=choose)
    table.dispatch.remove_node("a", dead=False)
    for _ in range(2):
        table.connect()
        table.dispatch.on_acks("b", table.nodes["b"].numbers[-1:], [], [])
    assert (table.got("a"), table.got("b"), table.told(PolicyFailed)) == ([], [0, 1], 1)
    table.close()


def test_what_is_acknowledged_after_the_close_is_not_closed_again(table: Table) -> None:
    table.connect()
    table.dispatch.close()
    assert (table.sockets[0].open, table.dispatch.members) == (False, [])
    assert not table.dispatch.has_ready_nodes
    table.dispatch.on_acks("a", table.nodes["a"].numbers, [], [])
    table.dispatch.remove_node("a", dead=True)
    assert (table.dispatch.waiting, table.dispatch.redispatched, table.facts) == (0, 0, [])


def test_a_late_node_keeps_keyed_connections_until_it_is_suspect() -> None:
    table = Table()
    table.connect()
    table.connect()
    table.connect(b"key")
    assert [len(member.queue) for member in table.dispatch.members] == [2, 0]
    table.loop.advance(0.15)
    table.dispatch.on_acks("b", table.nodes["b"].numbers, [], [])
    assert table.got("b") == [1]
    table.loop.advance(1.75)
    assert (table.told(NodeSuspect), table.dispatch.members[0].suspect) == (0, False)
    table.loop.advance(0.15)
    assert (table.got("a"), table.got("b"), table.told(NodeSuspect)) == ([0], [1, 2], 1)
    table.dispatch.on_acks("b", table.nodes["b"].numbers, [], [])
    table.loop.advance(5)
    assert (table.told(NodeSuspect), table.told(NodeTrusted)) == (1, 0)
    table.dispatch.on_acks("a", table.nodes["a"].numbers, [], [])
    assert table.told(NodeTrusted) == 1
    table.connect(b"key")
    assert table.got("a") == [0, 3]
    table.close()


@pytest.mark.parametrize("leaves", ["is removed", "refuses"])
def test_what_is_queued_for_a_node_goes_to_another_when_it(leaves: str, table: Table) -> None:
    table.connect()
    table.connect(b"key")
    assert [len(member.queue) for member in table.dispatch.members] == [1, 0]
    if leaves == "is removed":
        table.dispatch.remove_node("a", dead=False)
    else:
        table.dispatch.on_acks("a", [], table.nodes["a"].numbers, [])
    table.dispatch.on_acks("b", table.nodes["b"].numbers, [], [])
    assert (table.got("a"), table.got("b")[-1]) == ([0], 1)


def test_a_node_that_refuses_gets_nothing_for_a_moment() -> None:
    table = Table("a")
    table.connect()
    table.dispatch.on_acks("a", [], table.nodes["a"].numbers, [])
    table.connect()
    assert (table.got("a"), table.dispatch.pending, table.dispatch.refused) == ([0], 2, 1)
    table.loop.advance(0.05)
    assert table.got("a") == [0, 0]
    table.close()


def test_a_hand_over_that_fails_does_not_count_and_goes_elsewhere(table: Table) -> None:
    table.nodes["a"].unreachable = True
    table.connect()
    assert {member.name: member.total for member in table.dispatch.members} == {"a": 0, "b": 1}
    assert (table.got("b"), table.told(HandOverFailed)) == ([0], 1)


def test_a_node_that_dies_during_a_hand_over_loses_its_connection_once(table: Table) -> None:
    node = table.nodes["a"]
    node.before = lambda: table.dispatch.remove_node("a", dead=True)
    node.unreachable = True
    table.connect()
    assert (table.got("b"), table.dispatch.waiting, table.dispatch.redispatched) == ([0], 0, 1)
    table.dispatch.on_acks("b", table.nodes["b"].numbers, [], [])
    assert (table.got("b"), table.sockets[0].open) == ([0], False)


def test_lag_fades_from_when_it_was_measured() -> None:
    member = Member(Owing("a", 0))
    member.observe_ack(100.0, 99.0)

    def lag(now: float) -> float:
        return member.snapshot(None, now, keyed=False).lag

    assert lag(100.0) == member.lag > 0
    assert lag(100.0) > lag(101.0) > lag(110.0) >= 0
    before = lag(110.0)
    member.observe_ack(110.0, 110.0)
    assert member.lag <= before

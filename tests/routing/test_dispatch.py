"""Whatever happens to nodes, each connection has one owner: a model test of the dispatch."""

import socket
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.routing import ConnectionDropped, HandedOver, LeastConnections, Policy, Sticky, ip
from actors.routing.balancer.dispatch import Dispatch
from actors.routing.balancer.records import Connection
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

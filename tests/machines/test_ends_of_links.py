"""The ends of links that come late, or that nobody fetches, are closed, and nothing of them is read."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, Final

import pytest
from anyio import to_thread

from actors._base.run_loop import open_loop
from actors._remoting import operations as ops
from actors._remoting.peer import Peer
from actors.machines import place_links
from actors.machines.dial import dial
from actors.machines.peer_links import PeerLinks
from actors.machines.place_links import LinkEnds, PlaceLinks
from actors.nodes import ActorHost
from actors.testing import eventually
from tests.machines.conftest import MakeEntrance, material

pytestmark = pytest.mark.usefixtures("no_leaks")

OTHER: Final = "at/1"
RUN: Final = 7
NUMBER: Final = 3


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Told:
    """A link, of which what is said over it is kept."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, tuple[Any, ...]]] = []
        self.ends: list[socket.socket] = []

    def note(self, op: Any, *args: Any) -> None:
        self.notes.append((op.name, args))

    def note_fds(self, op: Any, fds: tuple[int, ...], *args: Any) -> None:
        self.note(op, *args)
        self.ends += [socket.socket(fileno=fd) for fd in fds]


class Process(SimpleNamespace):
    """A node of a place, and what it says to its parent and its agent."""

    host: ActorHost
    parent: Told
    router_link: Told

    @property
    def other(self) -> Peer:
        """The node that it is to be linked to."""
        return self.host.peer(OTHER)

    def other_ends(self) -> None:
        """Hear from the parent that a run of the other node is over."""
        self.other.down("killed", restarting=True)

    def takes(self, op: Any) -> Any:
        """Return what it does when it is told *op*."""
        handlers = self.host.handlers
        return {**handlers.notes, **handlers.fd_notes, **handlers.fds_lost}[op.name]


@pytest.fixture
async def process(anyio_backend: Any) -> AsyncIterator[Any]:
    async with open_loop() as loop:
        host = ActorHost("at/0", 1, loop)
        found = Process(host=host, parent=Told(), router_link=Told(), lost=[])
        found.link_end_lost = lambda _link, address: found.lost.append(address)
        host.services = SimpleNamespace(watch_actor=None, event=lambda *_: None)
        yield found
        host.close_links()
        host.memory.close()


def _end_of(pair: tuple[socket.socket, socket.socket]) -> int:
    return pair[1].detach()


def _is_closed(end: socket.socket) -> Callable[[], bool]:
    def closed() -> bool:
        try:
            return end.recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False

    return closed


async def test_a_node_fetches_an_end_of_its_agent_and_is_linked_by_it(process: Any) -> None:
    PlaceLinks(process)
    pair = socket.socketpair()
    process.takes(ops.fetch_link)(process.parent, OTHER, RUN, NUMBER)
    assert process.router_link.notes == [("link_wanted", (RUN, NUMBER))]
    with pair[0]:
        process.host.handlers.fd_notes[ops.link_end.name](None, [_end_of(pair)], NUMBER)
        assert process.other.link.attached
        assert not process.other.link.far


async def test_an_end_that_comes_when_the_other_run_is_over_is_not_read(process: Any) -> None:
    PlaceLinks(process)
    pair = socket.socketpair()
    process.takes(ops.fetch_link)(process.parent, OTHER, RUN, NUMBER)
    process.other_ends()
    process.other.up()
    with pair[0]:
        pair[0].send(b"of a run that is over")
        process.host.handlers.fd_notes[ops.link_end.name](None, [_end_of(pair)], NUMBER)
        assert process.other.link is None
        with pytest.raises(ConnectionResetError):  # it was closed unread
            pair[0].recv(1)


async def test_only_its_parent_has_a_node_fetch_ends(process: Any) -> None:
    PlaceLinks(process)
    process.takes(ops.fetch_link)(process.router_link, OTHER, RUN, NUMBER)
    assert process.router_link.notes == []


async def test_an_end_for_which_there_was_no_descriptor_is_asked_for_again(process: Any) -> None:
    PlaceLinks(process)
    lost = process.host.handlers.fds_lost[ops.link_end.name]
    process.takes(ops.fetch_link)(process.parent, OTHER, RUN, NUMBER)
    lost(None, NUMBER)
    assert process.lost == [OTHER]
    process.takes(ops.fetch_link)(process.parent, OTHER, RUN, NUMBER + 1)
    process.other_ends()
    lost(None, NUMBER + 1)
    assert process.lost == [OTHER], "of a run that is over there is nothing to ask for"


async def test_a_connection_of_a_run_that_is_over_is_not_read(process: Any) -> None:
    links = PeerLinks(process, (material("at/0"), "127.0.0.1", 10.0))
    try:
        host, port, ticket = await links._await(process.parent, OTHER)
        process.other_ends()
        session = await dial((host, port), material("at/1"), ticket, {"purpose": "peer"})
        try:
            with pytest.raises(ConnectionResetError):
                await to_thread.run_sync(session.receive_waiting, 1, 10.0)
        finally:
            session.close()
        assert process.other.link is None
    finally:
        links.close()


async def test_that_a_run_which_is_over_cannot_be_reached_is_no_news(
    process: Any, entrance: MakeEntrance
) -> None:
    links = PeerLinks(process, (material("at/0"), "127.0.0.1", 10.0))
    way = (*entrance().address, "an unknown ticket", None, 10.0)
    await links._dial(process.other, process.other.ended_runs, *way)
    assert [name for name, _ in process.parent.notes] == ["unreachable"]
    ended = process.other.ended_runs
    process.other_ends()
    await links._dial(process.other, ended, *way)
    assert len(process.parent.notes) == 1
    assert process.other.links == 0


# -- at the agent


class Agent(SimpleNamespace):
    """An agent with two nodes, of the runs 1 and 7."""

    def __init__(self, loop: Any) -> None:
        super().__init__(
            loop=loop, host=ActorHost("agent", 0, loop), nodes={1: Told(), RUN: Told()}
        )
        self.ends = LinkEnds(self)

    def run_of(self, link: Any) -> int | None:
        return next((run for run, node in self.nodes.items() if node is link), None)

    def ask(self, link: Told, run: int, number: int = NUMBER) -> None:
        """Have a node ask for an end."""
        self.host.handlers.notes[ops.link_wanted.name](link, run, number)


@pytest.fixture
async def agent(anyio_backend: Any) -> AsyncIterator[Agent]:
    async with open_loop() as loop:
        agent = Agent(loop)
        nodes = list(agent.nodes.values())
        yield agent
        for node in nodes:
            for end in node.ends:
                end.close()
        for run in list(agent.nodes):
            agent.ends.node_ended(run)
        agent.host.memory.close()


async def test_each_of_two_nodes_gets_an_end_of_one_socket_pair(agent: Agent) -> None:
    one, other = agent.nodes.values()
    agent.ask(one, RUN)
    agent.ask(other, 1)
    agent.ask(other, 1, NUMBER + 1)
    agent.ask(one, RUN, NUMBER + 1)
    for at in range(2):
        one.ends[at].send(b"hello")
        assert other.ends[at].recv(9) == b"hello"
    assert [args for _, args in one.notes] == [args for _, args in other.notes] == [(3,), (4,)]


async def test_the_end_that_is_kept_for_a_node_is_closed_when_that_has_ended(agent: Agent) -> None:
    one, _ = agent.nodes.values()
    agent.ask(one, RUN)
    (end,) = one.ends
    assert not _is_closed(end)()
    agent.ends.node_ended(RUN)
    assert _is_closed(end)()


async def test_who_is_linked_to_a_node_that_has_ended_reads_that_it_has(agent: Agent) -> None:
    one, other = agent.nodes.values()
    del agent.nodes[RUN]
    agent.ask(one, RUN)
    agent.ask(other, 1)
    assert _is_closed(one.ends[0])()
    assert not other.ends, "it has ended, and is told nothing"


async def test_an_agent_without_descriptors_makes_the_link_a_little_later(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = agent.nodes.values()

    def none_free() -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(place_links, "pair", none_free)
        agent.ask(one, RUN)
        agent.ask(other, 1)
    await eventually(lambda: one.ends and other.ends)
    one.ends[0].send(b"hello")
    assert other.ends[0].recv(9) == b"hello"

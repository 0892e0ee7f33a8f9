"""The programs that are connected to a system from outside, in the process that made it: its clients.

Rule 1: a client is no node: nothing is placed on it, it has no actors and no names, and nobody waits for it.
Rule 2: it may ask only for what `_SERVED` lists. That starts nothing, changes no group of nodes, and is
bounded as what a node may ask for is.
Rule 3: when its connection ends, the system forgets it, everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from actors._base.errors import ActorsError
from actors._base.version import installed_version
from actors._remoting import (
    client_operations as client_ops,
    directory_operations as directory,
    operations as ops,
    pool_operations as pools,
)
from actors._remoting.protocol import CLIENT
from actors.nodes import Link, sibling_facts

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from actors._remoting.operation import Handlers, Note, Operation
    from actors._system.system_state import SystemState
    from actors._system.topic_directory import TopicDirectory

__all__ = ["Client", "Clients"]

P = ParamSpec("P")

_MOST: Final = 256
"""Clients of one system at a time."""

_SERVED: Final[tuple[Operation, ...]] = (
    client_ops.introduced,
    ops.request_link,
    ops.interrupt_request,
    # actors
    ops.lookup,
    ops.wait_ended,
    ops.stop_supervised,
    ops.actor_killed,
    ops.event,
    # the system, to look at
    ops.tree,
    ops.children,
    ops.count_children,
    ops.node_stats,
    ops.follow_events,
    ops.next_events,
    ops.unfollow_events,
    # topics and groups
    ops.subscribe_topic,
    ops.unsubscribe_topic,
    ops.keep_topic_value,
    ops.last_topic_value,
    directory.group_members,
    directory.watch_group,
    directory.unwatch_group,
    # pools and books that are there
    pools.pool,
    pools.task_queued,
    pools.task_withdrawn,
    pools.task_done,
    pools.task_undelivered,
    pools.task_given_back,
    pools.task_broken,
    pools.task_overdue,
    pools.pool_members,
    pools.pool_stats,
    pools.wait_pool,
    directory.keyed,
    directory.find_keyed,
    directory.stop_keyed,
    directory.keyed_keys,
    directory.has_keyed,
    directory.count_keyed,
)
_ARGUMENTS: Final[dict[Operation, int]] = {
    ops.lookup: 1,
    pools.pool: 1,
    pools.wait_pool: 1,
    directory.find_keyed: 3,
    directory.stop_keyed: 3,
}
"""How many arguments an operation has without the actors that wait for the answer: none of this system does."""


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """One connected program.

    Attributes:
        address: where other processes of the system reach it.
        number: no run of a node, and no other client, has it.
        pid: its process.
        link: to it.
    """

    address: str
    number: int
    pid: int
    link: Link


class Clients:
    """Every client of a system.

    Args:
        state: of the system.
        topics: who has subscribed to what.
        new_number: gives a number that no run of a node has.
        ended: called with the address of a client, and how it ended, when that is to be told to the nodes.
    """

    def __init__(
        self,
        state: SystemState,
        topics: TopicDirectory,
        new_number: Callable[[], int],
        ended: Callable[[str, str], None],
    ) -> None:
        self._state = state
        self._topics = topics
        self._new_number = new_number
        self._ended = ended
        self._clients: dict[str, Client] = {}
        self._serves: Handlers[Link] | None = None
        state.host.handlers.on_call(client_ops.introduced, _introduced)

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def get(self, address: str) -> Client | None:
        """Return the client of that address, if it is connected."""
        return self._clients.get(address)

    def admit(self, version: object) -> dict[str, Any]:
        """Return what a program needs to know to be a client; `attach` follows.

        Raises:
            ActorsError: it may not be one.
        """
        own = installed_version()
        if version != own:
            raise ActorsError(
                f"this system runs actors-framework {own}, and the program that wants to connect has "
                f"{version}: a client needs the same version"
            )
        if len(self._clients) >= _MOST:
            raise ActorsError(f"{_MOST} programs are connected to this system, as many as may be")
        if self._state.stopping:
            raise ActorsError("this system is stopping")
        number, topology = self._new_number(), self._state.topology
        return {
            "address": f"{CLIENT}{number}",
            "number": number,
            "parent": self._state.host.name,
            "largest": topology.largest,
            "lend_per_node": topology.lend_per_node,
            "ask_timeout": topology.ask_timeout,
            "propagate": list(topology.propagate),
            "trace": topology.trace,
            "system_id": self._state.host.system_id,
        }

    def attach(self, sock: socket.socket, admitted: dict[str, Any], pid: int) -> None:
        """Have a program that was admitted be a client over *sock*, which belongs to its link from now on."""
        host = self._state.host
        if self._serves is None:
            self._serves = _served(host.handlers)
        link = Link(host, admitted["address"], serves=self._serves, lends=False)
        client = Client(link.peer, admitted["number"], pid, link)
        self._clients[link.peer] = client
        link.attach(sock)
        host.peer(link.peer).up(link)
        self._introduce(link)
        self._state.event("client_connected", {"client": link.peer, "peer_pid": pid})

    def _introduce(self, link: Link) -> None:
        """Tell a client of the nodes and of the topics there are."""
        state = self._state
        local = [] if state.local is None else [state.local]
        for node in (*local, *state.nodes.values()):
            link.note(ops.node_seen, sibling_facts(node))
        for name, node in state.nodes.items():
            if node.address != name:
                link.note(ops.node_moved, name, node.address)
            peer = state.host.peer(node.address)
            if not peer.ready:
                link.note(ops.node_down, peer.name, peer.why, peer.restarting, peer.patience)
        for topic, process in self._topics.table():
            link.note(ops.topic_interest, topic, process, True)

    def tell(self, op: Note[P], /, *args: P.args, **none: P.kwargs) -> None:
        """Tell every client something that is not answered; one that does not read is no client any more."""
        for client in self:
            if client.link.out.congested:
                self.end(client, "it does not read what it is told")
            else:
                client.link.note(op, *args, **none)

    def link_ended(self, link: Link) -> None:
        """Forget a client whose connection has ended."""
        client = self._clients.get(link.peer)
        if client is not None and client.link is link:
            self.end(client, link.closed or "")

    def end(self, client: Client, why: str) -> None:
        """End the connection of a client, and forget it."""
        if self._clients.pop(client.address, None) is None:
            return
        client.link.close()
        self._state.host.forget_peer(client.address, why)
        self._ended(client.address, why)
        self._state.event(
            "client_gone", {"client": client.address, "peer_pid": client.pid, "why": why}
        )

    def close(self) -> None:
        """End all connections: the system has ended."""
        for client in self:
            self.end(client, "the system has ended")


def _served(handlers: Handlers[Link]) -> Handlers[Link]:
    """Return what the parent does for clients."""
    served = handlers.only(_SERVED)
    for op, count in _ARGUMENTS.items():
        served.calls[op.name] = partial(_called, served.calls[op.name], count)
    return served


async def _called(
    handler: Callable[..., Awaitable[Any]], count: int, link: Link, *args: Any
) -> Any:
    return await handler(link, *args[:count])


async def _introduced(_link: Link) -> None:
    """Answer a client: what it was told before has been read by then."""

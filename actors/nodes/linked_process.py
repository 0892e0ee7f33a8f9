"""A process that is linked to the parent of its system: what that tells it, and what it asks of it.

It is the base of what runs a node and of a client, a program that is connected from outside.

Rule: it learns of every other process from the parent alone, and reaches it by a link that the parent makes.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from actors._base.events import TRACE
from actors._base.log import Logger, system_logger
from actors._messaging.deadlock import all_waiting
from actors._remoting import client_operations as clients, operations as ops
from actors._remoting.constructor_args import unpack_value
from actors._remoting.last_value import last_value
from actors._remoting.link import Link
from actors.supervisors import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.ref import Ref
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.peer import Peer
    from actors.nodes._sibling import Siblings
    from actors.transport import Endpoint

__all__ = ["LinkedProcess"]

_REPORT_WITHIN: Final = 0.09
"""Seconds within which the parent reports the end of another node, which it sees at once."""
_NEXT_LINK: Final = 0.1
"""Seconds after which a link is asked for again for whose end there was no descriptor free."""


class LinkedProcess:
    """Takes the parent's news, and makes the requests of this process to the parent (`SystemServices`).

    Attributes:
        host: its actors, if it has any, and its peers.
        parent: the link to the parent.
        siblings: the nodes of the system, as the parent has told; set before it is told of any.
    """

    siblings: Siblings

    def __init__(self, host: ActorHost, parent: str) -> None:
        self.host = host
        self.log: Logger = system_logger(node=host.name)
        self.when_closed: list[Callable[[], object]] = []
        """Called when this process has closed its links."""
        self.parent_lost: Callable[[], object] = lambda: None
        """Called when the link to the parent has ended."""
        host.services = self
        host.link_ended = self._link_ended
        self.parent: Link = Link(host, parent)
        self.peer_of_parent: Peer = host.peer(parent)
        self.peer_of_parent.link = self.parent
        self._take_news()

    def _take_news(self) -> None:
        host, handlers = self.host, self.host.handlers
        handlers.on_note(
            ops.actor_unheard, lambda _, address, uid: host.peer(address).actor_unheard(uid)
        )
        handlers.on_note(ops.actor_gone, lambda _, uid, end: host.given_up(uid, end))
        handlers.on_note(ops.node_up, lambda _, address: host.peer(address).up())
        handlers.on_note(ops.node_draining, self._node_draining)
        handlers.on_note(ops.node_down, self._node_down)
        handlers.on_note(ops.node_seen, lambda _, facts: self.siblings.seen(facts))
        handlers.on_note(ops.node_forgotten, lambda _, name: self.siblings.forgotten(name))
        handlers.on_note(ops.node_moved, lambda _, name, address: host.node_moved(name, address))
        handlers.on_note(clients.client_gone, lambda _, *client: host.forget_peer(*client))
        handlers.on_fd_note(ops.open_link, self._open_link, lost=self.link_end_lost)
        handlers.on_note(ops.open_thread_link, self._open_thread_link)
        handlers.on_call(ops.topic_joined, self._topic_joined)
        handlers.on_note(ops.topic_interest, self._topic_interest)

    def _node_draining(self, _link: Link, address: str, why: str, *expected: Any) -> None:
        restarting, patience = expected
        self.host.peer(address).drain(why, restarting=restarting, patience=patience)

    def _node_down(self, _link: Link, address: str, why: str, *expected: Any) -> None:
        restarting, patience = expected
        self.host.peer(address).down(why, restarting=restarting, patience=patience)

    def _link_ended(self, link: Link) -> None:
        """Wait a moment for the parent to report that node's end; otherwise only the link was lost."""
        peer = self.host.peers.get(link.peer)
        if link is self.parent:
            self.parent_lost()
        elif peer is not None:
            told = link not in peer.sent_over  # the news of the node's end has closed it
            peer.link_ended(link, _REPORT_WITHIN)
            if link.far and not told:
                lost = peer.links, peer.ended_runs, peer.why
                self.host.loop.call_later(_REPORT_WITHIN, self._still_there, peer, *lost)

    def _still_there(self, peer: Peer, links: int, ended: int, why: str) -> None:
        """Tell the parent that only the link was lost, if it has not said that the node has ended."""
        if peer.ready and peer.ended_runs == ended:
            self.parent.note(ops.link_parted, peer.name, links, why)

    def _open_link(self, _link: Link, fds: list[int], address: str) -> None:
        [fd] = fds
        self.host.peer(address).attach(socket.socket(fileno=fd))

    def link_end_lost(self, _link: Link, address: str) -> None:
        """Ask for another link a little later: there was no descriptor free for this one's end."""
        peer = self.host.peer(address)
        peer.links += 1
        if peer.link is not None and not peer.link.attached:
            self.host.loop.call_later(_NEXT_LINK, self._request_again, peer, peer.link)

    def _request_again(self, peer: Peer, link: Link) -> None:
        if peer.link is link and not link.attached:
            self.parent.note(ops.request_link, peer.name, peer.links)

    def _open_thread_link(self, _link: Link, address: str, endpoint: Endpoint) -> None:
        self.host.peer(address).attach(endpoint)

    def _topic_interest(self, _link: Link, topic: str, node: str, wanted: bool) -> None:  # noqa: FBT001 - a wire field
        self.host.topics.interest(topic, node, wanted=wanted)

    async def _topic_joined(self, _link: Link, topic: str, node: str) -> None:
        self.host.topics.interest(topic, node, wanted=True)

    # -- requests to the parent (`SystemServices`) -------------------------------------------

    def connect(self, peer: Peer) -> None:
        """Have the parent connect this node with another one: what its link has taken is sent then."""
        self.parent.note(ops.request_link, peer.name, peer.links)

    def watch_actor(
        self, ref: Ref[Any], notice: Callable[[Exit], None], why: str
    ) -> Callable[[], None]:
        """Call *notice* at the end of an actor whose node has ended; the parent knows if it restarts it."""
        if ref.uid >> 32:
            notice(Exit.NODE_DOWN(why) if why else Exit.FORGOTTEN)
            return lambda: None
        watched = [notice]

        async def wait() -> None:
            end = await self.parent.call(ops.wait_ended, ref.uid)
            self.host.remember(ref.uid, end)
            if watched:
                watched.pop()(end)

        task = self.host.loop.start(wait, name=f"watch {ref.name}", fresh=True)

        def cancel() -> None:
            watched.clear()
            task.cancel()

        return cancel

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Report an event to the parent; log it here if the parent can no longer be reached."""
        if self.parent.closed is None:
            self.parent.note(ops.event, kind, facts)
        elif kind != TRACE:
            self.log.error(kind.replace("_", " "), **facts)

    async def topic_join(self, name: str) -> None:
        """Tell the system that this node has subscribers to a topic."""
        await self.parent.call(ops.subscribe_topic, name)

    def topic_keep(self, name: str, value: Any) -> None:
        """Have the parent keep the last value of a topic."""
        self.parent.note(ops.keep_topic_value, name, last_value(self.host, name, value))

    async def topic_last(self, name: str) -> tuple[Any, ...]:
        """Return the last value of a topic that was kept, or nothing."""
        packed = await self.parent.call(ops.last_topic_value, name)
        return unpack_value(self.host, packed)

    def topic_leave(self, name: str) -> None:
        """Tell the system that this node has no subscribers to a topic any more."""
        self.parent.note(ops.unsubscribe_topic, name)

    def unclaim(self, ref: Ref[Any]) -> None:
        """Release the name of an actor of this node."""
        self.parent.note(ops.release_name, ref.name, ref.uid)

    async def claim(self, ref: Ref[Any]) -> None:
        """Claim the name of an actor of this node.

        Raises:
            NameTaken: another living actor has it.
        """
        await self.parent.call(ops.claim_name, ref)

    async def new_fence(self) -> int:
        """Return a number greater than those of all starts before, on every node."""
        return await self.parent.call(ops.new_fence)

    def stop_actor(self, ref: Ref[Any]) -> None:
        """Have the parent remember a stop, and end the actor now if it is between two runs."""
        self.parent.note(ops.stop_supervised, ref.uid)

    def actor_killed(self, ref: Ref[Any], after: float, by: str) -> None:
        """Have the parent see that an actor's node hears of its kill."""
        self.parent.note(ops.actor_killed, ref.uid, ref.name, ref.node, after, by)

    # -- requests of the handles of nodes (`SiblingOwner`) -----------------------------------

    async def stop_node(self, name: str, grace: float | None) -> None:
        """Have the parent stop a node for good; this one when what is handled now is done."""
        waiting = all_waiting(list(self.host.cells.values()))
        await self.parent.call(ops.stop_node, name, grace, waiting)

    async def drain_node(self, name: str, grace: float | None) -> None:
        """Have the parent drain a node; return when it is drained."""
        await self.parent.call(ops.drain_node, name, grace)

    def kill_node(self, name: str) -> None:
        """Have the parent kill a node."""
        self.parent.note(ops.kill_node, name, self.host.asker())

    async def node_stats(self, name: str) -> dict[str, Any]:
        """Have the parent ask another node for its figures."""
        return await self.parent.call(ops.node_stats, name)

"""What the routers share whose nodes take their work from a socket: the nodes, and their counts.

Rule 1: each ready node gets its socket once; if it cannot be reached, it is tried again.
Rule 2: what nodes serve is known only from what they report; it is up to a tenth of a second old.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.bound_router import BoundRouter, NodeStats, RouterStats
from actors.routing.events import HandOverFailed
from actors.routing.interfaces import Report, SocketNode
from actors.routing.listen.listener import Listener

__all__ = ["SocketMember", "SocketRouter"]

_RETRY: Final = 0.5
_NO_DESCRIPTOR: Final = "the node had no descriptor free for the listener's socket"


@dataclass(slots=True, eq=False)
class SocketMember:
    """One node, and the counts it reported last."""

    node: SocketNode
    ready: bool = True
    """Cleared for good when the node is removed or begins to drain."""
    open: int = 0
    total: int = 0
    retry: Timer | None = None


class SocketRouter(BoundRouter):
    """Gives each node a socket. See `Router` for what each method promises."""

    def __init__(self, spec: Listener, loop: Loop, report: Report) -> None:
        super().__init__(spec, loop, report)
        self._members: dict[str, SocketMember] = {}

    @property
    def _ready(self) -> list[SocketMember]:
        """The members that get work, in order of slots."""
        return [member for member in self._in_order() if member.ready]

    def add_node(self, node: SocketNode) -> None:
        """Give *node*, which is ready, its socket."""
        for name, member in list(self._members.items()):
            if name == node.name:
                self._remove(name, dead=True)
            elif member.node.slot == node.slot:
                self._remove(name, dead=False)
        member = self._members[node.name] = SocketMember(node)
        self._try_attach(member)
        self._members_changed()

    def resume_node(self, node: SocketNode) -> None:
        """Give *node*, which was removed without being dead, a socket again."""
        self.add_node(node)

    def remove_node(self, node: SocketNode, *, dead: bool) -> None:
        """Tell *node* to stop taking work; forget it if it is dead."""
        self._remove(node.name, dead=dead)

    def on_counts(self, name: str, open_: int, total: int) -> None:
        """Record how much node *name* is serving, and how much it has served in all."""
        member = self._members.get(name)
        if member is not None:
            member.open, member.total = open_, total

    def on_socket_lost(self, name: str) -> None:
        """Try again: the process of node *name* had no descriptor free for its socket."""
        member = self._members.get(name)
        if member is not None and member.ready:
            self._detached(member)
            self._not_attached(member, OSError(errno.EMFILE, _NO_DESCRIPTOR))

    def stop_listening(self) -> None:
        """Detach every node from its socket, then give the address back."""
        for member in self._ready:
            self._remove(member.node.name, dead=False)
        super().stop_listening()

    def close(self) -> None:
        """Give the address back and forget all nodes; they keep what they are serving."""
        self.stop_listening()
        for name in list(self._members):
            self._remove(name, dead=True)

    def snapshot(self) -> RouterStats:
        """Describe the router; the nodes' counts are up to a tenth of a second old."""
        members = self._in_order()
        return RouterStats(
            listener=self.spec.name,
            address=self.address,
            accepting=self._socket is not None and bool(self._ready),
            accepted=sum(member.total for member in members),
            nodes=tuple(
                NodeStats(m.node.name, m.node.slot, m.open, m.total, m.ready) for m in members
            ),
        )

    def _in_order(self) -> list[SocketMember]:
        return sorted(self._members.values(), key=lambda member: member.node.slot)

    def _remove(self, name: str, *, dead: bool) -> None:
        member = self._members.get(name)
        if member is None:
            return
        was_ready, member.ready = member.ready, False
        if member.retry is not None:
            member.retry.cancel()
        if was_ready:
            self._detached(member)
            if not dead:
                member.node.detach_socket(self.spec.name)
        if dead:
            del self._members[name]
        self._members_changed()

    def _try_attach(self, member: SocketMember) -> None:
        member.retry = None
        try:
            self._attach(member)
        except Exception as error:  # noqa: BLE001 - one broken node must not stop the others
            self._not_attached(member, error)

    def _not_attached(self, member: SocketMember, error: Exception) -> None:
        self._report(HandOverFailed(self.spec.name, member.node.name, error))
        member.retry = self._loop.call_later(_RETRY, self._try_attach, member)

    def _attach(self, member: SocketMember) -> None:
        """Send *member* its socket; may raise."""
        raise NotImplementedError

    def _detached(self, member: SocketMember) -> None:
        """Called when *member* gets no more work."""

    def _members_changed(self) -> None:
        """Called when other nodes are ready than before."""

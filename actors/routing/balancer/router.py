"""The router that accepts in the parent and hands each connection to the node its policy chooses.

Rule 1: only wiring. Accepting is `acceptor`, keys are `peek`, nodes and hand-overs `dispatch`.
Rule 2: without a ready node nothing is accepted; clients wait in the kernel's backlog, and are told
after a while (`unavailable`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from typing import Any

from actors._base.loop import Loop
from actors.routing.balancer.acceptor import Acceptor
from actors.routing.balancer.bound_router import BoundRouter, NodeStats, RouterStats
from actors.routing.balancer.dispatch import Dispatch
from actors.routing.balancer.peek import Peeker
from actors.routing.balancer.records import Connection
from actors.routing.balancer.unavailable import UnavailableResponder
from actors.routing.events import KeyUnlearned, PolicyFailed
from actors.routing.interfaces import Report, RouterNode
from actors.routing.listen.address import InheritedSocket
from actors.routing.listen.listener import Listener
from actors.routing.policy.bound import BoundPolicy, new_table
from actors.routing.policy.policy import Policy, Sticky, key_of
from actors.routing.sticky.bindings import DIGEST_SIZE
from actors.routing.sticky.client_address import plain_address

__all__ = ["Router"]


class Router(BoundRouter):
    """Accepts the connections of one listener and hands each to a node.

    Args:
        spec: the listener.
        loop: the parent's event loop; every method is called on it.
        report: takes the records of `actors.routing.events`; must not raise.
        max_batch: connections that one hand-over has at most; they are handed over together only
            if they came while the node owed an acknowledgement.
    """

    def __init__(
        self,
        spec: Listener,
        loop: Loop,
        report: Report,
        *,
        max_batch: int = 8,
    ) -> None:
        super().__init__(spec, loop, report)
        self._acceptor: Acceptor | None = None
        self._key_failed = self._closed = False
        self._unlearned = 0
        self.elsewhere: Callable[[Connection], bool] | None = None
        """Asked for each connection whether it is offered to another machine, if there are any."""
        self.room_changed: Callable[[], object] = lambda: None
        """Called when there may be more room for pending connections than before."""
        self._offered = self._passed_on = self._passing = 0
        self._bindings = new_table(spec.policy)
        policy: Policy = spec.policy
        if self._bindings is not None and isinstance(policy, Sticky):
            policy = BoundPolicy(policy, self._bindings)
        self._dispatch = Dispatch(
            loop,
            policy,
            listener=spec.name,
            report=report,
            changed=self._update_accepting,
            limit=spec.limit,
            max_batch=max_batch,
        )
        self._unavailable = UnavailableResponder(
            spec,
            loop,
            report,
            listening=lambda: self._socket,
            accepted=self._dispatch.take_pending,
        )
        key = key_of(spec.policy)
        self._peeker = None
        if key is not None:
            self._peeker = Peeker(
                loop,
                key,
                found=self._key_found,
                failed=self._key_raised,
                limit=spec.max_peeking,
                proxy_protocol=spec.proxy_protocol,
            )

    def open(self) -> None:
        """Bind and listen; accepting begins as soon as a node has been added. See `BoundRouter`."""
        super().open()
        if self._acceptor is not None:
            return
        assert self._socket is not None
        self._acceptor = Acceptor(
            self._socket,
            self._loop,
            accepted=self._accepted,
            room=self._room,
            report=self._report,
            listener=self.spec.name,
        )
        self._update_accepting()

    def add_node(self, node: RouterNode) -> None:
        """Give connections to *node*, which is ready.

        A node of the same name counts as dead; one of the same slot but another name as draining.
        """
        self._dispatch.add_node(node)

    def remove_node(self, node: RouterNode, *, dead: bool) -> None:
        """Stop giving connections to *node*.

        Read the link of a dead node to its end first: an acknowledgement in it says that the node
        had begun to read the connection.

        Args:
            node: the node.
            dead: its process is gone: what it did not acknowledge goes to others and the node is
                forgotten. Otherwise it drains: it may still acknowledge, refuse and close, and is
                forgotten when this is called again with ``dead=True``.
        """
        self._dispatch.remove_node(node.name, dead=dead)

    def resume_node(self, node: RouterNode) -> None:
        """Give connections to *node* again, which was removed without being dead."""
        self._dispatch.resume_node(node.name)

    def on_acks(
        self, node: str, acknowledged: list[int], refused: list[int], closed: list[int]
    ) -> None:
        """Record what *node* did with its connections, by their numbers.

        The router closes its copy of what was acknowledged and gives what was refused to another.
        """
        self._dispatch.on_acks(node, acknowledged, refused, closed)

    @property
    def bindings_fd(self) -> int | None:
        """The memory in which nodes read which slot has made which key; None if none are learned."""
        return None if self._bindings is None else self._bindings.copy.fd

    def bind(self, slot: int, digests: Sequence[bytes], client: str) -> None:
        """Give connections with these keys to *slot* from now on.

        Args:
            slot: the slot of the node whose application has made the keys.
            digests: a digest of each, as `digest_of` makes them.
            client: the host of the client that they were made for; empty if it is not known.
        """
        if self._bindings is not None:
            for digest in digests:
                if len(digest) == DIGEST_SIZE:
                    self._bindings.bind(digest, slot, client)

    def on_unlearned(self, node: str) -> None:
        """Count a response of *node* that was sent although its key could not be bound in time."""
        self._unlearned += 1
        self._report(KeyUnlearned(self.spec.name, node))

    def keep_slots(self, slots: Collection[int]) -> None:
        """Forget the keys of all other slots, which were scaled away."""
        if self._bindings is not None:
            self._bindings.keep_slots(slots)

    def stop_listening(self) -> None:
        """Close the listening socket; connections that have come already still get a node."""
        self._refuse_new()
        if self._acceptor is not None:
            inherited = isinstance(self.spec.where, InheritedSocket)
            if self._socket is not None and self._dispatch.has_ready_nodes and not inherited:
                self._acceptor.accept_rest(self.spec.backlog)
            self._acceptor.close()
        self._unavailable.close()
        super().stop_listening()

    def close(self) -> None:
        """Close everything the router holds; nodes keep what they have acknowledged."""
        self.stop_listening()
        if self._peeker is not None:
            self._peeker.close()
        self._closed = True
        self._dispatch.close()
        if self._bindings is not None:
            self._bindings.copy.close()
            self._bindings = None

    def snapshot(self) -> RouterStats:
        """Describe the router at this moment."""
        acceptor, dispatch = self._acceptor, self._dispatch
        return RouterStats(
            listener=self.spec.name,
            address=self.address,
            accepting=acceptor is not None and acceptor.accepting,
            accepted=0 if acceptor is None else acceptor.total,
            nodes=tuple(
                NodeStats(
                    name=member.name,
                    slot=member.node.slot,
                    open=len(member.open),
                    total=member.total,
                    ready=member.ready,
                    unacknowledged=len(member.unacked),
                    queued=len(member.queue),
                    suspect=member.suspect,
                )
                for member in dispatch.members
            ),
            pending=dispatch.pending + self._offered,
            peeking=0 if self._peeker is None else len(self._peeker),
            dropped=dispatch.dropped,
            refused=dispatch.refused,
            redispatched=dispatch.redispatched,
            learned=0 if self._bindings is None else len(self._bindings),
            unlearned=self._unlearned,
            passed_on=self._passed_on,
            passing=self._passing,
        )

    def _accepted(self, sock: socket.socket, client: Any) -> None:
        connection = Connection(sock, plain_address(client))
        if self._peeker is None:
            self._dispatch.add(connection)
        else:
            self._peeker.add(connection)

    def _room(self) -> int:
        return self.spec.max_pending - self._dispatch.waiting - self._offered

    def _update_accepting(self) -> None:
        """Accept only while there is a ready node and room for pending connections."""
        self.room_changed()
        if self._acceptor is None or self._socket is None:
            return
        ready = self._dispatch.has_ready_nodes
        if ready:
            self._unavailable.set_ready(True)
        self._acceptor.set_accepting(ready and self._room() > 0)
        if not ready:
            self._unavailable.set_ready(False)

    def _key_found(self, connection: Connection) -> None:
        if self.elsewhere is not None and self.elsewhere(connection):
            self._offered += 1
            self._update_accepting()
        else:
            self._serve(connection)

    def _serve(self, connection: Connection) -> None:
        """Give a connection to a node of this machine, whatever its key."""
        if self._closed:
            connection.sock.close()
            return
        self._dispatch.add(connection)
        if not self._dispatch.has_ready_nodes:
            self._unavailable.answer_waiting()

    # -- other machines -----------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether one more connection can be pending."""
        return self._room() > 0

    def take_back(self, connection: Connection) -> None:
        """Serve a connection here that was offered to another machine, which has not taken it."""
        self._offered -= 1
        self._serve(connection)
        self._update_accepting()

    def begin_passing(self) -> None:
        """Count a connection that was offered to another machine, and is there now."""
        self._offered -= 1
        self._passed_on += 1
        self._passing += 1
        self._update_accepting()

    def end_passing(self) -> None:
        """Count the end of one that was passed on."""
        self._passing -= 1

    def take_passed(self, sock: socket.socket, key: bytes) -> None:
        """Give a node the connection of a client of another machine; it begins with a PROXY header."""
        self._serve(Connection(sock, "", key))

    def _key_raised(self, error: Exception) -> None:
        if not self._key_failed:
            self._key_failed = True
            self._report(PolicyFailed(self.spec.name, error))

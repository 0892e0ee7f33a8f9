"""The parent's side of `ReusePort`: it keeps the address, the nodes accept.

Rule 1: the address stays bound as long as this router is open, whatever happens to the nodes.
Rule 2: the parent also holds the listening socket of each slot, so that it outlives the process that
accepts from it: the restarted node finds the clients that wait in its queue. When a node has died and
others are ready, the parent hands its waiting clients to them.
"""

from __future__ import annotations

import os
import socket
from itertools import cycle
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.socket_router import SocketMember, SocketRouter
from actors.routing.balancer.unavailable import UnavailableResponder
from actors.routing.events import HandOverFailed
from actors.routing.interfaces import Report, SocketNode
from actors.routing.listen.bind import listen_shared, refuse_new, reserve
from actors.routing.listen.listener import Listener

__all__ = ["ReusePortRouter"]

_NO_SLOT: Final = -1
"""In the place of a slot: the socket that the parent accepts from itself."""
_HELD: Final = 2.0
"""Seconds that clients wait where the last node has died; restarting one takes less."""


class ReusePortRouter(SocketRouter):
    """Gives every node of one listener a socket of its own to accept from."""

    via = "the kernel chooses among a socket for each node"

    def __init__(self, spec: Listener, loop: Loop, report: Report) -> None:
        super().__init__(spec, loop, report)
        self._slot_sockets: dict[int, socket.socket] = {}
        """The listening socket of each slot."""
        self._unavailable = UnavailableResponder(
            spec, loop, report, listening=self._listening_without_nodes
        )
        self._closing: dict[int, Timer] = {}
        """Slots whose node has died while no other was ready: when their socket is closed."""

    def _bind(self) -> socket.socket:
        return reserve(self.spec)

    def add_node(self, node: SocketNode) -> None:
        """Give *node*, which is ready, a socket to accept from; that of its slot, if there is one."""
        timer = self._closing.pop(node.slot, None)
        if timer is not None:
            timer.cancel()
        super().add_node(node)
        for slot in [*self._closing, *self._slot_sockets.keys() & {_NO_SLOT}]:
            self._rescue_clients(slot)

    def remove_node(self, node: SocketNode, *, dead: bool) -> None:
        """Tell *node* to stop accepting; forget it if it is dead."""
        member = self._members.get(node.name)
        was_ready = member is not None and member.ready
        if was_ready and not dead:
            self._close_slot(node.slot)  # first, so that the node finds every client in its queue
        super().remove_node(node, dead=dead)
        if not (was_ready and dead and node.slot in self._slot_sockets):
            return
        if self._ready:
            self._rescue_clients(node.slot)
        else:
            self._closing[node.slot] = self._loop.call_later(_HELD, self._close_slot, node.slot)

    def open(self) -> None:
        """Bind the address; see `BoundRouter`."""
        super().open()
        self._members_changed()

    def _members_changed(self) -> None:
        if self._socket is not None:
            self._unavailable.set_ready(bool(self._ready))

    def _listening_without_nodes(self) -> socket.socket | None:
        """Return the socket of clients that come while there is no node."""
        if self._socket is None:
            return None
        for slot in list(self._slot_sockets):
            self._close_slot(slot)
        made = self._slot_sockets[_NO_SLOT] = listen_shared(self._socket, self.spec.backlog)
        return made

    def stop_listening(self) -> None:
        """Stop accepting on every node, and release the address."""
        self._unavailable.close()
        for slot in list(self._slot_sockets):
            self._close_slot(slot)
        super().stop_listening()

    def _attach(self, member: SocketMember) -> None:
        if self._socket is None:
            return
        node = member.node
        if node.slot not in self._slot_sockets:
            self._slot_sockets[node.slot] = listen_shared(self._socket, self.spec.backlog)
        listening = self._slot_sockets[node.slot]
        limit = self.spec.limit(node.slot)
        node.attach_socket(self.spec.name, limit, (os.dup(listening.fileno()),))

    def _rescue_clients(self, slot: int) -> None:
        """Accept the clients that wait at a slot whose node has died, and send them to the others."""
        refuse_new(self._slot_sockets[slot], self.spec)
        for member in cycle(self._ready):
            try:
                sock, _ = self._slot_sockets[slot].accept()
            except OSError:  # nobody waits any more
                break
            try:
                member.node.send_connection(sock.detach(), self.spec.name)
            except Exception as error:  # noqa: BLE001 - one broken node must not stop the others
                self._report(HandOverFailed(self.spec.name, member.node.name, error))
        self._close_slot(slot)

    def _close_slot(self, slot: int) -> None:
        timer = self._closing.pop(slot, None)
        if timer is not None:
            timer.cancel()
        listening = self._slot_sockets.pop(slot, None)
        if listening is not None:
            refuse_new(listening, self.spec)
            listening.close()

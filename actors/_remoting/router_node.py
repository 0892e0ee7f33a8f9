"""One run of a node, as the router of a listener sees it: each method is one message on a link to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from actors._remoting import listener_operations as ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._remoting.link import Link
    from actors.routing import HandedOver

__all__ = ["LinkedRouterNode"]


class LinkedRouterNode:
    """A `RouterNode` and a `SocketNode`.

    Args:
        name: the address of the run.
        slot: of its node.
        link: to it, over which descriptors can go.
    """

    def __init__(self, name: str, slot: int, link: Link) -> None:
        self.name = name
        self.slot = slot
        self._link = link

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        """Send connections to the node; the router keeps its own copies until they are acknowledged."""
        numbers = [one.number for one in handed]
        fds = tuple([one.fd for one in handed])
        self._link.lend_fds(ops.connections, fds, listener, numbers)

    def attach_socket(
        self, listener: str, limit: int | None, fds: tuple[int, ...], seat: int | None = None
    ) -> None:
        """Send the node the socket it takes its work from."""
        self._link.note_fds(ops.attach_socket, fds, listener, limit, seat)

    def add_bells(self, listener: str, seats: list[int], fds: tuple[int, ...]) -> None:
        """Send the node what wakes others when it is their turn to accept."""
        self._link.note_fds(ops.add_bells, fds, listener, seats)

    def send_connection(self, fd: int, listener: str) -> None:
        """Send the node a client of a dead node; the number 0 says that the router keeps no record."""
        self._link.note_fds(ops.connections, (fd,), listener, [0])

    def detach_socket(self, listener: str) -> None:
        """Have the node take no new work from its socket."""
        self._link.note(ops.detach_socket, listener)

    def send_slots(self, listener: str, live: list[int], every: list[int]) -> None:
        """Tell the node which slots share the listener now."""
        self._link.note(ops.listener_slots, listener, self.slot, live, every)

    def send_bindings(self, listener: str, fd: int) -> None:
        """Have the node read which slot has which sticky key."""
        self._link.note_fds(ops.attach_bindings, (os.dup(fd),), listener)

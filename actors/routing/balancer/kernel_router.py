"""The parent's side of `ReusePort` and `SharedListener`: it keeps the address, the nodes accept.

Rule 1: the address stays taken as long as this is open, whatever becomes of the nodes.
Rule 2: nothing is accepted here. What is served is known by what the nodes tell.
Rule 3: a slot's own socket outlives the process that accepts from it: whoever takes over finds those
who wait. Who waits at a node that has died is given to the others, if there are any.
"""

from __future__ import annotations

import os
import socket
from itertools import cycle
from typing import Final

from actors.routing.balancer.kernel_members import KernelMember, KernelMembers
from actors.routing.balancer.router import NodeStats, RouterStats
from actors.routing.events import HandOverFailed, Listening
from actors.routing.interfaces import KernelNode, Report, RouterLoop, RouterTimer
from actors.routing.listen.bind import bind, describe, release, reserve, sibling, where_of
from actors.routing.listen.listener import Listener
from actors.routing.policy.kernel import ReusePort

__all__ = ["KernelRouter", "stats_of"]

_HELD: Final = 2.0
"""Seconds that clients wait where the last node has died; restarting one takes less."""


class KernelRouter:
    """Gives every node of one listener a socket to accept from. See `Router` for what each promises.

    Args:
        spec: the listener; its policy is a `ByKernel`.
        loop: the parent's event loop; every method is called on it.
        report: takes facts (`_events`); must not raise.
    """

    def __init__(self, spec: Listener, loop: RouterLoop, report: Report) -> None:
        self._spec = spec
        self._loop = loop
        self._report = report
        self._socket: socket.socket | None = None
        self._alone = isinstance(spec.policy, ReusePort)
        self._own: dict[int, socket.socket] = {}
        """The socket of each slot, where each has one."""
        self._closing: dict[int, RouterTimer] = {}
        self._address = ""
        self._seats = KernelMembers(
            loop,
            listener=spec.name,
            report=report,
            give=self._give,
            taken=lambda _sitter: None,
            changed=lambda: None,
        )

    @property
    def spec(self) -> Listener:
        """The listener as described."""
        return self._spec

    @property
    def address(self) -> str:
        """The real address once open; empty before."""
        return self._address

    @property
    def port(self) -> int:
        """The real TCP port once open; 0 for Unix sockets."""
        taken = self._socket
        if taken is None or taken.family == socket.AF_UNIX:
            return 0
        port: int = taken.getsockname()[1]
        return port

    def open(self) -> None:
        """Take the address; clients are let in as soon as a node has joined.

        Raises:
            ListenFailed: the address cannot be had. Nothing is left behind; try again at will.
        """
        if self._socket is not None:
            return
        spec = self._spec
        self._socket = reserve(spec) if self._alone else bind(spec)
        self._address = describe(self._socket)
        beyond = where_of(self._socket).beyond_loopback
        self._report(
            Listening(
                spec.name,
                self._address,
                spec.policy,
                spec.nodes,
                beyond,
                tls=spec.tls is not None,
            )
        )

    def joined(self, seat: KernelNode) -> None:
        """Give *seat*, which is ready, a socket to accept from; that of its slot, if there is one."""
        timer = self._closing.pop(seat.slot, None)
        if timer is not None:
            timer.cancel()
        self._seats.joined(seat)
        for slot in list(self._closing):
            self._pass_on(slot)

    def left(self, seat: KernelNode, *, dead: bool) -> None:
        """Tell *seat* to accept no more; forget it if it is dead."""
        had = any(sitter.seat.name == seat.name for sitter in self._seats.ready)
        if had and not dead:
            self._close_own(seat.slot)  # first: the node then takes the last of those who wait
        self._seats.left(seat.name, dead=dead)
        if not (had and dead and seat.slot in self._own):
            return
        if self._seats.ready:
            self._pass_on(seat.slot)
        else:
            self._closing[seat.slot] = self._loop.call_later(_HELD, self._close_own, seat.slot)

    def counted(self, name: str, open_: int, total: int) -> None:
        """Note how many connections a node serves, and how many it ever served."""
        self._seats.counted(name, open_, total)

    def told(self, name: str, *_: object) -> None:
        """Note nothing: node *name* has closed what it was given and has no room for."""

    def stop_listening(self) -> None:
        """Have no node accept any more, and give the address back."""
        for slot in list(self._own):
            self._close_own(slot)
        self._seats.unseat()
        taken, self._socket = self._socket, None
        if taken is not None:
            release(taken, self._spec)

    def close(self) -> None:
        """Give the address back; what nodes serve is theirs."""
        self.stop_listening()
        self._seats.close()

    def snapshot(self) -> RouterStats:
        """Describe this at the moment; what nodes serve was told up to a tenth of a second ago."""
        return stats_of(self._spec.name, self._address, self._seats, open_=self._socket is not None)

    def _give(self, sitter: KernelMember) -> None:
        taken, seat = self._socket, sitter.seat
        if taken is None:
            return
        source = self._own_of(seat.slot, taken) if self._alone else taken
        seat.seat(self._spec.name, self._spec.limit(seat.slot), (os.dup(source.fileno()),))

    def _own_of(self, slot: int, taken: socket.socket) -> socket.socket:
        own = self._own.get(slot)
        if own is None:
            own = self._own[slot] = sibling(taken, self._spec.backlog)
        return own

    def _pass_on(self, slot: int) -> None:
        """Have the other nodes serve who waits at a slot whose node has died."""
        for sitter in cycle(self._seats.ready):
            try:
                sock, _ = self._own[slot].accept()
            except OSError:  # that was the last
                break
            try:
                sitter.seat.give(sock.detach(), self._spec.name)
            except Exception as error:  # noqa: BLE001 - whatever ails one node, others serve
                self._report(HandOverFailed(self._spec.name, sitter.seat.name, error))
        self._close_own(slot)

    def _close_own(self, slot: int) -> None:
        timer = self._closing.pop(slot, None)
        if timer is not None:
            timer.cancel()
        own = self._own.pop(slot, None)
        if own is not None:
            own.close()


def stats_of(listener: str, address: str, seats: KernelMembers, *, open_: bool) -> RouterStats:
    """Describe nodes that get their work themselves."""
    sitters = seats.sitters
    return RouterStats(
        listener=listener,
        address=address,
        accepting=open_ and any(sitter.ready for sitter in sitters),
        accepted=sum(sitter.total for sitter in sitters),
        pending=0,
        peeking=0,
        places=tuple(
            NodeStats(
                name=sitter.seat.name,
                slot=sitter.seat.slot,
                open=sitter.open,
                unacknowledged=0,
                queued=0,
                total=sitter.total,
                ready=sitter.ready,
                suspect=False,
            )
            for sitter in sitters
        ),
    )

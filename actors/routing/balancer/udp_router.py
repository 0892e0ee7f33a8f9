"""The parent's side of a UDP listener: it reads each datagram and passes it to its sender's node.

Rule 1: a sender's node is chosen as `Sticky` does: by rendezvous hashing over stable slots.
Rule 2: nothing waits here. What a node has no room for is dropped and counted, as the network does.
Rule 3: without a ready node nothing is read; the kernel's buffer holds what fits.

The hop costs 6 us of the parent's CPU for a datagram of 60 bytes. A socket with SO_REUSEPORT for each node
would save it, but the kernel's choice among those has no stable slots: when one goes, another takes its
number.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Final

from actors.routing.balancer.kernel_members import KernelMember, KernelMembers
from actors.routing.balancer.kernel_router import stats_of
from actors.routing.balancer.router import RouterStats
from actors.routing.events import Listening, PolicyFailed
from actors.routing.interfaces import KernelNode, Report, RouterLoop
from actors.routing.listen.bind import bind, describe, where_of
from actors.routing.listen.listener import Listener
from actors.routing.listen.pktinfo import SPACE, asked, local_of
from actors.routing.policy.policy import Snapshot, key_of
from actors.routing.sticky.datagram_source import LARGEST, Sender, pack
from actors.routing.sticky.keys import Peeked

__all__ = ["DatagramRouter"]

_TURN: Final = 64
"""Datagrams read in one turn of the loop."""
_BUFFER: Final = 1024 * 1024
"""Bytes asked for where datagrams wait; the kernel gives at most net.core.[rw]mem_max of it."""
_REMEMBERED: Final = 16_384
"""Senders whose node is remembered."""


class DatagramRouter:
    """Shares out the datagrams of one UDP listener. See `Router` for what each method promises.

    Args:
        spec: the listener.
        loop: the parent's event loop; every method is called on it.
        report: takes facts (`_events`); must not raise.
    """

    def __init__(self, spec: Listener, loop: RouterLoop, report: Report) -> None:
        self._spec = spec
        self._key = key_of(spec.policy)
        self._loop = loop
        self._report = report
        self._socket: socket.socket | None = None
        self._address = ""
        self._everywhere = False
        self._watching = False
        self._failed = False
        self._pipes: dict[KernelMember, socket.socket] = {}
        self._homes: dict[Sender, KernelMember] = {}
        self._received = 0
        self.dropped = 0
        """Datagrams that found no node, or no room on theirs."""
        self._seats = KernelMembers(
            loop,
            listener=spec.name,
            report=report,
            give=self._give,
            taken=self._take_back,
            changed=self._changed,
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
        """The real UDP port once open; 0 before."""
        port: int = 0 if self._socket is None else self._socket.getsockname()[1]
        return port

    def open(self) -> None:
        """Take the address; datagrams are read as soon as a node has joined.

        Raises:
            ListenFailed: the address cannot be had. Nothing is left behind; try again at will.
        """
        if self._socket is not None:
            return
        spec = self._spec
        self._socket = bind(spec)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._everywhere = asked(self._socket)
        self._address = describe(self._socket)
        beyond = where_of(self._socket).beyond_loopback
        self._report(Listening(spec.name, self._address, spec.policy, spec.nodes, beyond))

    def joined(self, seat: KernelNode) -> None:
        """Pass datagrams to *seat*, which is ready."""
        self._seats.joined(seat)

    def left(self, seat: KernelNode, *, dead: bool) -> None:
        """Pass no more datagrams to *seat*; forget it if it is dead."""
        self._seats.left(seat.name, dead=dead)

    def counted(self, name: str, open_: int, total: int) -> None:
        """Note how many datagrams a node is handling, and how many it ever handled."""
        self._seats.counted(name, open_, total)

    def stop_listening(self) -> None:
        """Give the address back; what was passed on is still handled and answered."""
        self._seats.unseat()
        taken, self._socket = self._socket, None
        if taken is not None:
            taken.close()

    def close(self) -> None:
        """Give the address back; what nodes have is theirs."""
        self.stop_listening()
        self._seats.close()

    def snapshot(self) -> RouterStats:
        """Describe this at the moment; what nodes handle was told up to a tenth of a second ago."""
        stats = stats_of(
            self._spec.name, self._address, self._seats, open_=self._socket is not None
        )
        return replace(stats, accepted=self._received, dropped=self.dropped)

    def _give(self, sitter: KernelMember) -> None:
        if self._socket is None or not sitter.ready:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            answers = os.dup(self._socket.fileno())
            sitter.seat.seat(self._spec.name, None, (theirs.detach(), answers))
        except BaseException:
            ours.close()
            theirs.close()
            raise
        self._pipes[sitter] = ours
        self._changed()

    def _take_back(self, sitter: KernelMember) -> None:
        pipe = self._pipes.pop(sitter, None)
        if pipe is not None:
            pipe.close()

    def _changed(self) -> None:
        """Other nodes are there: senders find theirs anew, and reading stops without any."""
        self._homes.clear()
        watch = bool(self._pipes) and self._socket is not None
        if self._socket is None or watch == self._watching:
            return
        self._watching = watch
        if watch:
            self._loop.watch_readable(self._socket.fileno(), self._readable)
        else:
            self._loop.unwatch_readable(self._socket.fileno())

    def _readable(self) -> None:
        for _ in range(_TURN):
            if self._socket is None or not self._watching:
                return
            local = b""
            try:
                if self._everywhere:
                    data, said, _, sender = self._socket.recvmsg(LARGEST, SPACE)
                    local = local_of(said)
                else:
                    data, sender = self._socket.recvfrom(LARGEST)
            except OSError:  # nothing left, or no memory for it: the next wake-up tries again
                return
            self._received += 1
            self._pass_on(data, sender, local)

    def _pass_on(self, data: bytes, sender: Sender, local: bytes) -> None:
        sitter = self._homes.get(sender) or self._choose(data, sender)
        pipe = None if sitter is None else self._pipes.get(sitter)
        if pipe is None:
            self.dropped += 1
            return
        try:
            pipe.sendmsg((pack(sender, local), data))
        except OSError:  # no room there, or the node has just ended
            self.dropped += 1

    def _choose(self, data: bytes, sender: Sender) -> KernelMember | None:
        able = {sitter.seat.name: sitter for sitter in self._seats.ready if sitter in self._pipes}
        nodes = [
            Snapshot(name, sitter.seat.slot, 0, 0, True, False, None)
            for name, sitter in able.items()
        ]
        chosen = self._spec.policy.choose(nodes, self._key_of(data, sender))
        if chosen is None:
            return None
        home = able[chosen.name]
        if self._key is None or not self._key.needs_head:
            if len(self._homes) >= _REMEMBERED:
                self._homes.clear()
            self._homes[sender] = home
        return home

    def _key_of(self, data: bytes, sender: Sender) -> bytes | None:
        try:
            found = self._key and self._key.extract(Peeked(data, sender, complete=True))
        except Exception as error:  # noqa: BLE001 - a user's key must not stop the router
            if not self._failed:
                self._failed = True
                self._report(PolicyFailed(self._spec.name, error))
            return None
        return found if isinstance(found, bytes) else None

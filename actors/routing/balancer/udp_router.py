"""The parent's side of a UDP listener: it reads each datagram and passes it to its sender's node.

Rule 1: a sender's node is chosen as `Sticky` does: by rendezvous hashing over stable slots.
Rule 2: nothing is queued here. A datagram that its node has no room for is dropped and counted.
Rule 3: without a ready node nothing is read; the kernel's buffer holds what fits.

The hop costs 6 us of the parent's CPU for a datagram of 60 bytes. A socket with SO_REUSEPORT for each
node would save it, but the kernel has no stable slots: when one of those sockets is closed, another
takes its number.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Final

from actors._base.loop import Loop
from actors.routing.balancer.bound_router import RouterStats
from actors.routing.balancer.socket_router import SocketMember, SocketRouter
from actors.routing.events import PolicyFailed
from actors.routing.interfaces import Report
from actors.routing.listen.bind import bind
from actors.routing.listen.listener import Listener
from actors.routing.listen.pktinfo import ANCILLARY_BYTES, local_of, request_local_address
from actors.routing.policy.policy import Snapshot, key_of
from actors.routing.sticky.datagram_source import LARGEST, Sender, pack
from actors.routing.sticky.keys import Peeked

__all__ = ["DatagramRouter"]

_BATCH: Final = 64
"""Datagrams read in one callback of the loop."""
_BUFFER: Final = 1024 * 1024
"""Bytes requested for socket buffers; the kernel gives at most net.core.[rw]mem_max of it."""
_REMEMBERED: Final = 16_384
"""Senders whose node is remembered."""


class DatagramRouter(SocketRouter):
    """Distributes the datagrams of one UDP listener over its nodes."""

    def __init__(self, spec: Listener, loop: Loop, report: Report) -> None:
        super().__init__(spec, loop, report)
        self._key = key_of(spec.policy)
        self._wants_local = False
        """Whether the kernel says of each datagram which of our addresses it was sent to."""
        self._watching = False
        self._key_failed = False
        self._pipes: dict[SocketMember, socket.socket] = {}
        self._member_of: dict[Sender, SocketMember] = {}
        self._received = 0
        self._dropped = 0

    def _bind(self) -> socket.socket:
        made = bind(self.spec)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._wants_local = request_local_address(made)
        return made

    def snapshot(self) -> RouterStats:
        """Describe the router; the nodes' counts are up to a tenth of a second old."""
        return replace(super().snapshot(), accepted=self._received, dropped=self._dropped)

    def _attach(self, member: SocketMember) -> None:
        if self._socket is None or not member.ready:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            replies = os.dup(self._socket.fileno())
            member.node.attach_socket(self.spec.name, None, (theirs.detach(), replies))
        except BaseException:
            ours.close()
            theirs.close()
            raise
        self._pipes[member] = ours
        self._members_changed()

    def _detached(self, member: SocketMember) -> None:
        pipe = self._pipes.pop(member, None)
        if pipe is not None:
            pipe.close()

    def _members_changed(self) -> None:
        """Choose the node of every sender anew; stop reading when no node is left."""
        self._member_of.clear()
        watch = bool(self._pipes)
        if self._socket is None or watch == self._watching:
            return
        self._watching = watch
        if watch:
            self._loop.watch_readable(self._socket.fileno(), self._readable)
        else:
            self._loop.unwatch_readable(self._socket.fileno())

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None or not self._watching:
                return
            local = b""
            try:
                if self._wants_local:
                    data, ancillary, _, sender = self._socket.recvmsg(LARGEST, ANCILLARY_BYTES)
                    local = local_of(ancillary)
                else:
                    data, sender = self._socket.recvfrom(LARGEST)
            except OSError:  # nothing left, or no memory for it: the next wake-up tries again
                return
            self._received += 1
            self._pass_on(data, sender, local)

    def _pass_on(self, data: bytes, sender: Sender, local: bytes) -> None:
        member = self._member_of.get(sender) or self._choose(data, sender)
        pipe = None if member is None else self._pipes.get(member)
        if pipe is None:
            self._dropped += 1
            return
        try:
            pipe.sendmsg((pack(sender, local), data))
        except OSError:  # its buffer is full, or the node has just ended
            self._dropped += 1

    def _choose(self, data: bytes, sender: Sender) -> SocketMember | None:
        able = {member.node.name: member for member in self._ready if member in self._pipes}
        nodes = [
            Snapshot(name, member.node.slot, 0, 0, True, False, None)
            for name, member in able.items()
        ]
        chosen = self.spec.policy.choose(nodes, self._key_of(data, sender))
        if chosen is None:
            return None
        member = able[chosen.name]
        if self._key is None or not self._key.needs_head:
            if len(self._member_of) >= _REMEMBERED:
                self._member_of.clear()
            self._member_of[sender] = member
        return member

    def _key_of(self, data: bytes, sender: Sender) -> bytes | None:
        try:
            found = self._key and self._key.extract(Peeked(data, sender, complete=True))
        except Exception as error:  # noqa: BLE001 - a user's key must not stop the router
            if not self._key_failed:
                self._key_failed = True
                self._report(PolicyFailed(self.spec.name, error))
            return None
        return found if isinstance(found, bytes) else None

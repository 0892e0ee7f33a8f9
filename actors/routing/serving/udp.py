"""The node's side of a UDP listener: an ``async def handle(datagram, reply)`` for each datagram.

Rule 1: bounded: while `max_pending` handlers run, nothing more is read, and what then fills the
kernel's buffer is dropped by the parent, and counted.
Rule 2: replies leave by the listener's own socket, from the address and port that was asked.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import anyio

from actors._base.loop import Loop
from actors.routing.interfaces import Acks, Report
from actors.routing.listen.listener import Listener
from actors.routing.listen.pktinfo import send
from actors.routing.serving.handler_server import HandlerServer
from actors.routing.serving.self_accepting import OpenCounter
from actors.routing.sticky.client_address import plain_address
from actors.routing.sticky.datagram_source import LARGEST, Sender, unpack

__all__ = ["DatagramServer", "Reply"]

_BATCH: Final = 32
"""Datagrams read in one callback of the loop."""
_LARGEST_PACKET: Final = LARGEST + 64


class Reply:
    """Answers the sender of one datagram: ``await reply(data)``, as often as needed."""

    __slots__ = ("_local", "_sender", "_server", "client")

    def __init__(self, server: DatagramServer, client: Sender, local: bytes) -> None:
        self._server = server
        self._local = local
        self._sender = client
        self.client: Sender = plain_address(client)
        """The sender's address."""

    async def __call__(self, data: bytes) -> None:
        """Send *data* to the sender.

        Raises:
            OSError: it is too long for a datagram, or the sender cannot be reached.
        """
        await self._server.send(data, self._sender, self._local)


class DatagramServer(HandlerServer):
    """Runs a handler for each datagram."""

    signature = "async def handle(datagram, reply)"
    unit = "datagram"

    def __init__(
        self,
        spec: Listener,
        loop: Loop,
        acks: Acks,
        *,
        counted: Callable[[int, int], object],
        report: Report,
        resolve: Callable[[str], Any],
    ) -> None:
        super().__init__(spec, loop, report=report, resolve=resolve)
        self._acks = acks
        self._counter = OpenCounter(loop, counted)
        self._inbox: socket.socket | None = None
        self._replies: socket.socket | None = None
        self._watching = False
        self._writing: anyio.Lock | None = None

    def take(self, connection: int, sock: socket.socket, first: bytes = b"") -> None:  # noqa: ARG002 - the interface of a server
        """Refuse: there are no connections."""
        sock.close()
        self._acks.refused(connection)

    def attach_socket(self, limit: int | None, fds: Sequence[int], seat: int | None = None) -> None:  # noqa: ARG002 - limit and seat are for connections
        """Read datagrams from the first socket from now on, and reply by the second."""
        self.detach_socket()
        inbox, replies = (socket.socket(fileno=fd) for fd in fds)
        self._close_replies()
        inbox.setblocking(False)
        replies.setblocking(False)
        self._inbox = inbox
        self._replies = replies
        self._update_watch()

    def add_bells(self, seats: Sequence[int], bells: Sequence[int]) -> None:  # noqa: ARG002 - bells are for connections
        """Close them: a datagram is not waited for in turn."""
        for bell in bells:
            os.close(bell)

    def detach_socket(self) -> None:
        """Handle the datagrams passed on so far, and no new ones."""
        inbox = self._inbox
        if inbox is None:
            return
        while self._read(inbox):
            pass
        if self._watching:
            self._loop.unwatch_readable(inbox.fileno())
        self._watching = False
        self._inbox = None
        inbox.close()

    async def drain(self, seconds: float, patience: float = 0.0) -> None:
        """Take no new datagrams; after *seconds* cancel the handlers that have not ended."""
        self.detach_socket()
        await super().drain(seconds, patience)
        self._close_replies()  # an open copy of the listener's socket would keep the port bound

    async def stop(self) -> None:
        """Cancel every handler."""
        await super().stop()
        self._counter.close()

    async def send(self, data: bytes, client: Sender, local: bytes) -> None:
        """Send *data* to *client* from *local*; wait while the kernel has no room."""
        if self._replies is None:
            return
        try:
            send(self._replies, data, client, local)
        except BlockingIOError:
            await self._send_when_writable(data, client, local)

    async def _send_when_writable(self, data: bytes, client: Sender, local: bytes) -> None:
        if self._writing is None:
            self._writing = anyio.Lock()
        async with self._writing:  # only one task at a time may wait for a descriptor
            while self._replies is not None:
                await anyio.wait_writable(self._replies)
                try:
                    send(self._replies, data, client, local)
                except BlockingIOError:
                    continue
                return

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._inbox is None or not self._watching or not self._read(self._inbox):
                return

    def _read(self, inbox: socket.socket) -> bool:
        """Begin to handle one datagram; return whether there was one."""
        try:
            packet = inbox.recv(_LARGEST_PACKET)
        except OSError:  # nothing left, or the parent has closed its end
            return False
        self._counter.begin()
        data, client, local = unpack(packet)
        handle = partial(self._handler, data, Reply(self, client, local))
        self._spawn(self._counter.total, handle, self._ended)
        self._update_watch()
        return True

    def _ended(self) -> None:
        self._counter.end()
        self._update_watch()

    def _update_watch(self) -> None:
        """Read only while there is room for handlers."""
        watch = self._inbox is not None and self.open < self._spec.max_pending
        if self._inbox is None or watch == self._watching:
            return
        self._watching = watch
        if watch:
            self._loop.watch_readable(self._inbox.fileno(), self._readable)
        else:
            self._loop.unwatch_readable(self._inbox.fileno())

    def _close_replies(self) -> None:
        replies, self._replies = self._replies, None
        if replies is not None:
            replies.close()

"""The node's side of a UDP listener: an ``async def handle(datagram, reply)`` for each datagram.

Rule 1: one task for each datagram. What it raises ends that task and no other.
Rule 2: bounded: with `max_pending` handlers at work nothing more is read, and what then fills the
kernel's buffer is dropped by the parent, and counted.
Rule 3: answers leave by the listener's own socket, from the address and port that was asked.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, Final

import anyio

from actors.routing.errors import HandlerUnfit
from actors.routing.events import HandlerFailed
from actors.routing.interfaces import NodeLoop, Report
from actors.routing.listen.listener import Listener
from actors.routing.listen.pktinfo import send
from actors.routing.serving.self_accepting import OpenCounter
from actors.routing.sticky.datagram_source import LARGEST, Sender, unpack

__all__ = ["DatagramServer", "Reply"]

_TURN: Final = 32
_LONGEST: Final = LARGEST + 64


class Reply:
    """Answers the sender of one datagram: ``await reply(data)``, as often as needed."""

    __slots__ = ("_local", "_server", "client")

    def __init__(self, server: DatagramServer, client: Sender, local: bytes) -> None:
        self._server = server
        self._local = local
        self.client = client
        """The sender's address."""

    async def __call__(self, data: bytes) -> None:
        """Send *data* to the sender.

        Raises:
            OSError: it is too long for a datagram, or the sender cannot be reached.
        """
        await self._server.send(data, self.client, self._local)


class DatagramServer:
    """Runs a handler for each datagram. See `Server` for what each method promises."""

    def __init__(
        self,
        spec: Listener,
        loop: NodeLoop,
        *,
        refused: Callable[[int], object],
        counted: Callable[[int, int], object],
        report: Report,
        resolve: Callable[[str], Any],
    ) -> None:
        self._spec = spec
        self._loop = loop
        self._refused = refused
        self._report = report
        self._resolve = resolve
        self._counter = OpenCounter(loop, counted)
        self._handler: Any = None
        self._inbox: socket.socket | None = None
        self._answers: socket.socket | None = None
        self._watching = False
        self._aborting = False
        self._scopes: dict[int, anyio.CancelScope | None] = {}
        self._idle: anyio.Event | None = None
        self._writing: anyio.Lock | None = None

    @property
    def open(self) -> int:
        """Datagrams being handled."""
        return self._counter.open

    async def start(self) -> None:
        """Import the handler.

        Raises:
            HandlerNotFound: it cannot be imported.
            HandlerUnfit: it is not an async function.
        """
        handler = self._resolve(self._spec.path)
        called = handler if iscoroutinefunction(handler) else getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__ will do
        if not iscoroutinefunction(called):
            raise HandlerUnfit(
                self._spec.path, f"it must be async def handle(datagram, reply), got {handler!r}"
            )
        self._handler = handler

    def placed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Note nothing: a datagram is routed by itself."""

    def take(self, connection: int, sock: socket.socket) -> None:
        """Refuse: there are no connections."""
        sock.close()
        self._refused(connection)

    def seat(self, limit: int | None, *socks: socket.socket) -> None:  # noqa: ARG002 - as for connections
        """Handle what comes in by the first socket from now on, and answer by the second."""
        self.unseat()
        inbox, answers = socks
        self._close_answers()
        inbox.setblocking(False)
        answers.setblocking(False)
        self._inbox = inbox
        self._answers = answers
        self._obey()

    def unseat(self) -> None:
        """Handle what has been passed on so far, and nothing new."""
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

    async def drain(self, seconds: float, patience: float = 0.0) -> None:  # noqa: ARG002 - there are no connections
        """Take no more; after *seconds* cancel the handlers that have not ended."""
        self.unseat()
        with anyio.move_on_after(seconds):
            await self._wait_idle()
        self._aborting = True
        for scope in list(self._scopes.values()):
            if scope is not None:
                scope.cancel()
        await self._wait_idle()
        # Whoever has it keeps the port taken.
        self._close_answers()

    async def stop(self) -> None:
        """Cancel every handler."""
        await self.drain(0)
        self._counter.close()

    async def send(self, data: bytes, client: Sender, local: bytes) -> None:
        """Send *data* to *client* from *local*; wait while the kernel has no room."""
        if self._answers is None:
            return
        try:
            send(self._answers, data, client, local)
        except BlockingIOError:
            await self._send_later(data, client, local)

    async def _send_later(self, data: bytes, client: Sender, local: bytes) -> None:
        if self._writing is None:
            self._writing = anyio.Lock()
        async with self._writing:  # one at a time may wait for a descriptor
            while self._answers is not None:
                await anyio.wait_writable(self._answers)
                try:
                    send(self._answers, data, client, local)
                except BlockingIOError:
                    continue
                return

    def _readable(self) -> None:
        for _ in range(_TURN):
            if self._inbox is None or not self._watching or not self._read(self._inbox):
                return

    def _read(self, inbox: socket.socket) -> bool:
        """Begin to handle one datagram; return whether there was one."""
        try:
            packet = inbox.recv(_LONGEST)
        except OSError:  # nothing left, or the parent has closed its end
            return False
        self._counter.begin()
        number = self._counter.total
        self._scopes[number] = None
        data, client, local = unpack(packet)
        name = f"{self._spec.name} datagram {number}"
        self._loop.start(self._serve, number, data, Reply(self, client, local), name=name)
        self._obey()
        return True

    def _obey(self) -> None:
        """Read only while there is room for handlers."""
        watch = self._inbox is not None and self.open < self._spec.max_pending
        if self._inbox is None or watch == self._watching:
            return
        self._watching = watch
        if watch:
            self._loop.watch_readable(self._inbox.fileno(), self._readable)
        else:
            self._loop.unwatch_readable(self._inbox.fileno())

    async def _serve(self, number: int, data: bytes, reply: Reply) -> None:
        try:
            with anyio.CancelScope() as scope:
                self._scopes[number] = scope
                if not self._aborting:
                    await self._handler(data, reply)
        except Exception as error:  # noqa: BLE001 - reported; the others go on
            self._report(HandlerFailed(self._spec.name, number, error))
        finally:
            del self._scopes[number]
            self._counter.end()
            if not self._scopes and self._idle is not None:
                self._idle.set()
            self._obey()

    async def _wait_idle(self) -> None:
        while self._scopes:
            if self._idle is None or self._idle.is_set():
                self._idle = anyio.Event()
            await self._idle.wait()

    def _close_answers(self) -> None:
        answers, self._answers = self._answers, None
        if answers is not None:
            answers.close()

"""A listener at work: the router in the parent, its servers on the nodes, and what goes between them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import create_task_group

from supervisors import Exit
from transport import TransportError

from ._ending import Ending
from ._errors import ActorsError, BootFailed, NodeDown
from .routing import LeastConnections, Listener, Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._loop import Loop
    from .nodes import RemoteNode

__all__ = ["ListenerHome", "ListenerRun", "Listening"]

_DRAIN: Final = 5.0
"""Seconds that connections have to finish when a listener stops."""


class ListenerHome(Protocol):
    """The system, as its listeners see it."""

    @property
    def loop(self) -> Loop: ...
    def group(self, name: str) -> list[RemoteNode]: ...
    def report(self, record: Any) -> None: ...


class _Seat:
    """One run of a node, as the router sees it."""

    def __init__(self, node: RemoteNode) -> None:
        self.name = node.name
        self.slot = node.slot
        self._link = node.link

    def hand_over(self, connection: int, fd: int, listener: str, _client: object) -> None:
        """Send the connection to the node; the router keeps its own copy until it is acknowledged."""
        self._link.note("connection", listener, connection, fds=(os.dup(fd),))


class Listening:
    """One listener over all its restarts; knows which nodes have its server."""

    def __init__(self, home: ListenerHome, spec: Listener) -> None:
        self.home = home
        self.spec = spec
        self.router: Router | None = None
        self.active = False
        self._served: set[int] = set()
        self._seats: dict[str, _Seat] = {}

    def new_run(self) -> ListenerRun:
        """Make the next run, for the supervisor."""
        return ListenerRun(self)

    async def open(self) -> None:
        """Have every node of the group ready to serve, then open the port.

        Raises:
            ListenFailed: the address cannot be had.
            RoutingError: a node has no such handler; it names it.
        """
        self.active = True
        # Again until nobody got ready meanwhile; what boots from now on prepares itself.
        while bare := [node for node in self._group() if node.number not in self._served]:
            for node in bare:
                await self.prepare(node)
        self.router = Router(self.spec, self.home.loop, self.home.report)
        try:
            self.router.open()
        except BaseException:
            self.router = None
            raise
        for node in self._group():
            self.node_ready(node)

    def _group(self) -> list[RemoteNode]:
        return [node for node in self.home.group(self.spec.nodes) if node.ready]

    async def prepare(self, node: RemoteNode) -> None:
        """Have the server on *node*; part of its boot while the listener is open or opening."""
        number = node.number
        # The policy stays here: a user's own need not travel.
        try:
            await node.link.call("serve", replace(self.spec, policy=LeastConnections()))
        except NodeDown as error:
            why = f"node {node.name} ended while it imported {self.spec.path!r}"
            raise BootFailed(f"{why}: {node.last_end or error.why}") from error
        self._served.add(number)

    def node_ready(self, node: RemoteNode) -> None:
        """A node is ready; if it has the server, it gets connections."""
        if self.router is not None and node.ready and node.number in self._served:
            seat = self._seats[node.name] = _Seat(node)
            self.router.joined(seat)

    def node_draining(self, node: RemoteNode) -> None:
        """A node finishes what it has: it gets no more connections."""
        seat = self._seats.get(node.name)
        if self.router is not None and seat is not None:
            self.router.left(seat, dead=False)

    def node_ended(self, node: RemoteNode) -> None:
        """A node's process is gone."""
        seat = self._seats.pop(node.name, None)
        if self.router is not None and seat is not None:
            self.router.left(seat, dead=True)

    async def drain(self) -> None:
        """Take no more connections; let the nodes finish what they have; then close."""
        router = self.router
        if router is None:
            return
        router.stop_listening()
        for seat in self._seats.values():
            router.left(seat, dead=False)
        async with create_task_group() as tasks:
            for node in self._group():
                tasks.start_soon(self.drain_node, node, _DRAIN)
        self.close()

    async def drain_node(self, node: RemoteNode, seconds: float) -> None:
        """Return when *node* has finished its connections, or cut them off after *seconds*."""
        try:
            await node.link.call("drain", self.spec.name, seconds)
        except (ActorsError, TransportError):
            return  # the node is gone: so are its connections

    def close(self) -> None:
        """Close the port and all that no node has acknowledged."""
        router, self.router = self.router, None
        self.active = False
        self._seats.clear()
        if router is not None:
            router.close()


class ListenerRun:
    """One run of a listener, as a `supervisors.Child`."""

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self._loop = listening.home.loop
        self._ending = Ending(self._loop.waiter)
        self._stopping = False

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Open the listener; see `Listening.open`."""
        await self.listening.open()
        self._ending.told = ended

    async def wait(self) -> Exit:
        """Wait until it is closed."""
        return await self._ending.wait()

    def stop(self) -> None:
        """Drain, then close."""
        if not self._stopping:
            self._stopping = True
            self._loop.start(self._drain, name=f"drain {self.listening.spec.name}")

    async def _drain(self) -> None:
        try:
            await self.listening.drain()
        finally:
            self._finish(Exit.SHUTDOWN)

    def kill(self) -> None:
        """Close at once."""
        self.listening.close()
        self._finish(Exit.KILLED)

    def _finish(self, end: Exit) -> None:
        if self._ending.come(end):
            self._ending.tell()

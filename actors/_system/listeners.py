"""A listener at work: the router in the parent, its servers on the nodes, and what goes between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import create_task_group

from actors._base.completion import Completion
from actors._base.errors import ActorsError, BootFailed, NodeDown
from actors._remoting import operations as ops
from actors.routing import Listener, Sticky, new_router, told
from actors.supervisors import Exit
from actors.transport import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._base.loop import Loop
    from actors.nodes import RemoteNode, RemoteRun
    from actors.routing import AnyRouter, HandedOver

__all__ = ["ListenerController", "ListenerHost", "ListenerRun"]

_DRAIN: Final = 5.0
"""Seconds that connections have to finish when a listener stops."""


class ListenerHost(Protocol):
    """The system, as its listeners see it."""

    @property
    def loop(self) -> Loop: ...
    def group(self, name: str) -> list[RemoteNode]: ...
    def report(self, record: Any) -> None: ...


class _ListenerNode:
    """One run of a node, as the router sees it."""

    def __init__(self, run: RemoteRun) -> None:
        assert run.link is not None
        self.name = run.address
        self.slot = run.node.slot
        self._link = run.link

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        """Send connections to the node; the router keeps its own copies until they are acknowledged."""
        numbers = [one.number for one in handed]
        fds = tuple([one.fd for one in handed])
        self._link.lend_fds(ops.connections, fds, listener, numbers)

    def seat(self, listener: str, limit: int | None, fds: tuple[int, ...]) -> None:
        """Give the node a socket to get its work from."""
        self._link.note_fds(ops.attach_socket, fds, listener, limit)

    def give(self, fd: int, listener: str) -> None:
        """Send the node a connection that waited for another one; nobody hears what becomes of it."""
        self._link.note_fds(ops.connections, (fd,), listener, [0])

    def unseat(self, listener: str) -> None:
        """Have the node take on nothing new from that socket."""
        self._link.note(ops.detach_socket, listener)

    def tell_slots(self, listener: str, live: list[int], every: list[int]) -> None:
        """Tell the node which slots share the listener now, its own first."""
        self._link.note(ops.listener_slots, listener, self.slot, live, every)


class ListenerController:
    """One listener over all its restarts; knows which nodes have its server."""

    def __init__(self, home: ListenerHost, spec: Listener) -> None:
        self.home = home
        self.spec = spec
        self.router: AnyRouter | None = None
        self.active = False
        self._served: set[int] = set()
        self._seats: dict[str, _ListenerNode] = {}

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
        while bare := [run for run in self._group() if run.number not in self._served]:
            for run in bare:
                await self.prepare(run)
        self.router = new_router(self.spec, self.home.loop, self.home.report)
        try:
            self.router.open()
        except BaseException:
            self.router = None
            raise
        for run in self._group():
            self.node_ready(run)

    def _group(self) -> list[RemoteRun]:
        """Return what connections go to, of each node that takes any."""
        fronts = [node.front for node in self.home.group(self.spec.nodes)]
        return [run for run in fronts if run is not None]

    async def prepare(self, run: RemoteRun) -> None:
        """Have the server on *run*; part of its boot while the listener is open or opening."""
        assert run.link is not None
        # A node is told how keys are read; a user's own policy stays here and need not travel.
        try:
            spec = replace(self.spec, policy=told(self.spec.policy))
            await run.link.call(ops.serve_listener, spec)
        except NodeDown as error:
            why = f"node {run.node.name} ended while it imported {self.spec.path!r}"
            raise BootFailed(f"{why}: {run.last_end or error.why}") from error
        self._served.add(run.number)

    def node_ready(self, run: RemoteRun) -> None:
        """A node is ready; if it has the server, it gets connections, and one that it relieves no more."""
        if self.router is not None and run.number in self._served:
            seat = self._seats[run.address] = _ListenerNode(run)
            self._tell_slots(joining=seat)
            self.router.joined(seat)

    def node_draining(self, run: RemoteRun) -> None:
        """A node finishes what it has: it gets no more connections."""
        seat = self._seats.get(run.address)
        if self.router is not None and seat is not None:
            self.router.left(seat, dead=False)
            self._tell_slots()

    def node_ended(self, run: RemoteRun) -> None:
        """A node's process is gone."""
        self._served.discard(run.number)
        seat = self._seats.pop(run.address, None)
        if self.router is not None and seat is not None:
            self.router.left(seat, dead=True)
            self._tell_slots()

    def _tell_slots(self, joining: _ListenerNode | None = None) -> None:
        """Tell the nodes who shares the keys, if they have to know: requests that belong elsewhere."""
        if self.router is None or type(self.spec.policy) is not Sticky:
            return
        live = {place.slot for place in self.router.snapshot().places if place.ready}
        seats = list(self._seats.values())
        if joining is not None:
            live.add(joining.slot)
        every = live | {node.slot for node in self.home.group(self.spec.nodes)}
        for seat in seats:
            seat.tell_slots(self.spec.name, sorted(live), sorted(every))

    async def drain(self) -> None:
        """Take no more connections; let the nodes finish what they have; then close."""
        router = self.router
        if router is None:
            return
        router.stop_listening()
        for seat in self._seats.values():
            router.left(seat, dead=False)
        async with create_task_group() as tasks:
            for run in self._group():
                tasks.start_soon(self.drain_run, run, _DRAIN)
        self.close()

    async def drain_run(self, run: RemoteRun, seconds: float) -> None:
        """Return when *run* has finished its connections, or cut them off after *seconds*."""
        if run.link is None:
            return
        try:
            await run.link.call(ops.drain_listener, self.spec.name, seconds)
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

    def __init__(self, listening: ListenerController) -> None:
        self.listening = listening
        self._loop = listening.home.loop
        self._ending = Completion(self._loop.waiter)
        self._stopping = False

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Open the listener; see `ListenerController.open`."""
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

"""The servers of a node's listeners: started, given connections and drained as the parent asks."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final

from anyio import create_task_group

from actors._remoting import listener_operations as ops
from actors._system.link_binder import LinkBinder
from actors.routing import (
    AckBatcher,
    LearningServer,
    NotSticky,
    RoutingError,
    ShutdownFailed,
    SocketServer,
    import_handler,
    nearly_full,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._base.loop import Timer
    from actors._messaging.context_propagation import Propagation
    from actors.nodes import Link, NodeProcess
    from actors.routing import Listener, Server

__all__ = ["NodeServers"]

_LOOK: Final = 0.25
"""Seconds between two looks at how much has been served, if that is limited."""
_PATIENCE: Final = 0.75
"""The part of the time to drain in which clients end connections themselves."""


class NodeServers:
    """Has one server for each listener that this node serves."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._servers: dict[str, Server] = {}
        self._acks: dict[str, AckBatcher] = {}
        self._binders: dict[str, LinkBinder] = {}
        self._slots: tuple[int, Sequence[int]] | None = None
        """This node's slot, and those of its group, once it serves a sticky listener."""
        self._look: Timer | None = None
        if node.config["max_requests"] is not None:
            self._count_served(node.config["max_requests"])
        node.server_figures = self._figures
        handlers = node.host.handlers
        handlers.on_call(ops.serve_listener, self._serve)
        handlers.on_call(ops.drain_listener, self._drain)
        handlers.on_call(ops.stop_server, self._stop_server)
        handlers.on_fd_note(ops.connections, self._take_connections, lost=_refuse_connections)
        handlers.on_fd_note(ops.attach_socket, self._attach_socket, lost=_socket_lost)
        handlers.on_fd_note(ops.add_bells, self._add_bells, lost=lambda *_: None)
        handlers.on_note(ops.detach_socket, self._detach_socket)
        handlers.on_note(ops.listener_slots, self._set_slots)
        handlers.on_note(ops.keys_bound, self._keys_bound)
        # Without it the node judges by the hash alone.
        handlers.on_fd_note(ops.attach_bindings, self._attach_bindings, lost=lambda *_: None)

    async def _serve(self, _link: Link, spec: Listener) -> None:
        name, host, link = spec.name, self._node.host, self._node.router_link
        acks = AckBatcher(
            host.loop,
            lambda taken, refused, closed: link.note(
                ops.connection_results, name, taken, refused, closed
            ),
        )
        binder = LinkBinder(link, host.loop, name)
        server = serve(
            spec,
            host.loop,
            acks,
            counted=lambda open_, total: link.note(ops.connection_counts, name, open_, total),
            report=host.report,
            system=host.system,
            resolve=import_handler,
            binder=binder,
            middleware=_middleware(host.propagation),
        )
        with self._node.heartbeat.paused():
            await server.start()
        self._servers[name] = server
        self._acks[name] = acks
        self._binders[name] = binder

    def _count_served(self, limit: int) -> None:
        """Tell the parent when this node has served *limit* requests; again and again, until it leaves."""
        served = sum(server.served for server in self._servers.values())
        if served >= limit:
            self._node.parent.note(ops.served_enough, served)
        self._look = self._node.host.loop.call_later(_LOOK, self._count_served, limit)

    def _figures(self, seconds: float) -> dict[str, list[Any]]:
        """Return of each listener how many requests there were and how long they took (`Histogram.raw`).

        For *seconds* more it is measured how long they take.
        """
        return {
            name: [server.served, server.times.look(seconds)]
            for name, server in self._servers.items()
        }

    async def _drain(self, _link: Link, listener: str, seconds: float) -> None:
        server = self._servers.get(listener)
        if server is not None:
            await server.drain(seconds)

    async def _stop_server(self, _link: Link, listener: str) -> None:
        server = self._servers.pop(listener, None)
        self._acks.pop(listener, None)
        self._binders.pop(listener, None)
        if server is not None:
            await self._stop_one(listener, server)

    async def _stop_one(self, listener: str, server: Server) -> None:
        try:
            await server.stop()
        except RoutingError as error:
            self._node.host.report(ShutdownFailed(listener, error))

    def _take_connections(
        self, link: Link, fds: list[int], listener: str, numbers: list[int]
    ) -> None:
        socks = [socket.socket(fileno=fd) for fd in fds]
        server = self._servers.get(listener)
        if server is None:
            for sock in socks:
                sock.close()
            _refuse_connections(link, listener, numbers)
            return
        with self._acks[listener].batch() as acks:
            for number, sock in zip(numbers, socks, strict=True):
                if nearly_full(sock.fileno()):
                    sock.close()
                    acks.refused(number)
                else:
                    server.take(number, sock)

    def _attach_socket(
        self, _link: Link, fds: list[int], listener: str, limit: int | None, seat: int | None
    ) -> None:
        server = self._servers.get(listener)
        if isinstance(server, SocketServer):
            server.attach_socket(limit, fds, seat)
        else:
            _close_all(fds)

    def _add_bells(self, _link: Link, fds: list[int], listener: str, seats: list[int]) -> None:
        server = self._servers.get(listener)
        if isinstance(server, SocketServer):
            server.add_bells(seats, fds)
        else:
            _close_all(fds)

    def _detach_socket(self, _link: Link, listener: str) -> None:
        server = self._servers.get(listener)
        if isinstance(server, SocketServer):
            server.detach_socket()

    def _set_slots(
        self, _link: Link, listener: str, slot: int, live: list[int], every: list[int]
    ) -> None:
        server = self._servers.get(listener)
        if server is not None:
            self._slots = slot, every
            server.slots_changed(slot, live, every)

    def _keys_bound(self, _link: Link, listener: str, number: int) -> None:
        binder = self._binders.get(listener)
        if binder is not None:
            binder.bound(number)

    def sticky_slots(self) -> tuple[int, Sequence[int]]:
        """Return this node's slot, and all slots that share keys with it.

        Raises:
            NotSticky: this node serves no sticky listener, or does not serve yet.
        """
        if self._slots is None:
            name = self._node.local.name
            raise NotSticky(f"{name} has no such listener, or does not take connections yet")
        return self._slots

    def _attach_bindings(self, _link: Link, fds: list[int], listener: str) -> None:
        server = self._servers.get(listener)
        if isinstance(server, LearningServer):
            server.attach_bindings(*fds)
        else:
            for fd in fds:
                os.close(fd)

    def detach_sockets(self) -> None:
        """Close all listening sockets, in which clients would wait in vain for a node that ends."""
        if self._look is not None:
            self._look.cancel()
        for server in self._servers.values():
            if isinstance(server, SocketServer):
                server.detach_socket()

    async def drain(self, seconds: float) -> None:
        """Finish the connections of all servers together, within *seconds*."""
        async with create_task_group() as tasks:
            for server in self._servers.values():
                tasks.start_soon(server.drain, seconds, _PATIENCE * seconds)

    async def stop(self, seconds: float) -> None:
        """Drain and stop one server after another, each within *seconds*, whatever one of them raises."""
        for name, server in self._servers.items():
            await server.drain(seconds)
            await self._stop_one(name, server)


def _refuse_connections(link: Link, listener: str, numbers: list[int]) -> None:
    """Have the router give the connections to another node."""
    link.note(ops.connection_results, listener, [], numbers, [])


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _socket_lost(link: Link, listener: str, _limit: int | None, _seat: int | None) -> None:
    """Have the router send the socket again: this process had no descriptor free for it."""
    link.note(ops.socket_lost, listener)


def _middleware(propagation: Propagation | None) -> Callable[[Any], Any] | None:
    """Return what wraps ASGI applications: in a system with `tracing=True` each request has a span."""
    if propagation is None or propagation.trace is None:
        return None
    from actors._system.traced_app import TracedApp  # noqa: PLC0415 - OpenTelemetry is optional

    return TracedApp

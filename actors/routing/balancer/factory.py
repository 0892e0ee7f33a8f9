"""Which router a listener gets."""

from __future__ import annotations

from typing import TypeAlias

from actors._base.loop import Loop
from actors.routing.balancer.accept_router import AcceptRouter
from actors.routing.balancer.reuse_port_router import ReusePortRouter
from actors.routing.balancer.router import Router
from actors.routing.balancer.udp_router import DatagramRouter
from actors.routing.interfaces import Report
from actors.routing.listen.address import Udp
from actors.routing.listen.listener import Listener
from actors.routing.policy.reuse_port import ReusePort
from actors.routing.policy.turn import accepts_in_nodes

__all__ = ["AnyRouter", "new_router"]

AnyRouter: TypeAlias = Router | AcceptRouter | ReusePortRouter | DatagramRouter


def new_router(spec: Listener, loop: Loop, report: Report) -> AnyRouter:
    """Make the router of *spec*; nothing is bound before its `open`."""
    if isinstance(spec.where, Udp):
        return DatagramRouter(spec, loop, report)
    if isinstance(spec.policy, ReusePort):
        return ReusePortRouter(spec, loop, report)
    if accepts_in_nodes(spec.policy):
        return AcceptRouter(spec, loop, report)
    return Router(spec, loop, report)

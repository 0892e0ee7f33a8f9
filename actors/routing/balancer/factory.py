"""Which router a listener gets."""

from __future__ import annotations

from typing import TypeAlias

from actors._base.loop import Loop
from actors.routing.balancer.kernel_router import KernelRouter
from actors.routing.balancer.router import Router
from actors.routing.balancer.udp_router import DatagramRouter
from actors.routing.interfaces import Report
from actors.routing.listen.address import Udp
from actors.routing.listen.listener import Listener
from actors.routing.policy.kernel import ByKernel

__all__ = ["AnyRouter", "new_router"]

AnyRouter: TypeAlias = Router | KernelRouter | DatagramRouter


def new_router(spec: Listener, loop: Loop, report: Report) -> AnyRouter:
    """Make the router of *spec*; nothing is bound before its `open`."""
    if isinstance(spec.where, Udp):
        return DatagramRouter(spec, loop, report)
    if isinstance(spec.policy, ByKernel):
        return KernelRouter(spec, loop, report)
    return Router(spec, loop, report)

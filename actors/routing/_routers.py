"""Which router a listener gets.

Rule 1: a choice and no more; all three can be asked for the same.
"""

from __future__ import annotations

from typing import TypeAlias

from ._address import Udp
from ._kernel import ByKernel
from ._listener import Listener
from ._protocols import Loop, Report
from ._router import Router
from ._shared import KernelRouter
from ._udp import DatagramRouter

__all__ = ["AnyRouter", "new_router"]

AnyRouter: TypeAlias = Router | KernelRouter | DatagramRouter


def new_router(spec: Listener, loop: Loop, report: Report) -> AnyRouter:
    """Make the router of *spec*; nothing is bound before its `open`."""
    if isinstance(spec.where, Udp):
        return DatagramRouter(spec, loop, report)
    if isinstance(spec.policy, ByKernel):
        return KernelRouter(spec, loop, report)
    return Router(spec, loop, report)

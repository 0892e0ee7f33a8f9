"""Listeners on sockets that this process has inherited under their names, as systemd passes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from actors._system.topology import Topology

__all__ = ["on_inherited_sockets"]


def on_inherited_sockets(topology: Topology, names: Collection[str]) -> Topology:
    """Return *topology* with each listener whose name is one of *names* on the socket of that name.

    Raises:
        InvalidSpec: a listener cannot be on such a socket.
    """
    if not any(listener.name in names for listener in topology.listeners):
        return topology
    listeners = [
        replace(listener, address=f"fd://{listener.name}", uds_permissions=None)
        if listener.name in names
        else listener
        for listener in topology.listeners
    ]
    return replace(topology, listeners=listeners)

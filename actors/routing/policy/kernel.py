"""Policies that leave the choice to the kernel: every node accepts its own connections.

Rule 1: data only; who makes the sockets and who accepts is `_shared` and `_own`.
Rule 2: each states its price, in figures that were measured: 4 process nodes on 2 CPUs that had other
work too, Linux 6.18, loopback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["KERNEL_POLICIES", "ByKernel", "ReusePort", "SharedListener"]


@dataclass(frozen=True)
class ByKernel:
    """The nodes accept for themselves; no connection passes through the parent."""

    def choose(self, nodes: Sequence[Any], key: bytes | None) -> None:  # noqa: ARG002 - a Policy's signature
        """Choose nobody: the kernel has chosen already."""
        return


@dataclass(frozen=True)
class ReusePort(ByKernel):
    """Every node listens with a socket of its own (SO_REUSEPORT); the kernel chooses by hash.

    The cheapest way: no connection passes through the parent. For many short connections to nodes
    that are all well. The port stays taken while every node restarts. Of the requests a second that
    uvicorn with as many workers serves, each on a connection of its own, this served 0.66 to 0.7,
    `LeastConnections` 0.47 (2 nodes and the load on 2 CPUs), which takes 85 microseconds of CPU more
    a connection, in all processes together.

    Its price:

    * The hash of the two addresses chooses, not the load. Of 5,000 connections the nodes got 1276,
      1276, 1235 and 1213 (`LeastConnections`: 1256 to 1247); of a few long-lived ones, whatever
      the hash gives. A node that is full or busy keeps its clients waiting, while others idle.
    * A node that is stopped and not dead keeps its part of all new clients, until it counts as hung.
      When a node dies, the others get who waited there: in 12 kills under 8 busy clients 8
      connections were lost (`SharedListener`: 13, `LeastConnections`: 5), all of them being served.
    * A node that drains serves what waits in its queue first (12 scalings under load: none lost);
      only what is amid its handshake at that instant is reset, unless ``net.ipv4.tcp_migrate_req=1``.
    * While no node is up, clients wait for two seconds, and then are refused: nobody holds a backlog.
    * Only processes of the same user can share the port, and none could before it was taken.
    """

    def __str__(self) -> str:
        return "reuse-port"


@dataclass(frozen=True)
class SharedListener(ByKernel):
    """All nodes accept from one listening socket, each connection whoever is first.

    Nothing is lost with a node but what it serves: the queue is everybody's, and it outlives every
    node. A full or hung node takes nothing. Works for Unix sockets and for those that were given.

    Its price:

    * Idle nodes race for each connection, so it is the least even: of 5,000 the nodes got 1412,
      1399, 1243 and 946 one after another, 1372 to 1199 in bursts. A node accepts one in a turn of
      its loop and then lets a turn pass; without that one of four got 47 % (and with EPOLLEXCLUSIVE,
      which wakes the last to wait first, 98 %: it is not used).
    * A connection wakes more nodes than the one that gets it: a tenth of all wake-ups is in vain.
    * Long-lived connections gather where they fell; nothing moves them.
    * A node that is busy half of the time still takes connections in the other half, and keeps them
      when it is busy again: of 200 a second to four nodes, the slowest in a hundred took 56 ms
      (`LeastConnections`: 58, though it goes round a node that lags among equals).
    """

    def __str__(self) -> str:
        return "shared-listener"


KERNEL_POLICIES: Final[dict[str, type[ByKernel]]] = {
    "reuse-port": ReusePort,
    "shared-listener": SharedListener,
}

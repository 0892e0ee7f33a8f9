"""Policies that leave the choice to the kernel: every node accepts its own connections.

Rule 1: data only; `kernel_router` makes the sockets and `self_accepting` accepts.
Rule 2: each policy states its costs, as measured with 4 process nodes on 2 CPUs that had other work
too, Linux 6.18, loopback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from actors._known_options import known_options
from actors.routing.errors import BadListener

__all__ = ["KERNEL_POLICIES", "ByKernel", "ReusePort", "SharedListener"]


@dataclass(frozen=True)
class ByKernel:
    """Base of the policies under which nodes accept; no connection passes through the parent."""

    def choose(self, nodes: Sequence[Any], key: bytes | None) -> None:  # noqa: ARG002 - the interface of a policy
        """Choose nothing: the kernel has chosen already."""
        return


@known_options(BadListener)
@dataclass(frozen=True)
class ReusePort(ByKernel):
    """Every node listens with a socket of its own (SO_REUSEPORT); the kernel chooses by hash.

    The cheapest policy, for many short connections to healthy nodes. The port stays bound while
    every node restarts. With one request for each connection it served 1.08 to 1.22 times the requests
    per second of uvicorn with as many workers, `LeastConnections` 0.77 to 0.93 (2 nodes and the load on
    2 CPUs); `LeastConnections` takes 85 microseconds more CPU for each connection, over all processes.

    Its costs:

    * The hash of the two addresses chooses, not the load. Of 5,000 connections the nodes got 1276,
      1276, 1235 and 1213 (`LeastConnections`: 1256 to 1247); of a few long-lived ones, whatever
      the hash gives. A node that is full or busy keeps its clients waiting, while others idle.
    * A suspended node (SIGSTOP) still gets its part of all new clients, until it counts as hung.
      When a node dies, the others get the clients in its queue: in 12 kills under 8 busy clients 8
      connections were lost (`SharedListener`: 13, `LeastConnections`: 5), all of them being served.
    * A node that drains serves the clients in its queue first (12 scalings under load: none lost);
      only handshakes in progress at that instant are reset, unless ``net.ipv4.tcp_migrate_req=1``.
    * While no node is up, clients wait for two seconds and are then refused: there is no backlog.
    * Other processes of the same user could share the port, once it is bound.
    """

    def __str__(self) -> str:
        return "reuse-port"


@known_options(BadListener)
@dataclass(frozen=True)
class SharedListener(ByKernel):
    """All nodes accept from one listening socket; the first to accept gets the connection.

    When a node dies, only the connections it serves are lost: the queue is shared and outlives every
    node. A full or hung node takes nothing. Works for Unix sockets and for inherited ones.

    Its costs:

    * Idle nodes race for each connection, so the distribution is the least even: of 5,000 the nodes
      got 1412, 1399, 1243 and 946 one after another, 1372 to 1199 in bursts. A node accepts one
      connection in a turn of its loop and then lets a turn pass; without that, one of four got 47 %
      (with EPOLLEXCLUSIVE, which wakes the last waiter first, 98 %, so it is not used).
    * A connection wakes more nodes than the one that gets it: a tenth of all wake-ups find nothing.
    * Long-lived connections stay where they were accepted, however uneven that is.
    * A node that is busy half of the time still takes connections in the other half, and delays them
      when it is busy again: at 200 per second to four nodes, the 99th percentile was 56 ms
      (`LeastConnections`: 58, although it avoids a lagging node among equals).
    """

    def __str__(self) -> str:
        return "shared-listener"


KERNEL_POLICIES: Final[dict[str, type[ByKernel]]] = {
    "reuse-port": ReusePort,
    "shared-listener": SharedListener,
}

"""The policy that leaves the choice to the kernel.

Rule 1: data only; `reuse_port_router` makes the sockets and `self_accepting` accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors._known_options import known_options
from actors.routing.errors import BadListener

__all__ = ["ReusePort"]


@known_options(BadListener)
@dataclass(frozen=True)
class ReusePort:
    """Every node listens with a socket of its own (SO_REUSEPORT); the kernel chooses by hash.

    The cheapest policy, for many short connections to healthy nodes. The port stays bound while
    every node restarts.

    Its costs:

    * The hash of the two addresses chooses, not the load. Of 5,000 connections the nodes got 1276,
      1276, 1235 and 1213 (`LeastConnections`: 1256 to 1247); of a few long-lived ones, whatever
      the hash gives. A node that is full or busy keeps its clients waiting, while others idle.
    * A suspended node (SIGSTOP) still gets its part of all new clients, until it counts as hung.
      When a node dies, the others get the clients in its queue: in 12 kills under 8 busy clients 8
      connections were lost, all of them being served.
    * A node that drains serves the clients in its queue first (12 scalings under load: none lost);
      only handshakes in progress at that instant are reset, unless ``net.ipv4.tcp_migrate_req=1``.
    * While no node is up, clients wait for two seconds and are then refused: there is no backlog.
    * Other processes of the same user could share the port, once it is bound.
    """

    def __str__(self) -> str:
        return "reuse-port"

    def choose(self, nodes: Sequence[Any], key: bytes | None) -> None:  # noqa: ARG002 - the interface of a policy
        """Choose nothing: the kernel has chosen already."""
        return

"""Systems whose far nodes serve listeners; all their places are on this machine, at addresses of their own."""

from __future__ import annotations

import socket
from typing import Any

from actors import System, Topology, nodes
from actors.routing import Listener

__all__ = ["HOSTS", "far", "free_port", "pids_of"]

HOSTS = {"hosts": [{"run": ["env", f"HOST=127.0.0.{host}"]} for host in (2, 3)]}


def far(count: int, *listeners: Listener, **options: Any) -> Topology:
    group = nodes("far", count=count, engine="hosts", **options)
    return Topology(nodes=[group], listeners=list(listeners), patience=60.0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
    return port


def pids_of(system: System) -> dict[str, int | None]:
    return {node.name: node.pid for node in system.nodes if node.name != "local"}

"""nginx's upstreams for what an application file serves: listeners, and the instances of programs."""

from __future__ import annotations

from actors._system.topology import Topology
from actors.routing import Inet, Listener, Unix

__all__ = ["upstreams_of"]

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - what nginx connects to in their place


def upstreams_of(topology: Topology) -> str:
    """Return an ``upstream`` for each listener and each program with a port; "" if there is none."""
    found = {one.name: [server] for one in topology.listeners if (server := _server(one))}
    for spec in topology.programs:
        ports = spec.program.ports(spec.program.instances)
        if ports:
            found[spec.name] = [f"127.0.0.1:{port}" for port in ports]
    return "\n".join(_upstream(name, servers) for name, servers in found.items())


def _server(listener: Listener) -> str:
    """Return where nginx reaches a listener; "" if it cannot."""
    where = listener.where
    if isinstance(where, Unix):
        return f"unix:{where.path}"
    if not isinstance(where, Inet) or not where.port:
        return ""
    return f"{_LOOPBACK.get(where.host, str(where).rpartition(':')[0])}:{where.port}"


def _upstream(name: str, servers: list[str]) -> str:
    # nginx gives up idle connections before a node does, which keeps them for 5 seconds.
    lines = [*(f"server {server};" for server in servers), "keepalive 32;", "keepalive_timeout 4s;"]
    inside = "".join(f"    {line}\n" for line in lines)
    return f"upstream {name} {{\n{inside}}}\n"

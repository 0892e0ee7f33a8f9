"""The two addresses of a connection, in the form of ASGI's ``client`` and ``server``."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from actors.routing.sticky.client_address import plain_host
from actors.routing.sticky.keys import Address

__all__ = ["SocketName", "client_name", "local_name"]

SocketName: TypeAlias = tuple[str, int | None] | None


def client_name(transport: asyncio.BaseTransport, proxied: Address) -> tuple[str, int] | None:
    """Return the client's address; the one that a PROXY header named, if there was one."""
    if isinstance(proxied, tuple):
        return (proxied[0], proxied[1])
    name = _host_and_port(transport.get_extra_info("peername"))
    return None if name is None else (plain_host(name[0]), name[1])


def local_name(transport: asyncio.BaseTransport) -> SocketName:
    """Return the address of this side: host and port, or the path of a Unix socket and None."""
    info = transport.get_extra_info("sockname")
    if isinstance(info, str) and info:
        return (info, None)
    name = _host_and_port(info)
    return None if name is None else (plain_host(name[0]), name[1])


def _host_and_port(info: Any) -> tuple[str, int] | None:
    if isinstance(info, tuple) and len(info) >= 2:  # noqa: PLR2004 - IPv6 has two more
        return (str(info[0]), int(info[1]))
    return None

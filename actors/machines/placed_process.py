"""The process of a node that an agent has started: how it holds its lease and reaches its parent."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final

from actors._remoting import listener_operations as listening, operations as ops
from actors._remoting.link_aside import AsideHost
from actors.machines.dial import dial
from actors.machines.lease_timer import hold_lease
from actors.machines.material import Material
from actors.machines.peer_links import PeerLinks
from actors.machines.place_links import PlaceLinks
from actors.nodes import Link

if TYPE_CHECKING:
    from actors.nodes import LinkedProcess, NodeProcess
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["dial_parent", "follow_clock", "link_agent", "own_address", "peer_links", "take_lease"]

_AGENT: Final = "agent"


def take_lease(config: dict[str, Any]) -> None:
    """End with the lease of the place; before the process gives up any rights.

    Raises:
        SystemExit: there is no lease any more.
    """
    lease = config["lease"]
    try:
        hold_lease(lease["page"], lease["every"])
    except OSError as error:
        raise SystemExit(f"this node has no lease: {error}") from error


async def dial_parent(config: dict[str, Any]) -> TlsSession:
    """Connect to the parent.

    Raises:
        ConnectionError: nobody let us in; it says where and why.
    """
    link = config["link"]
    material = None if link["material"] is None else Material.from_plain(link["material"])
    address = (link["host"], link["port"])
    return await dial(address, material, link["ticket"], {"purpose": "node"}, lease=link["lease"])


def own_address(session: TlsSession) -> str:
    """Return the address of this machine by which it has reached the other end."""
    with socket.socket(fileno=os.dup(session.fileno())) as same:
        address: str = same.getsockname()[0]
    return address


def peer_links(process: LinkedProcess, config: dict[str, Any], session: TlsSession) -> PeerLinks:
    """Return what makes links between a placed node and others."""
    link = config["link"]
    material = None if link["material"] is None else Material.from_plain(link["material"])
    address = link.get("address") or own_address(session)
    return PeerLinks(process, (material, address, link["lease"]))


def follow_clock(process: LinkedProcess, config: dict[str, Any]) -> None:
    """Know how the clocks of the parent and of this machine differ, from now on."""
    deadlines = process.host.far_deadlines
    deadlines.set(*config["clock"])

    def measured(link: Link, ahead: float, error: float) -> None:
        if link is process.parent:
            deadlines.set(ahead, error)

    process.host.handlers.on_note(ops.clock_offset, measured)


def link_agent(process: NodeProcess, config: dict[str, Any]) -> Link:
    """Return a link to the agent, which has the sockets of this machine: of listeners and between its nodes."""
    host = process.host
    PlaceLinks(process)
    served = host.handlers.only(
        [
            listening.add_bells,
            listening.attach_bindings,
            listening.attach_socket,
            listening.connections,
            listening.detach_socket,
            listening.keys_bound,
            ops.link_end,
        ]
    )
    link = Link(AsideHost(host, _nothing), _AGENT, serves=served, lends=False)
    link.attach(socket.socket(fileno=config["link_fd"]))
    return link


def _nothing() -> None:
    """Without its agent this process ends by its lifeline."""

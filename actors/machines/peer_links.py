"""The links of a node or a client to processes of other machines: it lets them connect, or connects to them.

Rule: whom to await or to dial the parent alone says. A node listens only when the first one is to come, at the
address from which it has reached its parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._base.errors import ActorsError
from actors._remoting import operations as ops
from actors.machines.dial import dial
from actors.machines.entrance import Entrance
from actors.machines.material import Material
from actors.transport import ChannelBroken

if TYPE_CHECKING:
    from actors._remoting.peer import Peer
    from actors.nodes import Link, LinkedProcess
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["PeerLinks"]

_PEER = "peer"


class PeerLinks:
    """Makes the links that the parent wants of a process.

    Args:
        process: which they are for.
        own: what it has to show, and at which address it can be reached; None for one that nobody dials.
    """

    def __init__(
        self, process: LinkedProcess, own: tuple[Material | None, str, float] | None
    ) -> None:
        self._process = process
        self._own = own
        self._entrance: Entrance | None = None
        handlers = process.host.handlers
        handlers.on_call(ops.await_link, self._await)
        handlers.on_note(ops.dial_link, self._begin_dial)
        handlers.on_note(ops.link_failed, self._failed)

    def close(self) -> None:
        """Let nobody connect any more."""
        if self._entrance is not None:
            self._entrance.close()

    async def _await(self, link: Link, address: str) -> tuple[str, int, str]:
        if link is not self._process.parent or self._own is None:
            raise ActorsError("only its parent has a node await others")
        if self._entrance is None:
            material, host, lease = self._own
            self._entrance = Entrance(self._process.host.loop, material, host, lease=lease)

        peer = self._process.host.peer(address)
        ended = peer.ended_runs

        def came(session: TlsSession, _hello: dict[str, Any]) -> None:
            peer.attach_late(session, ended)

        entrance, lease = self._entrance, self._own[2]
        ticket = entrance.expect(_PEER, came)
        # Who has not come by then has given up, and asks for another.
        self._process.host.loop.call_later(2 * lease, entrance.forget, ticket)
        return (*entrance.address, ticket)

    def _begin_dial(self, link: Link, address: str, *how: Any) -> None:
        if link is self._process.parent:
            peer = self._process.host.peer(address)
            self._process.host.loop.start(
                self._dial, peer, peer.ended_runs, *how, name=f"dial {address}", fresh=True
            )

    async def _dial(
        self,
        peer: Peer,
        ended: int,
        host: str,
        port: int,
        ticket: str,
        plain: dict[str, Any] | None,
        lease: float,
    ) -> None:
        own = None if self._own is None else self._own[0]
        material = own if plain is None else Material.from_plain(plain)
        try:
            session = await dial(
                (host, port), material, ticket, {"purpose": _PEER}, within=lease, lease=lease
            )
        except (OSError, ValueError) as error:
            if peer.ended_runs == ended:
                why = f"{peer.node} cannot be reached from {self._process.host.name}: {error}"
                self._process.parent.note(ops.unreachable, peer.name, why)
                self._lose(peer.name, why)
            return
        peer.attach_late(session, ended)

    def _failed(self, link: Link, address: str, why: str) -> None:
        if link is self._process.parent:
            self._lose(address, why)

    def _lose(self, address: str, why: str) -> None:
        """Fail what waits for a link that does not come; the next message asks for another."""
        peer = self._process.host.peer(address)
        peer.links += 1
        link = peer.link
        if link is not None and not link.attached:
            link.lose(ChannelBroken(why))

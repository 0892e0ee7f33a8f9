"""The host of a link that carries no messages of actors: between a node and the agent that has started it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.far_deadlines import FarDeadlines
    from actors._remoting.link import Link
    from actors._remoting.operation import Handlers
    from actors._remoting.shared_memory import SharedMemory
    from actors.transport import Attachments, Decoder, Encoder, Lane, TransportError

__all__ = ["AsideHost"]


class AsideHost:
    """A `LinkHost` whose links are of no peer.

    Args:
        host: of this process.
        ended: called when the link has ended.
    """

    has_rings = False

    def __init__(self, host: ActorHost, ended: Callable[[], object]) -> None:
        self._host = host
        self._ended = ended
        self.loop: Loop = host.loop
        self.largest: int = host.largest
        self.memory: SharedMemory = host.memory
        self.handlers: Handlers[Link] = host.handlers

    @property
    def far_deadlines(self) -> FarDeadlines:
        return self._host.far_deadlines

    def new_encoder(self, attachments: Attachments) -> Encoder:
        return self._host.new_encoder(attachments)

    def new_decoder(self, attachments: Attachments) -> Decoder:
        return self._host.new_decoder(attachments)

    def new_receiver(self, link: Link) -> Callable[[list[object], Lane], None]:
        return self._host.new_receiver(link)

    def link_has_room(self, _link: Link) -> None:
        """Nobody waits for it."""

    def link_closed(self, _link: Link, _error: TransportError | None) -> None:
        self._ended()

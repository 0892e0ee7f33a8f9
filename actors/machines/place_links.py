"""Links between nodes of one place: socket pairs that their agent makes, as the parent does on its own machine.

Rule 1: that two nodes are to be linked the parent alone says, to both of them, in order with what else it says
of them. Each then fetches its end from the agent, to which it is linked.
Rule 2: an end that comes when the run at its other end is over is closed unread.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from actors._remoting import operations as ops
from actors.transport import ChannelBroken, ChannelClosed, pair

if TYPE_CHECKING:
    from collections.abc import Container

    from actors._base.loop import Loop
    from actors._remoting.peer import Peer
    from actors.nodes import ActorHost, Link, NodeProcess

__all__ = ["LinkEnds", "PlaceLinks"]

_NEXT_TRY: Final = 0.1
"""Seconds after which a socket pair is made for which there was no descriptor."""


class PlaceLinks:
    """Fetches the ends of links to other nodes of the place, at a node.

    Args:
        process: the node; its `router_link` leads to the agent.
    """

    def __init__(self, process: NodeProcess) -> None:
        self._process = process
        self._coming: dict[int, tuple[Peer, int]] = {}
        """By the number of a link, who is at its other end, and how many runs of that one had ended."""
        handlers = process.host.handlers
        handlers.on_note(ops.fetch_link, self._fetch)
        handlers.on_fd_note(ops.link_end, self._came, lost=self._lost)

    def _fetch(self, link: Link, address: str, run: int, number: int) -> None:
        if link is self._process.parent:
            peer = self._process.host.peer(address)
            self._coming[number] = peer, peer.ended_runs
            self._process.router_link.note(ops.link_wanted, run, number)

    def _came(self, _link: Link, fds: list[int], number: int) -> None:
        [fd] = fds
        peer, ended = self._coming.pop(number)
        peer.attach_late(socket.socket(fileno=fd), ended)

    def _lost(self, link: Link, number: int) -> None:
        peer, ended = self._coming.pop(number)
        if peer.ended_runs == ended:
            self._process.link_end_lost(link, peer.name)


class LinkEndsKeeper(Protocol):
    """The agent, as `LinkEnds` sees it; `nodes` are those that have not ended, by the numbers of their runs."""

    loop: Loop
    host: ActorHost

    @property
    def nodes(self) -> Container[int]: ...
    def run_of(self, link: Link) -> int | None: ...


class LinkEnds:
    """Makes the links of the nodes of a place, at its agent.

    The node that asks first gets one end of a new socket pair; the other end is kept until the other node asks.

    Args:
        keeper: the agent.
    """

    def __init__(self, keeper: LinkEndsKeeper) -> None:
        self._keeper = keeper
        self._kept: dict[tuple[int, int], socket.socket] = {}
        """The ends that were not fetched yet, by the run that each is for and the number of the link."""
        keeper.host.handlers.on_note(ops.link_wanted, self._wanted)

    def _wanted(self, link: Link, run: int, number: int) -> None:
        asker = self._keeper.run_of(link)
        if asker is None:
            return  # it has ended
        end = self._kept.pop((asker, number), None)
        if end is None:
            try:
                end, other = pair()
            except OSError:  # no descriptor is free: those who wait for the link wait for that, too
                self._keeper.loop.call_later(_NEXT_TRY, self._wanted, link, run, number)
                return
            if run in self._keeper.nodes:
                self._kept[run, number] = other
            else:
                other.close()  # whoever has the other end reads that it is over
        with suppress(ChannelBroken, ChannelClosed):  # it has ended
            link.note_fds(ops.link_end, (end.detach(),), number)

    def node_ended(self, run: int) -> None:
        """Close the ends that were kept for a node, which has ended."""
        for key in [key for key in self._kept if key[0] == run]:
            self._kept.pop(key).close()

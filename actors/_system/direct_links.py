"""Gives two processes of a system the ends of a link, when one of them wants to talk to the other.

A process is a run of a node, or a client. The parent has links to all from their start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from actors._base.errors import ActorsError
from actors._remoting import client_operations as client_ops, operations as ops
from actors._remoting.protocol import CLIENT
from actors.nodes import NodeState
from actors.transport import ChannelBroken, ChannelClosed, Endpoint, endpoint_pair, pair

if TYPE_CHECKING:
    import socket

    from actors._system.clients import Clients
    from actors._system.other_machines import OtherMachines
    from actors._system.system_state import SystemState
    from actors.nodes import Link

__all__ = ["DirectLinks"]

_NEXT_TRY: Final = 0.1
"""Seconds after which a link is made for which there was no descriptor."""


class _Process(NamedTuple):
    """A run of a node, or a client.

    Attributes:
        address: where others reach it.
        number: which no other has.
        link: to it.
        thread: whether it is in the process of the parent.
        place: what tells its place from all others; "" on the machine of the parent.
    """

    address: str
    number: int
    link: Link
    thread: bool
    place: str = ""


class DirectLinks:
    """Makes the links that the processes of a system ask for."""

    def __init__(self, state: SystemState, clients: Clients, machines: OtherMachines) -> None:
        self._state = state
        self._machines = machines
        self._clients = clients
        # How often each pair of processes was connected: both may ask for the same link.
        self._connected: dict[frozenset[tuple[str, int]], int] = {}
        self._links_in_places = 0
        state.host.handlers.on_note(ops.request_link, self._request)
        # Of each pair that has lost a link: which one, counted from the first.
        self._parted: dict[frozenset[tuple[str, int]], int] = {}
        state.host.handlers.on_note(ops.unreachable, self._unreachable)
        state.host.handlers.on_note(ops.link_parted, self._link_parted)

    def _process(self, address: str) -> _Process | None:
        """Return the process at *address*, if it has a link to the parent."""
        run, client = self._state.runs.get(address), self._clients.get(address)
        if client is not None:
            return _Process(address, client.number, client.link, thread=False)
        if run is None or run.link is None:
            return None
        thread, place = run.node.spec.kind == "thread", self._machines.place_of(run)
        return _Process(address, run.number, run.link, thread=thread, place=place)

    def _running(self) -> set[tuple[str, int]]:
        runs = {(run.address, run.number) for run in self._state.runs.values()}
        return runs | {(client.address, client.number) for client in self._clients}

    def _request(self, link: Link, address: str, times: int) -> None:
        """Give two processes the ends of a new link, unless the asker has one on its way.

        Args:
            link: to the process that asks.
            address: of the other process.
            times: how many links to the other's current run the asker has had.
        """
        asker, asked = self._process(link.peer), self._process(address)
        run = self._state.runs.get(address)
        if asker is None:
            return
        if asked is None or (run is not None and run.state is not NodeState.READY):
            self._refuse(link, address)
            return
        both = _pair(asker, asked)
        if times < self._connected.get(both, 0):
            return
        running = self._running()
        self._connected = {known: n for known, n in self._connected.items() if known <= running}
        self._connected[both] = times + 1
        if asker.place and asker.place == asked.place:
            self._connect_in_place(asker, asked)
        elif asker.place or asked.place:
            name = f"link {asker.address} and {asked.address}"
            self._state.loop.start(self._introduce, asker, asked, name=name, fresh=True)
        elif not self._connect_here(asker, asked, times):
            self._connected[both] = times

    def _connect_here(self, asker: _Process, asked: _Process, times: int) -> bool:
        """Give two processes of this machine the ends of a link; return whether the one asked has its own."""
        try:
            ours, theirs = endpoint_pair() if asker.thread and asked.thread else pair()
        except OSError:  # no descriptor is free: those who wait for the link wait for that, too
            again = asker.link, asked.address, times
            self._state.loop.call_later(_NEXT_TRY, self._request, *again)
            return False
        try:
            _hand_out(asked.link, asker.address, theirs)
        except (ChannelBroken, ChannelClosed) as error:
            # The other process's link has ended; how it ended is known soon. The asker's link, on
            # which this runs, must not end by the error.
            ours.close()
            patience = self._state.topology.patience
            asker.link.note(ops.node_down, asked.address, str(error), True, patience)
            return False
        try:
            _hand_out(asker.link, asked.address, ours)
        except (ChannelBroken, ChannelClosed):
            ours.close()  # the asker has ended, and what it had sent is still being read
        return True

    def _connect_in_place(self, asker: _Process, asked: _Process) -> None:
        """Have two nodes of one place fetch the ends of a link from their agent."""
        self._links_in_places += 1
        number = self._links_in_places
        asked.link.note(ops.fetch_link, asker.address, asker.number, number)
        asker.link.note(ops.fetch_link, asked.address, asked.number, number)

    async def _introduce(self, asker: _Process, asked: _Process) -> None:
        """Have one of two processes connect to the other, which is on another machine and listens there."""
        listens, dials = (asked, asker) if asked.place else (asker, asked)
        try:
            at = await listens.link.call(ops.await_link, dials.address)
        except ActorsError as error:
            # How the node has ended is known soon; until then its asker waits.
            asker.link.note(ops.link_failed, asked.address, str(error))
            return
        material = None if dials.place else self._machines.issue(dials.address)
        lease = self._state.topology.lease
        dials.link.note(ops.dial_link, listens.address, *at, material, lease)

    def _link_parted(self, link: Link, address: str, links: int, why: str) -> None:
        """Tell everybody, once, that two processes have lost each other; both ends say so in their time."""
        pair = self._connected_pair(link, address)
        if pair is None:
            return
        one, other = pair
        both = _pair(one, other)
        if self._parted.get(both, 0) < links:
            self._parted = {
                known: n for known, n in self._parted.items() if known in self._connected
            }
            self._parted[both] = links
            self._state.event("link_parted", {"nodes": [one.address, other.address], "why": why})

    def _unreachable(self, link: Link, address: str, why: str) -> None:
        """Two processes cannot reach each other, as one of them says: tell the other, and everybody."""
        pair = self._connected_pair(link, address)
        if pair is not None:
            asker, asked = pair
            asked.link.note(ops.link_failed, asker.address, why)
            self._state.event("link_parted", {"nodes": [asker.address, asked.address], "why": why})

    def _connected_pair(self, link: Link, address: str) -> tuple[_Process, _Process] | None:
        """Return who says something of its link to whom; None if that was a link to a run which has ended.

        A run whose link to this process has ended as well may have, which is certain a little later.
        """
        one, other = self._process(link.peer), self._process(address)
        if one is None or other is None or _pair(one, other) not in self._connected:
            return None
        return (
            None if one.link.closed is not None or other.link.closed is not None else (one, other)
        )

    def _refuse(self, link: Link, address: str) -> None:
        """Tell a process that the one it wants to talk to is not there."""
        if address.startswith(CLIENT):
            link.note(client_ops.client_gone, address, "it has ended")
            return
        peer = self._state.host.peers.get(address) if address in self._state.runs else None
        if peer is None:
            link.note(ops.node_down, address, "there is no such node", False, 0.0)
        else:
            link.note(ops.node_down, address, peer.why, peer.restarting, peer.patience)


def _pair(one: _Process, other: _Process) -> frozenset[tuple[str, int]]:
    return frozenset({(one.address, one.number), (other.address, other.number)})


def _hand_out(link: Link, peer: str, way: socket.socket | Endpoint) -> None:
    """Give a process its end of a new link to *peer*."""
    if isinstance(way, Endpoint):
        link.note_by_reference(ops.open_thread_link, peer, way)
    else:
        link.note_fds(ops.open_link, (way.detach(),), peer)

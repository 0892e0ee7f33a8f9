"""The door to `actors.machines`: what the process that made a system has of other machines, if it has any."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from actors._remoting.constructor_args import pack_value
from actors.nodes import common_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._system.listeners import FarRouter
    from actors._system.system_state import SystemState
    from actors._system.topology import Topology
    from actors.machines.places import Places
    from actors.nodes import NodesSpec, RemoteNode, RemoteNodeHost, RemoteRun
    from actors.routing import Listener

__all__ = ["OtherMachines"]


class OtherMachines:
    """Makes nodes on other machines; without any it imports and opens nothing.

    Attributes:
        places: where they are, once there is one.
    """

    def __init__(
        self, home: RemoteNodeHost, state: SystemState, reloading: Callable[[], bool]
    ) -> None:
        self.places: Places | None = None
        self._reloading = reloading
        self._home = home
        self._state = state

    def new_node(self, spec: NodesSpec, slot: int) -> RemoteNode:
        """Make the node of *slot*; its supervisor starts it.

        Raises:
            InvalidSpec: its engine cannot place it.
        """
        # Imported where it is used: a system on one machine pays for nothing of it.
        from actors.machines.placed_node import PlacedNode  # noqa: PLC0415
        from actors.machines.places import Places  # noqa: PLC0415
        from actors.machines.stamps import Stamps  # noqa: PLC0415

        if self.places is None:
            state = self._state
            log_format = {**os.environ, **common_environment()}["ACTORS_LOG_FORMAT"]
            stamps = Stamps(_distribution(state.topology), self._reloading)
            self.places = Places(state.loop, state.topology, state.event, log_format, stamps)
            state.launcher.when_renewed.append(self.places.renew)
        self.places.check(spec)
        return PlacedNode(self._home, spec, slot, self.places)

    def node_forgotten(self, node: RemoteNode) -> None:
        """Let go of the place of a node that was stopped for good, if no other node of its group has it."""
        places, spec = self.places, node.spec
        if places is None or spec.engine is None:
            return
        number = places.place_number(spec, node.slot)
        others = [other for other in self._state.nodes.values() if other.group == node.group]
        if number not in {places.place_number(spec, other.slot) for other in others}:
            places.let_go(spec.name, number)

    def new_router(self, spec: Listener) -> FarRouter | None:
        """Return the routers of a listener whose nodes are on other machines, None of one with nodes here.

        Raises:
            InvalidSpec: other machines cannot have it.
        """
        group = [node for node in self._state.nodes.values() if node.group == spec.nodes]
        if self.places is None or not group or group[0].spec.engine is None:
            return None
        from actors.machines.placed_router import PlacedRouter  # noqa: PLC0415 - as above

        def pack(value: Any) -> list[str]:
            return [part.hex() for part in pack_value(self._state.host, value)]

        return PlacedRouter(spec, self.places, pack)

    def place_of(self, run: RemoteRun) -> str:
        """Return what tells the place of a run from all others; "" on this machine."""
        if self.places is None:
            return ""
        from actors.machines.placed_node import PlacedRun  # noqa: PLC0415 - as above

        return run.place.key if isinstance(run, PlacedRun) and run.place is not None else ""

    @property
    def status(self) -> list[dict[str, Any]]:
        """What `actors ps` shows of each place."""
        return [] if self.places is None else self.places.status

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The same, and of each agent that waits for a place."""
        return [] if self.places is None else [*self.places.status, *self.places.spares]

    def issue(self, name: str) -> dict[str, Any]:
        """Return what a process of this machine shows to nodes of others."""
        assert self.places is not None, "a node of another machine is to be reached"
        return self.places.authority.issue(name).to_plain()

    async def close(self) -> None:
        """End all agents; their nodes have ended."""
        if self.places is not None:
            await self.places.close()

    def abandon(self) -> None:
        """Kill all agents: the loop is closed."""
        if self.places is not None:
            self.places.abandon()


def _distribution(topology: Topology) -> str:
    """Return what has the user's code; nothing if the code has a name of its own, as then nobody looks."""
    from actors._system.shipped_code import distribution_of  # noqa: PLC0415 - as above
    from actors.machines.stamps import RELEASE  # noqa: PLC0415

    return "" if os.environ.get(RELEASE) else distribution_of(topology)

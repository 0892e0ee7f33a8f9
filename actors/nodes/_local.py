"""The local node: actors in the loop that made the system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from actors._remoting.constructor_args import pack_arguments, unpack_state
from actors.nodes._node import Node, NodeState
from actors.nodes.health.stats import node_stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._actor.cell import Cell
    from actors._actor.interfaces import Ended
    from actors._remoting.actor_host import ActorHost
    from actors.nodes._node import ActorStart, NodeOwner
    from actors.supervisors import Exit
    from actors.transport import SharedBuffer

__all__ = ["LocalNode", "start_cell", "state_for"]


async def start_cell(host: ActorHost, actor: ActorStart, ended: Ended) -> None:
    """Run the next incarnation of an actor in *host*, in the cell that it has already, if any."""
    ref = actor.ref
    cell = host.cells.get(ref.uid) or host.new_cell(ref.uid, ref.name, actor.cls, ref.bounds)

    await cell.start(
        actor.args,
        actor.kwargs,
        ended,
        fence=await host.services.new_fence() if actor.named else host.fences.next(),
        shutdown=actor.shutdown,
        chain=actor.chain,
        state=state_for(host, cell, actor.state),
        renewed=_Keeper(host, actor),
    )


class _Keeper:
    """Keeps the state that an actor hands over, packed."""

    __slots__ = ("_actor", "_host")

    def __init__(self, host: ActorHost, actor: ActorStart) -> None:
        self._host = host
        self._actor = actor

    async def __call__(self, state: Any) -> None:
        self._actor.keep_state(pack_arguments(self._host, (state,), {}))


def state_for(
    host: ActorHost, cell: Cell, packed: Sequence[bytes | SharedBuffer]
) -> tuple[Any, ...]:
    """Return what the next `on_start` of *cell* gets: nothing, with an event, if that cannot be."""
    try:
        return unpack_state(host, cell.cls, packed)
    except Exception as error:  # noqa: BLE001 - reported
        host.state_lost(cell.ref, f"on_start: {type(error).__name__}: {error}")
        return ()


class LocalNode(Node):
    """Always ready; it ends with its system or, on a node, with that node.

    Args:
        host: its cells and peers.
        owner: on a node, what can end that node; the local node of a system has none.
    """

    kind = "local"
    ready = True

    def __init__(self, host: ActorHost, owner: NodeOwner | None = None) -> None:
        group, _, slot = host.name.rpartition("/")
        super().__init__(host.name, group or host.name, int(slot) if group else 0, owner)
        self.host = host
        self.pid: int | None = os.getpid()
        self.state = NodeState.READY

    async def start_actor(self, actor: ActorStart, ended: Ended) -> None:
        """Start an actor, or its next incarnation, and return when it is ready."""
        await start_cell(self.host, actor, ended)

    def stop_actor(self, uid: int, *, renew: bool = False) -> None:
        """Ask an actor to end behind what it has queued, and perhaps to hand its state over."""
        cell = self.host.cells.get(uid)
        if cell is not None:
            cell.shut_down(renew=renew)

    def kill_actor(self, uid: int) -> None:
        """End an actor's incarnation now."""
        cell = self.host.cells.get(uid)
        if cell is not None:
            cell.kill()

    def release_actor(self, uid: int, end: Exit) -> None:
        """End an actor for good."""
        cell = self.host.cells.get(uid)
        if cell is not None:
            cell.end_for_good(end)

    async def stats(self) -> dict[str, Any]:
        """Return the node's figures; see `node_stats`."""
        return node_stats(self.host)

"""A node at the other end of a link, seen from the parent: the slot, over all its runs.

What one run does is in `_run`, how another takes its place in `_swap`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actors._base.errors import ActorsError
from actors._remoting import operations as ops
from actors.nodes._node import Node, NodeState
from actors.nodes.remote_run import RemoteRunHost

if TYPE_CHECKING:
    from actors._actor.interfaces import Ended
    from actors._remoting.link import Link
    from actors.nodes._node import ActorStart
    from actors.nodes._spec import NodesSpec
    from actors.nodes.remote_run import RemoteRun
    from actors.supervisors import Exit

__all__ = ["RemoteNode", "RemoteNodeHost", "Replacement"]


class RemoteNodeHost(RemoteRunHost, Protocol):
    """The system, as its nodes see it."""

    def node_moved(self, node: RemoteNode) -> None: ...
    def has_actors(self, node: RemoteNode) -> bool: ...
    async def stop_node(self, name: str, grace: float | None) -> None: ...
    async def drain_node(self, name: str, grace: float | None) -> None: ...
    def kill_node(self, name: str) -> None: ...


class Replacement(Protocol):
    """All runs of a node since its supervisor started it last; see `_swap`."""

    main: RemoteRun

    @property
    def runs(self) -> list[RemoteRun]: ...
    @property
    def swapping(self) -> bool: ...


class RemoteNode(Node):
    """One slot of a group; each run of it is a `RemoteRun`.

    Attributes:
        run: the run that has its actors, None while there is none.
        address: where other nodes find its actors.
        tenure: its runs since its supervisor started it last.
    """

    def __init__(self, home: RemoteNodeHost, spec: NodesSpec, slot: int) -> None:
        super().__init__(spec.named(slot), spec.name, slot, home)
        self.home = home
        self.spec = spec
        self.run: RemoteRun | None = None
        self.address = home.host.peer_named(self.name).name
        self.replacement: Replacement | None = None
        self.ended: dict[int, Ended] = {}
        self.leaving = False
        """Whether it was told to end for good, by itself and not with its system."""
        self.drain_within = spec.shutdown
        """Seconds it has to finish what it serves and runs, once it is told to end."""
        self.last_end = ""
        """How the last run ended, with the last lines it wrote."""

    @property
    def link(self) -> Link:
        """The link to the current run.

        Raises:
            ActorsError: there is none.
        """
        if self.run is None or self.run.link is None:
            raise ActorsError(f"node {self.name} is not running")
        return self.run.link

    @property
    def accepting_run(self) -> RemoteRun | None:
        """The run that is given connections, if there is one now."""
        main = None if self.replacement is None else self.replacement.main
        return main if main is not None and main.state is NodeState.READY else None

    @property
    def links(self) -> list[Link]:
        """The links to all its runs."""
        runs = () if self.replacement is None else self.replacement.runs
        return [run.link for run in runs if run.link is not None]

    def make_run(self, *, beside: bool = False) -> RemoteRun:
        """Make a run of its kind."""
        raise NotImplementedError

    def replace(self, why: str) -> bool:
        """End the current run in order and start another; see `RemoteRun.replace`."""
        if self.run is None or self.replacement is None or self.replacement.swapping:
            return False
        return self.run.replace(why)

    async def start_actor(self, actor: ActorStart, ended: Ended) -> None:
        """Start an actor, or its next incarnation, and return when it is ready."""
        ref = actor.ref
        self.ended[ref.uid] = ended
        try:
            await self.link.call(
                ops.start_actor,
                ref.uid,
                ref.name,
                ref.cls_path,
                ref.mailbox,
                actor.incarnation,
                actor.shutdown,
                actor.arguments,
            )
        except BaseException:
            self.ended.pop(ref.uid, None)
            raise

    def actor_ended(self, uid: int, end: Exit, *, voluntary: bool) -> None:
        """The child says that an incarnation has ended."""
        ended = self.ended.pop(uid, None)
        if ended is not None:
            ended(end, voluntary)

    def stop_actor(self, uid: int) -> None:
        """Ask an actor to end behind what it has queued."""
        self._note(ops.stop_actor, uid)

    def kill_actor(self, uid: int) -> None:
        """End an actor's incarnation now."""
        self._note(ops.kill_actor, uid)

    def release_actor(self, uid: int, end: Exit) -> None:
        """End an actor for good."""
        self.ended.pop(uid, None)
        for link in self.links:  # the run that waits to take it over has made room for it
            link.note(ops.release_actor, uid, end)

    def _note(self, op: ops.Note[[int]], uid: int) -> None:
        if self.run is not None and self.run.link is not None:
            self.run.link.note(op, uid)

    async def stats(self) -> dict[str, Any]:
        """Return the node's figures, asked of the node itself."""
        return await self.link.call(ops.stats)

    async def families(self) -> tuple[list[dict[str, Any]], dict[int, list[dict[str, Any]]]]:
        """Return who is supervised on it: the node's own, and the children of each actor."""
        return await self.link.call(ops.child_actors)

    async def sampled(self, seconds: float, rows: int, by: str) -> dict[str, Any]:
        """Return what it does over *seconds*, and its busiest actors; see `nodes._sampling`."""
        return await self.link.call(ops.sample, seconds, rows, by)

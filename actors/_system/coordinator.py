"""The core of a system, in the process that made it: nodes, names, lives, supervisors, listeners.

Rule 1: this is where the floors are put together; policy is below, the public face above.
Rule 2: every node asks here for what only one place can decide: names, placement, restarts.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any, ParamSpec

from anyio import create_task_group

from actors._base.errors import NodeDown
from actors._base.event_log import DelayedDelivery, LogSubscriber
from actors._base.events import Event, EventBus, event_of
from actors._messaging.blocking_ref import ThreadPortal
from actors._messaging.context_propagation import Propagation
from actors._messaging.ref import Ref
from actors._messaging.registry import Registry
from actors._remoting import operations as ops
from actors._system.cpu_budget import cpu_budget
from actors._system.listeners import ListenerController
from actors._system.node_groups import NodeGroups
from actors._system.node_services import NodeServices
from actors._system.placement import MAIN_GROUP, Placement
from actors._system.rolling_reload import RollingReload
from actors._system.supervision_tree import SupervisionTree, first_cause
from actors._system.topic_directory import TopicDirectory
from actors.nodes import (
    ActorHost,
    ChildActors,
    Launcher,
    Link,
    LocalNode,
    Peer,
    RemoteNode,
    RemoteRun,
    SupervisedActor,
    describe_main,
    nodes,
)
from actors.routing import modules_of
from actors.supervisors import Exit, RestartsGivenUp, StartFailed as NotStarted
from actors.transport import copy_error, drop_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from actors._base.loop import Loop
    from actors._system.topology import ActorSpec, Topology

__all__ = ["Coordinator"]

P = ParamSpec("P")


class Coordinator:
    """One running system."""

    node_module = "actors._system.node_main"

    def __init__(
        self,
        topology: Topology,
        loop: Loop,
        tasks: TaskGroup,
        *,
        end: Callable[[], None],
        local: bool,
    ) -> None:
        name = "local" if local else "system"
        self.topology = topology
        self.tasks = tasks
        self.end = end
        self.loop = loop
        propagation = Propagation.of(topology.propagate)
        self.host = ActorHost(
            name, 0, loop, may_import=local, propagation=propagation, trace=topology.trace
        )
        self.host.services = self
        self.host.link_ended = self.link_ended
        self.launcher = Launcher(loop, lambda why: self.event("template_unusable", {"why": why}))
        self.bus = EventBus(loop)
        self._log = DelayedDelivery(LogSubscriber(loop.now), loop.call_later)
        self.bus.subscribe(self._log)
        self.registry = Registry(loop.waiter)
        self.lives: dict[int, SupervisedActor] = {}
        self.local = LocalNode(self.host) if local else None
        self.nodes: dict[str, RemoteNode] = {}
        self.runs: dict[str, RemoteRun] = {}
        self.listeners: list[ListenerController] = []
        self.tree = SupervisionTree(self)
        self.groups = NodeGroups(self)
        self.reloading = RollingReload(self)
        self.stopping = False
        self._numbers = itertools.count(1)
        self.host.new_child_actors = self._new_child_actors
        self.spawning = Placement(self)
        self.threads = ThreadPortal(loop, propagation)
        self.interests = TopicDirectory(self)
        NodeServices(self).register()

    # -- reports ---------------------------------------------------------------------------

    def report(self, record: Any) -> None:
        """Pass on what a lower floor reports."""
        if isinstance(record, RestartsGivenUp) and (node := self._left_by(record.child)):
            facts = {"supervisor": record.supervisor, "child": record.child, "node": node}
            self.event("ended_with_node", facts)
        else:
            self.bus.report(event_of(record, self.loop.now()))

    def _left_by(self, child: str) -> str:
        """Return the node of an actor, if that has ended because somebody wanted it to."""
        ref = self.registry.get(child)
        life = None if ref is None else self.lives.get(ref.uid)
        place = None if life is None else life.place
        wanted = isinstance(place, RemoteNode) and place.lost and (place.leaving or self.stopping)
        return place.name if wanted and place is not None else ""

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Report something that has no record of its own."""
        self.bus.report(Event(kind, facts, self.loop.now()))

    # -- start and stop ----------------------------------------------------------------------

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start nodes, tree and listeners, in this order.

        Raises:
            ActorsError: what failed first, as it was told; what had been started is stopped again.
        """
        for spec in self.topology.nodes:
            self.groups.add(spec)
        if self.local is None and self.topology.has_unplaced and not self.group(MAIN_GROUP):
            self.groups.add(nodes(MAIN_GROUP))
        self.listeners = [ListenerController(self, spec) for spec in self.topology.listeners]
        try:
            await self.tree.start(ended)
        except NotStarted as error:
            cause = first_cause(error)
            raise cause from cause.__cause__
        warning = cpu_budget(self.topology.nodes)
        if warning:
            self.event("cpu_budget", warning)
        self.event("system_ready", {"nodes": len(self.nodes), "listeners": len(self.listeners)})

    async def stop(self) -> None:
        """Stop everything in reverse; returns when nothing of the system is left."""
        self.stopping = True
        self.event("system_stopping", {})
        async with create_task_group() as beside:
            beside.start_soon(self.groups.end_deaf)
            await self.tree.stop()
            beside.cancel_scope.cancel()
        for life in list(self.lives.values()):
            life.gone(Exit.SHUTDOWN)
        for cell in list(self.host.cells.values()):
            cell.end_for_good(Exit.SHUTDOWN)
        self.threads.close()
        self.launcher.close()
        self.host.memory.close()
        self.event("system_stopped", {})
        self.bus.close()
        self._log.flush()

    # -- nodes ---------------------------------------------------------------------------------

    def group(self, name: str) -> list[RemoteNode]:
        """Return the nodes of a group, by slot; those that are about to end are among them."""
        found = (node for node in self.nodes.values() if node.group == name)
        return sorted(found, key=lambda node: node.slot)

    async def stop_node(self, name: str, grace: float | None) -> None:
        """End a node for good; see `Node.stop`."""
        await self.groups.stop(name, grace)

    async def drain_node(self, name: str, grace: float | None) -> None:
        """Give a node nothing new; see `Node.drain`."""
        await self.groups.drain(name, grace)

    def kill_node(self, name: str) -> None:
        """Kill a node; see `Node.kill`."""
        self.groups.kill(name)

    def new_node_number(self) -> int:
        """Return a number that no run of any node had before."""
        return next(self._numbers)

    def node_config(self) -> dict[str, Any]:
        """Return what every node is told at its start."""
        return {
            "parent": self.host.name,
            "path": [path or "." for path in sys.path],
            "main": describe_main(),
            "topics": self.interests.table(),
            "propagate": list(self.topology.propagate),
            "trace": self.topology.trace,
            "down": [node.address for node in self.nodes.values() if not node.ready],
            "moved": [(node.name, node.address) for node in self.nodes.values()],
        }

    def preload(self, group: str) -> tuple[str, ...]:
        """Return the modules of ours that its nodes import before they are ready, beside those all import."""
        specs = [spec for spec in self.topology.listeners if spec.nodes == group]
        return tuple(name for spec in specs for name in modules_of(spec))

    async def prepare(self, run: RemoteRun) -> None:
        """Do what belongs to a node's boot before it counts as ready."""
        for listening in self.listeners:
            if listening.active and listening.spec.nodes == run.node.group:
                await listening.prepare(run)

    def has_actors(self, node: RemoteNode) -> bool:
        """Whether an actor that is supervised here has its place on *node*."""
        return any(life.place is node for life in self.lives.values())

    def node_ready(self, run: RemoteRun) -> None:
        """A node is ready: make room on it for what will be restarted there, then tell everybody."""
        link = run.link
        node: Any = run.node
        assert link is not None
        for life in self.lives.values():
            if life.place is node:
                ref = life.ref
                link.note(ops.expect_actor, ref.uid, ref.name, ref.cls_path, ref.mailbox)
        self.host.peer(run.address).up(link)
        self._tell_nodes(node, ops.node_up, run.address)
        # Seated first: whoever hears of it may count on its connections.
        for listening in self.listeners:
            listening.node_ready(run)
        self.event("node_ready", {"node": node.name, "pid": run.pid, "restarts": node.restarts})

    def node_draining(self, run: RemoteRun, why: str) -> None:
        """A node is to end in order: nothing new goes there, what it has is finished."""
        node = run.node
        restarting = not node.leaving
        self.event("node_draining", {"node": node.name, "why": why})
        self.host.peer(run.address).drain(why, restarting=restarting)
        self._tell_nodes(node, ops.node_draining, run.address, why, restarting)
        for listening in self.listeners:
            listening.node_draining(run)

    def node_moved(self, node: RemoteNode) -> None:
        """The actors of a node have their place in another of its runs from here on."""
        self.host.node_moved(node.name, node.address)
        self._tell_nodes(node, ops.node_moved, node.name, node.address)

    def node_ended(
        self, run: RemoteRun, link: Link | None, why: str, *, restarting: bool, replaced: bool
    ) -> None:
        """A node's process is gone: tell everybody who counted on it, once."""
        node = run.node
        restarting = restarting and not self.stopping and not node.leaving
        if not run.beside:
            self._count_end(run, why, restarting=restarting, replaced=replaced)
        self.interests.forget(run.address)
        peer = self.host.peer(run.address)
        peer.down(why, restarting=restarting)
        if link is not None:
            peer.drop(link)
        self._tell_nodes(node, ops.node_down, run.address, why, restarting)
        for listening in self.listeners:
            listening.node_ended(run)
        for name in list(self.registry):
            ref = self.registry.get(name)
            if ref is not None and ref.uid >> 32 == run.number:
                self.registry.release(name, ref.uid)
        if node.run is not None:
            return  # another run has its actors
        lost, node.ended = node.ended, {}
        for ended in lost.values():
            ended(Exit.NODE_DOWN(f"{node.name}: {why}"), False)

    def _count_end(self, run: RemoteRun, why: str, *, restarting: bool, replaced: bool) -> None:
        node = run.node
        if not run.retired:
            node.restarts += restarting
        if node.leaving:
            self.groups.forget(node)
        came_back = "node_replaced" if replaced else "node_died"
        kind = came_back if restarting else "node_ended"
        self.event(kind, {"node": node.name, "why": why})

    def node_given_up(self, node: RemoteNode) -> None:
        """A node will not come back."""
        node.lost = True
        if node.leaving:
            self.groups.forget(node)
        if not self.stopping:
            why = "stopped" if node.leaving else "given up"
            self.host.peer(node.address).down(why, restarting=False)
            self._tell_nodes(node, ops.node_down, node.address, why, False)
        node.changed()

    def _tell_nodes(
        self, about: object, op: ops.Note[P], /, *args: P.args, **none: P.kwargs
    ) -> None:
        for node in self.nodes.values():
            if node is not about:
                for link in node.links:
                    link.note(op, *args, **none)

    def write_line(self, line: str) -> None:
        """Write a node's line among our own."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def link_ended(self, link: Link) -> None:
        """A link to a node is at its end; what hung on it is told when it is known how the node ended."""
        run = self.runs.get(link.peer)
        if run is not None and run.link is link:
            run.link_ended()

    # -- what the host asks (Authority) --------------------------------------------------------

    def connect(self, peer: Peer) -> Link:
        """Refuse: every node of this system has a link already, and there are no others."""
        raise NodeDown(peer.name, f"there is no node {peer.name!r}", node=peer.name)

    def watch_actor(
        self, ref: Ref[Any], notice: Callable[[Exit], None], why: str
    ) -> Callable[[], None]:
        """Watch an actor whose node is gone."""
        life = self.lives.get(ref.uid)
        if life is None:
            notice(self.host.ended.get(ref.uid) or Exit.NODE_DOWN(why))
            return lambda: None
        return life.watch(notice)

    async def topic_join(self, name: str) -> None:
        """Have every node know that there are subscribers to a topic here."""
        await self.interests.join(name, self.host.name)

    def topic_leave(self, name: str) -> None:
        """Have them know that there are none any more."""
        self.interests.leave(name, self.host.name)

    def unclaim(self, ref: Ref[Any]) -> None:
        """Give a name back."""
        self.registry.release(ref.name, ref.uid)

    async def claim(self, ref: Ref[Any]) -> None:
        """Take a name for an actor somebody else supervises."""
        self.registry.claim(ref.name)
        self.registry.settle(ref.name, ref)

    async def _new_child_actors(self, name: str) -> ChildActors:
        assert self.local is not None
        return await ChildActors(self.host, self.local, name, self.tasks).open()

    @property
    def life_of(self) -> Callable[[ActorSpec], SupervisedActor]:
        """How a static child gets its books."""
        return self.spawning.life_of

    def life_ended(self, life: SupervisedActor, end: Exit) -> None:
        """An actor is over for good: free its name before anybody hears of it."""
        self.lives.pop(life.ref.uid, None)
        if end.error is not None and end.error.__traceback__ is not None:
            # It goes on to whoever asked for the start; what is remembered keeps none of its frames.
            light = copy_error(end.error, lambda part: part)
            drop_frames(light)
            end = Exit.CRASHED(light)
        self.host.remember(life.ref.uid, end)
        self.registry.release(life.ref.name, life.ref.uid)

"""The coordinator of a running system, in the process that made it.

It decides what only one place can decide (names, placement, restarts) and tells every node, listener
and waiting sender when a node gets ready, drains or ends.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, ParamSpec

from actors._base.errors import NodeDown
from actors._base.import_path import import_path
from actors._base.run_loop import new_task_group
from actors._messaging.blocking_ref import ThreadPortal
from actors._messaging.deadlock import all_waiting
from actors._messaging.mailbox_options import packed
from actors._messaging.message_table import handlers_by_name
from actors._remoting import client_operations as client_ops, operations as ops
from actors._remoting.constructor_args import unpack_value
from actors._remoting.last_value import last_value
from actors._remoting.main_values import MAIN_VALUES
from actors._system.actor_calls import ActorCalls
from actors._system.adoptions import Adoptions
from actors._system.alerts import AlertWatch
from actors._system.breakpoints import Breakpoints
from actors._system.clients import Clients
from actors._system.direct_links import DirectLinks
from actors._system.group_directory import GroupDirectory
from actors._system.group_scaling import GroupScaling
from actors._system.keyed_books import KeyedBooks
from actors._system.kill_deadlines import KillDeadlines
from actors._system.listeners import ListenerController
from actors._system.node_events import EventsOfNodes
from actors._system.node_groups import MAIN_GROUP, NodeGroups
from actors._system.node_services import NodeServices
from actors._system.other_machines import OtherMachines
from actors._system.placement import Placement
from actors._system.pools import Pools
from actors._system.programs import Programs
from actors._system.recycling import Recycling
from actors._system.rolling_reload import RollingReload
from actors._system.supervision_tree import SupervisionTree, first_cause
from actors._system.system_requests import Caller, SystemRequests
from actors._system.system_state import SystemState
from actors._system.topic_directory import TopicDirectory
from actors._system.topology import pools_of
from actors._system.tree_snapshot import whole_tree
from actors._system.unready_nodes import UnreadyNodes
from actors.nodes import (
    BlockWatch,
    ChildActors,
    Link,
    Peer,
    RemoteNode,
    RemoteRun,
    describe_main,
    new_node,
    nodes,
    sibling_facts,
)
from actors.routing import modules_of
from actors.supervisors import ChildNotStarted, Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from actors._base.loop import Loop
    from actors._messaging.ref import Ref
    from actors._remoting.operation import Note
    from actors._system.topology import Topology
    from actors.nodes import Node, NodesSpec

__all__ = ["Coordinator"]

P = ParamSpec("P")


class Coordinator(SystemState):
    """Puts the parts of a running system together, and does what its nodes and its host ask for."""

    node_module = "actors._system.node_main"
    admin: Any = None
    """What serves the dashboard's node; it is made where the control socket is."""
    reports: Any = None
    """Keeps what `actors report` shows; it is made there, too."""
    applying = False
    """Whether an application file is being applied."""

    def __init__(
        self,
        topology: Topology,
        loop: Loop,
        tasks: TaskGroup,
        *,
        end: Callable[[], None],
        local: bool,
    ) -> None:
        super().__init__(topology, loop, tasks, end=end, local=local)
        self.host.services = self
        self.host.link_ended = self.link_ended
        self.host.before_naming = self.share_names
        self.host.new_child_actors = self._new_child_actors
        self.threads: ThreadPortal = ThreadPortal(loop, self.propagation)
        self.pools: Pools = Pools(self, self.threads)
        self.books: KeyedBooks = KeyedBooks(self)
        self.programs: Programs = Programs(self, self.child_processes)
        self.tree: SupervisionTree = SupervisionTree(
            self,
            pools=self.pools,
            books=self.books,
            programs=self.programs,
            new_actor=lambda spec: self.placement.new_static_actor(spec),  # noqa: PLW0108 - made below
            node_backs_off=self.node_backs_off,
            node_given_up=self.node_given_up,
        )
        self.groups: NodeGroups = NodeGroups(self, self.tree, self._new_node, self._node_forgotten)
        self.kill_deadlines: KillDeadlines = KillDeadlines(self, self._actor_unheard)
        self.reloading: RollingReload = RollingReload(self, self.groups)
        self.recycling: Recycling = Recycling(self, self.groups)
        self.scaling: GroupScaling = GroupScaling(self, self.groups)
        self.groups.started = self.scaling.watch
        self.unready: UnreadyNodes = UnreadyNodes(self, self.recycling)
        self.pools.connect(self.tree, self.groups)
        self.programs.connect(self.tree)
        self.placement: Placement = Placement(self, self.tree, self.groups, self.pools.joined)
        self.books.connect(self.tree, self.groups, self.placement)
        self.group_directory: GroupDirectory = GroupDirectory(self)
        self._run_numbers = itertools.count(1)
        self._serve_clients()
        self._block_watch: BlockWatch | None = None
        self.requests: SystemRequests = SystemRequests(
            self, self.tree, self.groups, self.reloading, self.programs
        )
        self.calls: ActorCalls = ActorCalls(self.host, self.pools.find)
        self.events_of_nodes: EventsOfNodes = EventsOfNodes(self)
        self.events_of_nodes.register()
        self._serve_nodes()

    def _serve_nodes(self) -> None:
        self.adoptions: Adoptions = Adoptions(self, self.tree, self.placement)
        NodeServices(
            self,
            self.tree,
            self.groups,
            self.placement,
            self.kill_deadlines,
            self.requests,
            recycling=self.recycling,
            unready=self.unready,
            adoptions=self.adoptions,
        ).register()

    def _serve_clients(self) -> None:
        self.topic_directory: TopicDirectory = TopicDirectory(
            self.host,
            self.runs,
            lambda *interest: self.clients.tell(ops.topic_interest, *interest),
        )
        self.clients: Clients = Clients(
            self, self.topic_directory, self.new_node_number, self._client_ended
        )
        self.machines: OtherMachines = OtherMachines(self, self, lambda: self.reloading.running)
        DirectLinks(self, self.clients, self.machines)
        self.breakpoints: Breakpoints = Breakpoints(self)
        self.alerts: AlertWatch = AlertWatch(self, self.programs.threads)

    # -- start and stop ----------------------------------------------------------------------

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start nodes, tree and listeners, in this order.

        Raises:
            ActorsError: the first thing that failed; what had been started is stopped again.
        """
        for spec in self.topology.nodes:
            self.groups.add(spec)
        self.pools.add_groups(pools_of(self.topology.children))
        if self.local is None and self.topology.has_unplaced and not self.group(MAIN_GROUP):
            self.groups.add(nodes(MAIN_GROUP))
        if self.topology.dashboard is not None:
            self.groups.add(self.topology.dashboard.group())
        self.listeners.extend(
            ListenerController(self, spec) for spec in self.topology.all_listeners
        )
        try:
            await self.tree.start(ended)
        except ChildNotStarted as error:
            cause = first_cause(error)
            raise cause from cause.__cause__
        self.groups.warn_of_cpus()
        for spec in self.topology.nodes:
            self.scaling.watch(spec)
        if self.local is not None:
            self._block_watch = BlockWatch(
                self.host, nodes("local").block_after, self._loop_was_blocked, shared=False
            )
            self._block_watch.start()
        self.alerts.watch(self.topology.alerts)
        self.event("system_ready", {"nodes": len(self.nodes), "listeners": len(self.listeners)})

    async def stop(self) -> None:
        """Stop everything in reverse; returns when nothing of the system is left."""
        self.stopping = True
        self.adoptions.forbid_all()
        if self._block_watch is not None:
            self._block_watch.stop()
        self.recycling.close()
        self.scaling.close()
        self.unready.close()
        self.event("system_stopping", {})
        with ExitStack() as steps:  # whatever one of them raises, the others are done
            steps.callback(self.close)
            steps.callback(self.threads.close)
            steps.callback(self.clients.close)
            steps.callback(self.breakpoints.close)
            steps.callback(self.group_directory.close)
            steps.callback(self.programs.close)
            steps.callback(self._end_rest)
            async with new_task_group() as meanwhile:
                meanwhile.start_soon(self.groups.stop_unresponsive)
                await self.tree.stop()
                meanwhile.cancel_scope.cancel()
            await self.machines.close()

    def abandon(self) -> None:
        """The loop is closed: end the threads and the nodes, which nobody waits for any more."""
        with ExitStack() as steps:
            steps.callback(self.launcher.close)
            steps.callback(self.programs.abandon)
            for run in list(self.runs.values()):
                steps.callback(run.kill)
            steps.callback(self.machines.abandon)
            if self._block_watch is not None:
                steps.callback(self._block_watch.stop)

    def _end_rest(self) -> None:
        """End what the tree has left."""
        for run in list(self.runs.values()):
            run.kill()
        for actor in list(self.supervised.values()):
            actor.gone(Exit.SHUTDOWN)
        for cell in list(self.host.cells.values()):
            cell.end_for_good(Exit.SHUTDOWN)

    def _loop_was_blocked(self, facts: dict[str, Any]) -> None:
        self.event("loop_blocked", {"node": self.host.name, **facts})

    async def whole_tree(self) -> dict[str, Any]:
        """Return the supervision tree as plain data; see `tree_snapshot.whole_tree`."""
        return await whole_tree(self, self.tree)

    # -- what nodes ask for (`RemoteNodeHost`) -----------------------------------------------------

    async def stop_node(self, name: str, grace: float | None) -> None:
        """End a node for good; see `Node.stop`."""
        await self.requests.stop_node(name, grace, self.caller())

    async def drain_node(self, name: str, grace: float | None) -> None:
        """Give a node nothing new; see `Node.drain`."""
        await self.groups.drain(name, grace)

    def kill_node(self, name: str) -> None:
        """Kill a node; see `Node.kill`."""
        self.groups.kill(name, self.host.asker())

    def new_node_number(self) -> int:
        """Return a number that no run of any node has had."""
        return next(self._run_numbers)

    def node_config(self) -> dict[str, Any]:
        """Return the part of a node's configuration that is the same for all nodes."""
        return {
            "parent": self.host.name,
            "path": import_path(),
            "main": describe_main(),
            "topics": self.topic_directory.table(),
            "propagate": list(self.topology.propagate),
            "trace": self.topology.trace,
            "system_id": self.host.system_id,
            "largest": self.topology.largest,
            "lend_per_node": self.topology.lend_per_node,
            "ask_timeout": self.topology.ask_timeout,
            "logging": self.topology.nodes_logging,
            "down": [
                (peer.name, peer.why, peer.restarting, peer.patience)
                for peer in (self.host.peer(node.address) for node in self.nodes.values())
                if not peer.ready
            ],
            "moved": [(node.name, node.address) for node in self.nodes.values()],
            "nodes": [sibling_facts(node) for node in self.all_nodes()],
        }

    def share_names(self) -> None:
        """Tell process nodes what has changed since they were told: `sys.path`, and what was typed here."""
        path = import_path()
        for run in self.runs.values():
            if run.path is not None and run.path != path and run.link is not None:
                run.path = path
                run.link.note(ops.take_path, path)
            if run.path is not None and run.link is not None:
                for data in MAIN_VALUES.definitions[run.definitions :]:
                    run.definitions += 1
                    run.link.note(ops.take_definition, data)

    def all_nodes(self) -> list[Node]:
        """Return all nodes, the one of this process first."""
        own: list[Node] = [] if self.local is None else [self.local]
        return [*own, *self.nodes.values()]

    def caller(self) -> Caller:
        """Return who asks for what this code does, in this process."""
        return Caller(self.host.name, all_waiting(list(self.host.cells.values())))

    def _new_node(self, spec: NodesSpec, slot: int) -> RemoteNode:
        make = partial(new_node, self) if spec.engine is None else self.machines.new_node
        node = make(spec, slot)
        node.notify(partial(self._show_node, node))
        return node

    def _show_node(self, node: RemoteNode) -> None:
        """Tell every node what is known of one now."""
        if self.nodes.get(node.name) is node:
            self._tell_nodes(None, ops.node_seen, sibling_facts(node))

    def _node_forgotten(self, node: RemoteNode) -> None:
        self._tell_nodes(node, ops.node_forgotten, node.name)
        self.machines.node_forgotten(node)

    def imports(self, group: str) -> tuple[str, ...]:
        """Return the modules of this package that the nodes of a group import before they are ready."""
        specs = [spec for spec in self.topology.listeners if spec.nodes == group]
        return tuple(name for spec in specs for name in modules_of(spec))

    def preloaded_apps(self, group: str) -> tuple[str, ...]:
        """Return the modules of the applications that the nodes of a group are forked with."""
        return self.topology.preloaded_apps(group)

    async def prepare(self, run: RemoteRun) -> None:
        """Start the servers of all open listeners on a node that boots, before it counts as ready."""
        for listening in self.listeners:
            if listening.active and listening.spec.nodes == run.node.group:
                await listening.prepare(run)

    def child_processes(self) -> set[int]:
        """Return the numbers of the processes that nodes, their start and programs need."""
        here = [run for run in self.runs.values() if not run.node.place]
        pids = {run.pid for run in here if run.pid is not None}
        return pids | self.programs.pids() | self.launcher.fork_server_pids

    def has_actors(self, node: RemoteNode) -> bool:
        """Whether an actor that is supervised here is, or may be, placed on *node*."""
        placed = any(actor.place is node for actor in self.supervised.values())
        return placed or self.adoptions.may_come(node)

    def actors_with(self, node: RemoteNode, message: str) -> list[str]:
        """Return the names of the actors on *node* that have, as far as this process knows, such a message."""
        there = [actor.ref for actor in self.supervised.values() if actor.place is node]
        classes = [(ref, self.host.class_of(ref.cls_path)) for ref in there]
        return [ref.name for ref, cls in classes if cls is None or message in handlers_by_name(cls)]

    # -- what nodes report -----------------------------------------------------------------------

    def node_ready(self, run: RemoteRun) -> None:
        """A node is ready: have it queue messages for the actors to restart there, then tell all nodes."""
        link = run.link
        node: Any = run.node
        assert link is not None
        self.share_names()
        node.died_at = None
        for actor in self.supervised.values():
            if actor.place is node:
                ref = actor.ref
                link.note(ops.expect_actor, ref.uid, ref.name, ref.cls_path, packed(ref.bounds))
        self.host.peer(run.address).up(link)
        self._tell_nodes(node, ops.node_up, run.address)
        # Before the event: whoever gets it may rely on the node's connections.
        for listening in self.listeners:
            listening.node_ready(run)
        self.recycling.node_ready(run)
        facts = {"node": node.name, "pid": run.pid, "restarts": node.restarts}
        self.event("node_ready", {**facts, "seconds": run.boot_seconds})

    def node_draining(self, run: RemoteRun, why: str) -> None:
        """A node finishes its work: no other node or listener sends it anything new."""
        node = run.node
        self.adoptions.forbid(run)
        restarting = not node.leaving
        self.event("node_draining", {"node": node.name, "why": why})
        # That the link has ended is only a hint that the node has: until that is known, messages wait.
        unknown = run.link is not None and run.link.closed is not None and self.topology.patience
        patience = inf if restarting and (run.renewing or unknown) else 0.0
        self.host.peer(run.address).drain(why, restarting=restarting, patience=patience)
        self._tell_nodes(node, ops.node_draining, run.address, why, restarting, patience)
        for listening in self.listeners:
            listening.node_draining(run)

    def node_moved(self, node: RemoteNode) -> None:
        """Another run of a node has its actors from now on: messages go to that run's address."""
        self.host.node_moved(node.name, node.address)
        self._tell_nodes(node, ops.node_moved, node.name, node.address)

    def node_ended(
        self, run: RemoteRun, link: Link | None, why: str, *, restarting: bool, replaced: bool
    ) -> None:
        """A node's process or thread is gone: tell all nodes, listeners and supervised actors."""
        node = run.node
        restarting = restarting and not self.stopping and not node.leaving
        if not run.successor:
            self._count_end(run, why, restarting=restarting, replaced=replaced)
        self._process_ended(run.address)
        self.recycling.node_ended(run)
        self.unready.node_ended(run)
        self.breakpoints.node_ended(run.address)
        why, restarting = self._outlook(run, why, restarting=restarting)
        patience = 0.0
        if restarting and not run.successor:
            patience = self._patience(node, replaced=replaced)
        self._tell_down(node, run.address, why, restarting=restarting, patience=patience)
        peer = self.host.peer(run.address)
        if link is not None:
            peer.drop(link)
        self.adoptions.node_ended(run, peer.down_error(node.name, None))
        for listening in self.listeners:
            listening.node_ended(run)
        for name in list(self.registry):
            ref = self.registry.get(name)
            if ref is not None and ref.uid >> 32 == run.number:
                self.registry.release(name, ref.uid)
        if node.run is None:  # no other run has its actors
            self._tell_actors(run, why)

    def _process_ended(self, address: str) -> None:
        """Forget what a node or a client had subscribed to, followed and submitted."""
        self.topic_directory.forget(address)
        self.events_of_nodes.node_ended(address)
        self.pools.node_ended(address)
        self.books.node_ended(address)
        self.group_directory.node_ended(address)

    def _client_ended(self, address: str, why: str) -> None:
        self._process_ended(address)
        self._tell_nodes(None, client_ops.client_gone, address, why)

    def _patience(self, node: RemoteNode, *, replaced: bool = False) -> float:
        """Return for how many seconds messages wait for the next run of *node*, which has just ended."""
        now = self.loop.now()
        if node.died_at is None and replaced:
            return inf
        if node.died_at is None:
            node.died_at = now
        return max(0.0, node.died_at + self.topology.patience - now)

    def _tell_down(
        self, node: RemoteNode, address: str, why: str, *, restarting: bool, patience: float
    ) -> None:
        """Tell every node that a run of *node* has ended, or what else is known of its restart."""
        self.host.peer(address).down(why, restarting=restarting, patience=patience)
        self._tell_nodes(node, ops.node_down, address, why, restarting, patience)

    def node_backs_off(self, node: RemoteNode, delay: float) -> None:
        """A node is restarted in *delay* seconds: have nobody wait for it in vain."""
        peer = self.host.peer(node.address)
        if peer.waiting and delay > peer.patience:
            self._tell_down(node, peer.name, peer.why, restarting=True, patience=0.0)

    def _tell_actors(self, run: RemoteRun, why: str) -> None:
        """Tell the supervisors of the actors of a run how they ended."""
        node = run.node
        lost, node.ended = node.ended, {}
        for uid, ended in lost.items():
            if uid in run.end.killed_actors:
                actor = self.supervised.get(uid)
                ended(Exit.KILLED, actor is not None and actor.stop_asked)
            else:
                ended(Exit.NODE_DOWN(f"{node.name}: {why}"), False)

    def _outlook(self, run: RemoteRun, why: str, *, restarting: bool) -> tuple[str, bool]:
        """Return why a node is down, and whether it is expected back, for those who send to it."""
        if not run.failed_restart or self.stopping or run.node.leaving:
            return why, restarting
        # Its supervisor tries again, or gives it up, which `node_given_up` tells.
        return f"its last start failed: {run.failed_restart}", True

    def _count_end(self, run: RemoteRun, why: str, *, restarting: bool, replaced: bool) -> None:
        node = run.node
        if not run.retired:
            node.restarts += restarting
        if node.leaving:
            self.groups.forget(node)
        in_order = replaced or (run.end.uncharged and not run.end.place_lost)
        came_back = "node_replaced" if in_order else "node_died"
        kind = came_back if restarting else "node_ended"
        self.event(kind, {"node": node.name, "why": why})

    def node_given_up(self, node: RemoteNode) -> None:
        """A node will not be started again."""
        node.lost = True
        if node.leaving:
            self.groups.forget(node)
            left = partial(self.pools.node_left, node.group, node.slot)
            self.loop.start(left, name=f"pools of {node.name}", fresh=True)
        if not self.stopping or self.host.peer(node.address).waiting:
            why = "stopped" if node.leaving or self.stopping else "given up"
            self._tell_down(node, node.address, why, restarting=False, patience=0.0)
        node.changed()

    def _tell_nodes(self, about: object, op: Note[P], /, *args: P.args, **none: P.kwargs) -> None:
        for node in self.nodes.values():
            if node is not about:
                for link in node.links:
                    link.note(op, *args, **none)
        self.clients.tell(op, *args, **none)

    def link_ended(self, link: Link) -> None:
        """A link has ended; what awaits a reply over it fails once it is known how the node ended."""
        run = self.runs.get(link.peer)
        if run is not None and run.link is link:
            self.host.peer(link.peer).link_ended(link, inf)
            run.link_ended()
        self.clients.link_ended(link)

    # -- what the host of this process asks for (`SystemServices`) -------------------------------

    def connect(self, peer: Peer) -> None:
        """Refuse: every node of this system has a link already, and there are no others."""
        raise NodeDown(peer.name, f"there is no node {peer.name!r}", node=peer.name)

    def watch_actor(
        self, ref: Ref[Any], notice: Callable[[Exit], None], why: str
    ) -> Callable[[], None]:
        """Watch an actor whose node is gone, or that has ended (without a *why*)."""
        actor = self.supervised.get(ref.uid)
        if actor is not None:
            return actor.watch(notice)
        # What was supervised here did not end with its node: it has ended before, or was given up then.
        lost = Exit.NODE_DOWN(why) if why and ref.uid >> 32 else Exit.FORGOTTEN
        notice(self.host.ended.get(ref.uid, lost))
        return lambda: None

    async def topic_join(self, name: str) -> None:
        """Tell every node that a topic has subscribers in this process."""
        await self.topic_directory.join(name, self.host.name)

    def topic_keep(self, name: str, value: Any) -> None:
        """Keep the last value of a topic."""
        self.topic_directory.values.keep(name, last_value(self.host, name, value))

    async def topic_last(self, name: str) -> tuple[Any, ...]:
        """Return the last value of a topic that was kept, or nothing."""
        return unpack_value(self.host, self.topic_directory.values.last(name))

    def topic_leave(self, name: str) -> None:
        """Tell every node that a topic has no subscribers in this process any more."""
        self.topic_directory.leave(name, self.host.name)

    def unclaim(self, ref: Ref[Any]) -> None:
        """Free the name of an actor that has ended."""
        self.registry.release(ref.name, ref.uid)

    def actor_killed(self, ref: Ref[Any], after: float, by: str) -> None:
        """See that the node of an actor hears of its kill, *after* seconds from now."""
        self.kill_deadlines.begin(ref.uid, ref.name, ref.node, after, by)

    def supervisor_kills(self, uid: int) -> None:
        """See that the node of an actor hears of its kill by its supervisor."""
        actor = self.supervised.get(uid)
        if actor is not None:
            self.actor_killed(actor.ref, 0.0, "its supervisor")

    def _actor_unheard(self, run: RemoteRun, uid: int) -> None:
        """Give up an actor that its node does not end: its askers are told, and in a thread it is ABANDONED."""
        self.host.peer(run.address).actor_unheard(uid)
        self._tell_nodes(run.node, ops.actor_unheard, run.address, uid)
        actor = self.supervised.get(uid)
        if run.fence(uid) and actor is not None:
            actor.watch(partial(self._actor_gone, run.node, uid))
            run.node.actor_ended(uid, Exit.ABANDONED, voluntary=actor.stop_asked)

    def _actor_gone(self, node: RemoteNode, uid: int, end: Exit) -> None:
        """Tell everybody but its node how an actor has ended that was given up once."""
        self.host.given_up(uid, end)
        self._tell_nodes(node, ops.actor_gone, uid, end)

    def stop_actor(self, ref: Ref[Any]) -> None:
        """Take note of a stop; an actor that is not supervised here any more has ended."""

    async def _new_child_actors(self, name: str) -> ChildActors:
        assert self.local is not None
        return await ChildActors(self.host, self.local, name, self.tasks).open()

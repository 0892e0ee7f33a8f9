"""The groups of nodes of a running system: added, scaled, stopped.

Rule 1: of nodes that are started together all get ready, or none is left.
Rule 2: one change of a group at a time. Slots are stable: new nodes take the lowest free slots, and
scaling down stops the nodes with the highest.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from anyio import Lock, move_on_after, sleep

from actors._base.errors import ActorsError, BootFailed, InvalidSpec, SystemStopped
from actors._base.run_loop import new_task_group
from actors._remoting import operations as ops
from actors._system.admin_spec import ADMIN_GROUP
from actors._system.cpu_budget import cpu_budget
from actors._system.supervision_tree import first_cause
from actors.nodes import NodeState, nodes, origin_of
from actors.supervisors import ChildNotStarted, SupervisorStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors._system.supervision_tree import SupervisionTree
    from actors._system.system_state import SystemState
    from actors.nodes import NodesSpec, RemoteNode

__all__ = ["MAIN_GROUP", "NodeGroups"]

MAIN_GROUP: Final = "main"
"""The group that unplaced actors run on when the parent is to stay free of user code."""

_DRAIN_SHARE: Final = 0.8
"""The part of a node's grace in which it finishes its work; in the rest it ends."""

_POLL: Final = 0.5
"""Seconds between two checks that a node answers, while the system stops."""


class NodeGroups:
    """Adds, scales and stops groups, and ends single nodes."""

    def __init__(
        self,
        state: SystemState,
        tree: SupervisionTree,
        new_node: Callable[[NodesSpec, int], RemoteNode],
        forgotten: Callable[[RemoteNode], None],
    ) -> None:
        self._state = state
        self._tree = tree
        self._new_node = new_node
        self._forgotten = forgotten
        self._specs: dict[str, NodesSpec] = {}
        self._changing: dict[str, Lock] = {}
        self.started: Callable[[NodesSpec], None] = lambda _spec: None
        """Called with a group that was added while the system runs."""
        self.scaled: Callable[[str], None] = lambda _name: None
        """Called with the name of a group that has more or fewer nodes now."""

    # -- what there is ----------------------------------------------------------------------

    def add(self, spec: NodesSpec) -> None:
        """Add a group before the system starts; the supervision tree starts its nodes."""
        self._specs[spec.name] = spec
        for slot in range(spec.count):
            self._make(spec, slot)

    @property
    def specs(self) -> Mapping[str, NodesSpec]:
        """The groups that there are, or have been, by name; how many nodes each has is in `members`."""
        return self._specs

    def members(self, name: str) -> list[RemoteNode]:
        """Return the nodes of a group by slot, without those that end for good."""
        return [node for node in self._state.group(name) if not (node.lost or node.leaving)]

    def is_elsewhere(self, name: str | None) -> bool:
        """Return whether a group, or the group of a node, of that name is on other machines."""
        spec = None if name is None else self._specs.get(name.partition("/")[0])
        return spec is not None and spec.engine is not None

    def forget(self, node: RemoteNode) -> None:
        """Remove a node that was stopped on purpose and has ended."""
        if self._state.nodes.get(node.name) is node:
            del self._state.nodes[node.name]
            self._forgotten(node)
            specs = [other.spec for other in self._state.nodes.values()]
            self._state.launcher.keep(origin_of(spec.preload, spec.shared_env) for spec in specs)

    def respecify(self, spec: NodesSpec) -> None:
        """Have every node of a group that starts from now on be one of *spec*, also when one is restarted."""
        self._specs[spec.name] = spec
        for node in self.members(spec.name):
            node.spec = self._completed(spec)
            self._tree.respecify_node(node)

    async def remove(self, name: str) -> None:
        """Stop the nodes of a group, together, and forget it.

        Raises:
            InvalidSpec: a listener is served by it.
        """
        await self.scale(name, 0)
        self._specs.pop(name, None)

    # -- more and fewer ---------------------------------------------------------------------

    async def start(self, spec: NodesSpec) -> list[RemoteNode]:
        """Add a group and return its nodes when all are ready.

        Raises:
            InvalidSpec: there is a group of that name.
            BootFailed: one of them did not get ready; none is left.
            SystemStopped: the system is stopping.
        """
        async with self.changing(spec.name):
            self._check_free(spec.name)
            await self._launch(spec, list(range(spec.count)))
            self.started(spec)
            return self.members(spec.name)

    async def ensure(self, spec: NodesSpec) -> None:
        """Add a group unless it has nodes already."""
        async with self.changing(spec.name):
            if not self.members(spec.name):
                await self._launch(spec, list(range(spec.count)))

    async def ensure_main(self) -> None:
        """Start the group for unplaced actors before the first of them, if the parent is to run none."""
        state = self._state
        if state.local is None and not any(node.ready for node in state.group(MAIN_GROUP)):
            await self.ensure(nodes(MAIN_GROUP))

    async def scale(self, name: str, count: int, *, by_pool: bool = False) -> list[RemoteNode]:
        """Start or stop nodes until a group has *count*; return them when all are ready.

        New ones that still wait for a place, and would be too many, are given up: that call fails.

        Raises:
            InvalidSpec: there is no such group, or it cannot have so many nodes.
            BootFailed: a new one did not get ready; none of the new ones is left.
            SystemStopped: the system is stopping.
        """
        if by_pool:
            self.check(name, count)
        else:
            self.check_scale(name, count)
        self._give_up_waiting(name, count)
        async with self.changing(name):
            spec, have = self._specs[name], self.members(name)
            if count > len(have):
                await self._launch(spec, self._free_slots(spec, count - len(have)))
            ending = [self._mark_leaving(node, None) for node in have[count:]]
            self.scaled(name)
            await self._tree.stop_nodes(ending)
            return self.members(name)

    def _give_up_waiting(self, name: str, count: int) -> None:
        """Start no node beyond *count* that a change which is under way has waiting for its place.

        That takes as long as it takes, if agents have to come by themselves.
        """
        if self.changing(name).locked():
            for node in self.members(name)[count:]:
                waits = node.state is NodeState.WAITING and not node.was_ready
                if waits and node.replacement is not None:
                    node.replacement.main.kill()

    def check_scale(self, name: str, count: object) -> None:
        """Refuse a number of nodes that a group cannot be given by a user.

        Raises:
            InvalidSpec: naming the bad value.
        """
        self.check(name, count)
        if name in self._state.pool_sizes:
            raise InvalidSpec(
                f"the nodes of pool {name!r} are its workers: use Pool.resize({count!r})"
            )

    def check(self, name: str, count: object) -> None:
        """Refuse a group that does not exist, and a number of nodes it cannot have.

        Raises:
            InvalidSpec: naming the bad value.
        """
        state = self._state
        if state.local is not None and name == state.local.name:
            raise InvalidSpec(
                f"{name!r} is the local node: there is one, as long as the system runs"
            )
        if name not in self._specs:
            known = ", ".join(map(repr, self._specs)) or "none"
            raise InvalidSpec(f"there is no group of nodes {name!r}; the groups are {known}")
        if type(count) is not int or count < 0:
            raise InvalidSpec(f"a group has a whole number of nodes, 0 or more; got {count!r}")
        served = [item.spec.name for item in state.listeners if item.spec.nodes == name]
        if count == 0 and served:
            raise InvalidSpec(f"{name}=0 leaves nobody to serve {', '.join(served)}")
        spec = self._specs[name]
        if spec.min is not None and not spec.min <= count <= (spec.max or count):
            raise InvalidSpec(
                f"the group {name!r} scales itself from {spec.min} to {spec.max} nodes; got {count}"
            )
        replace(spec, count=max(1, count))

    # -- ends -------------------------------------------------------------------------------

    async def stop(self, name: str, grace: float | None) -> None:
        """End a node for good; see `Node.stop`."""
        node = self._state.nodes.get(name)
        if node is not None:
            await self._tree.stop_nodes([self._mark_leaving(node, grace)])
            self.forget(node)

    def kill(self, name: str, by: str) -> None:
        """Kill a node for *by*; its supervisor restarts it."""
        node = self._state.nodes.get(name)
        if node is not None and node.run is not None:
            node.run.kill_to_restart(by)

    async def drain(self, name: str, grace: float | None) -> None:
        """Have a node finish its connections and get nothing new; see `Node.drain`."""
        node = self._state.nodes.get(name)
        if node is None or node.state is NodeState.DRAINING:
            return
        if node.run is None or not node.ready:
            raise ActorsError(f"node {name} is not running: it is {node.state.value}")
        seconds = node.spec.shutdown if grace is None else grace
        node.run.drain("it is being drained")
        for listening in self._state.listeners:
            if listening.spec.nodes == node.group:
                await listening.drain_run(node.run, seconds)

    async def stop_unresponsive(self) -> None:
        """End nodes that do not answer, for as long as the system stops.

        The supervisors would wait for each actor of such a node in turn, and would have no time left
        for the actors of the others.
        """
        async with new_task_group() as tasks:
            for node in list(self._state.nodes.values()):
                tasks.start_soon(self._stop_if_unresponsive, node)

    async def _stop_if_unresponsive(self, node: RemoteNode) -> None:
        actors = [actor for actor in self._state.supervised.values() if actor.place is node]
        # The longest that the node, or an actor on it, may take to stop.
        patience = max([2 * node.spec.shutdown, *(actor.shutdown for actor in actors)])
        while (run := node.run) is not None and (link := run.link) is not None:
            with move_on_after(patience) as waited, suppress(ActorsError):
                await link.call(ops.answer)
            if link.closed is not None:
                return  # it has ended
            if waited.cancelled_caught:
                self._state.event("node_hung", {"node": node.name, "seconds": patience})
                # Stopped for good: its supervisor would restart a node that is only killed.
                await self._tree.stop_nodes([(node.name, 0.0)])
                run.kill()
                return
            await sleep(_POLL)

    # -- steps ------------------------------------------------------------------------------

    def changing(self, name: str) -> Lock:
        """Return the lock to hold while a group is changed.

        Raises:
            SystemStopped: the system is stopping.
        """
        if self._state.stopping:
            raise SystemStopped("the system is stopping: it starts and ends no more nodes")
        return self._changing.setdefault(name, Lock())

    def _check_free(self, name: str) -> None:
        local = self._state.local
        if (local is not None and name == local.name) or self.members(name):
            raise InvalidSpec(
                f"there is a group of nodes {name!r} already; more of its nodes: scale({name!r}, ...)"
            )

    def _make(self, spec: NodesSpec, slot: int) -> RemoteNode:
        node = self._new_node(self._completed(spec), slot)
        self._state.nodes[node.name] = node
        self._state.host.peer(node.address).down("not started yet", restarting=True)
        return node

    def _completed(self, spec: NodesSpec) -> NodesSpec:
        """Return a spec with what the listeners that its nodes serve add to it."""
        topology = self._state.topology
        serves = any(item.nodes == spec.name for item in topology.listeners)
        apps = topology.preloaded_apps(spec.name)
        return replace(spec, preload=[*spec.preload, *apps]).with_hang_after(serves=serves)

    def _free_slots(self, spec: NodesSpec, count: int) -> list[int]:
        """Return the lowest slots that no node has; a node that is ending still has its slot."""
        taken = self._tree.node_names()
        free: list[int] = []
        slot = 0
        while len(free) < count:
            if spec.named(slot) not in taken:
                free.append(slot)
            slot += 1
        return free

    async def _launch(self, spec: NodesSpec, slots: list[int]) -> None:
        """Start nodes together; all of them get ready, or none is left."""
        added = [self._make(spec, slot) for slot in slots]
        try:
            await self._tree.add_nodes(added)
        except BaseException as error:
            for node in added:
                self.forget(node)
            if isinstance(error, SupervisorStopped):
                raise SystemStopped("the system is stopping: it starts no more nodes") from error
            if isinstance(error, ChildNotStarted):
                cause = first_cause(error)
                if isinstance(cause, ChildNotStarted):  # nothing raised: somebody has stopped it
                    text = f"node {cause.child} was stopped before it was ready"
                    raise BootFailed(text) from error
                raise cause from cause.__cause__
            raise
        self._specs[spec.name] = spec
        self.warn_of_cpus()

    def warn_of_cpus(self) -> None:
        """Report it if the nodes there are now, with the pools, ask for more CPUs than there are."""
        pools = self._state.pool_sizes
        here = [(name, spec) for name, spec in self._specs.items() if spec.engine is None]
        groups = [(spec, len(self.members(name))) for name, spec in here]
        now = [
            replace(spec, count=count)
            for spec, count in groups
            if count and spec.name not in pools and spec.name != ADMIN_GROUP
        ]
        warning = cpu_budget(now, pools)
        if warning:
            self._state.event("cpu_budget", warning)

    def _mark_leaving(self, node: RemoteNode, grace: float | None) -> tuple[str, float]:
        """Mark *node* as ending for good; return its name, and the seconds until it is killed."""
        seconds = node.spec.shutdown if grace is None else grace
        node.leaving = True
        node.drain_within = _DRAIN_SHARE * seconds
        return node.name, seconds

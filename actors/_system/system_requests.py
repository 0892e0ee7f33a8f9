"""What code anywhere in a system may ask of it: changes of the tree and of the groups of nodes.

Rule 1: a request that ends an actor which waits for the answer, or the node of one, is accepted: it is
checked and begun, and answered before it is done. Its progress is in the events, a failure too.
Rule 2: any other request is answered when it is done; one that is cancelled leaves no half of it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from actors._base.errors import ActorsError
from actors.nodes import ActorRun
from actors.supervisors import DynamicSupervisor, Supervisor, SupervisorStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    from actors._messaging.ref import Ref
    from actors._remoting.operations import Chain
    from actors._system.node_groups import NodeGroups
    from actors._system.programs import Programs
    from actors._system.rolling_reload import RollingReload
    from actors._system.supervision_tree import SupervisionTree
    from actors._system.system_state import SystemState
    from actors._system.tree_specs import TreeSpec
    from actors.supervisors import ChildInfo, Count

__all__ = ["Caller", "SystemRequests"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: code on a node, for which the actors of a chain wait, the asking one last."""

    node: str
    chain: Chain = ()

    def __str__(self) -> str:
        if not self.chain:
            return f"node {self.node}"
        number, name = self.chain[-1]
        return f"actor {name}" if number else name


class SystemRequests:
    """Carries out requests for the tree and for groups of nodes, whoever makes them."""

    def __init__(
        self,
        state: SystemState,
        tree: SupervisionTree,
        groups: NodeGroups,
        reloading: RollingReload,
        programs: Programs,
    ) -> None:
        self._state = state
        self._tree = tree
        self._groups = groups
        self._reloading = reloading
        self._programs = programs

    # -- supervisors ------------------------------------------------------------------------

    async def start_child(self, path: str, item: TreeSpec, caller: Caller) -> Ref[Any] | None:
        """Add a child to a supervisor; see `SupervisorRef.start_child`."""
        return await self._tree.find(path).start_child(item, caller.chain)

    async def stop_child(self, path: str, name: str, caller: Caller) -> None:
        """Stop a child for good; see `SupervisorRef.stop_child`."""
        handle = self._tree.find(path)
        row = next((row for row in handle.children() if row.name == name), None)
        waiting = {uid for uid, _ in caller.chain}
        if row is not None and not waiting.isdisjoint(_actors_of(row)):
            handle.check_stop(name)
            self._begin(f"the stop of {name!r}", caller, handle.stop_child, name)
        else:
            await handle.stop_child(name)

    async def restart_child(self, path: str, name: str, caller: Caller) -> Ref[Any] | None:
        """Start a stopped child again; see `SupervisorRef.restart_child`."""
        return await self._tree.find(path).restart_child(name, caller.chain)

    async def delete_child(self, path: str, name: str) -> None:
        """Forget a stopped child; see `SupervisorRef.delete_child`."""
        self._tree.find(path).delete_child(name)

    async def children(self, path: str) -> list[ChildInfo]:
        """Return the children of a supervisor; see `SupervisorRef.children`."""
        handle = self._tree.find(path)
        return [
            replace(row, child=cast("Any", self._tree.ref_of(row.child)))
            for row in handle.children()
        ]

    async def count(self, path: str) -> Count:
        """Return how many children a supervisor has."""
        return self._tree.find(path).count()

    # -- groups of nodes --------------------------------------------------------------------

    async def scale(self, group: str, count: int, caller: Caller) -> list[str]:
        """Have *count* nodes in a group, or instances of a program; return the names of the nodes."""
        if self._programs.find(group) is not None:
            await self._programs.scale(group, count)
            return []
        self._groups.check_scale(group, count)
        members = [node.name for node in self._groups.members(group)]
        if self._ends(caller, members[count:]):
            self._begin(f"scaling {group!r} to {count}", caller, self._groups.scale, group, count)
            return members[:count]
        return [node.name for node in await self._groups.scale(group, count)]

    async def reload(
        self, names: Sequence[str], caller: Caller, *, surge: bool, ready_timeout: float | None
    ) -> list[str]:
        """Renew nodes, then instances of programs, one by one; return the names of the nodes."""
        by = "system.reload()" if caller.node == self._state.host.name else str(caller)
        programs = [name for name in names if self._programs.find(name) is not None]
        names = [name for name in names if name not in programs]
        found: list[str] = []
        if names or not programs:
            found = await self._reload_nodes(
                names, caller, by, surge=surge, ready_timeout=ready_timeout
            )
        if programs:
            await self._programs.reload(programs, by=by, ready_timeout=ready_timeout)
        return found

    async def _reload_nodes(
        self,
        names: Sequence[str],
        caller: Caller,
        by: str,
        *,
        surge: bool,
        ready_timeout: float | None,
    ) -> list[str]:
        found = [
            node.name
            for node in self._reloading.check(names, surge=surge, ready_timeout=ready_timeout)
        ]

        async def reload() -> None:
            await self._reloading.reload(names, surge=surge, ready_timeout=ready_timeout, by=by)

        if self._ends(caller, found):
            self._begin("the reload", caller, reload)
        else:
            await reload()
        return found

    async def stop_node(self, name: str, grace: float | None, caller: Caller) -> None:
        """End a node for good; see `Node.stop`; one that has ended is no error."""
        if self._ends(caller, [name]):
            self._begin(f"the stop of {name}", caller, self._groups.stop, name, grace)
        else:
            await self._groups.stop(name, grace)

    async def drain_node(self, name: str, grace: float | None) -> None:
        """Give a node nothing new; see `Node.drain`."""
        await self._groups.drain(name, grace)

    def kill_node(self, name: str, by: str) -> None:
        """Kill a node, which is restarted."""
        self._groups.kill(name, by)

    async def node_stats(self, name: str) -> dict[str, Any]:
        """Return the figures of a node."""
        local = self._state.local
        if local is not None and name == local.name:
            return await local.stats()
        node = self._state.nodes.get(name)
        if node is None:
            raise ActorsError(f"node {name} is not running: it has ended for good")
        return await node.stats()

    # -- who is ended by them ---------------------------------------------------------------

    def _ends(self, caller: Caller, nodes: Iterable[str]) -> bool:
        """Whether *nodes* has the caller's node, or that of an actor which waits for the answer."""
        return not {caller.node, *self._nodes_of(caller.chain)}.isdisjoint(nodes)

    def _nodes_of(self, chain: Chain) -> Iterator[str]:
        state = self._state
        numbers = {run.number: run.node.name for run in state.runs.values()}
        for uid, _ in chain:
            actor = state.supervised.get(uid)
            if actor is not None:
                yield actor.place.name
            elif uid >> 32 in numbers:
                yield numbers[uid >> 32]

    def _begin(
        self,
        what: str,
        caller: Caller,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        *args: Any,
    ) -> None:
        self._state.carry_out(what, str(caller), partial(fn, *args))


def _actors_of(row: ChildInfo) -> Iterator[int]:
    """Yield the numbers of the actors that run below a row of a supervisor."""
    run = row.child
    if isinstance(run, ActorRun):
        yield run.ref.uid
    elif isinstance(run, Supervisor | DynamicSupervisor):
        with suppress(SupervisorStopped):  # it has just ended
            for inner in run.children():
                yield from _actors_of(inner)

"""The supervision tree of a running system.

Children start in this order and stop in reverse:

    system ─┬─ nodes       all nodes, each with a backoff of its own
            ├─ spawned     what `System.spawn` starts, each with its backoff
            ├─ (children)  the topology's own, under the top-level budget
            └─ listeners
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import InvalidSpec
from actors._base.run_loop import new_task_group
from actors._system.concurrent_supervisor import ConcurrentSupervisor
from actors._system.keyed_spec import KeyedSpec
from actors._system.pool_spec import PoolSpec
from actors._system.program_spec import ProgramSpec
from actors._system.supervisor_handle import SupervisorHandle
from actors._system.topology import programs_of
from actors._system.tree_specs import (
    SYSTEM_SUPERVISORS,
    ActorSpec,
    DynamicSpec,
    SupervisorSpec,
)
from actors.nodes import ActorRun, NodeReplacement, StaticChild, child_facts
from actors.programs import ProgramInstance
from actors.supervisors import (
    Backoff,
    Child,
    ChildInfo,
    ChildNotStarted,
    ChildSpec,
    ChildState,
    DynamicSupervisor,
    Exit,
    Restart,
    RestartScheduled,
    Supervisor,
    SupervisorStopped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._messaging.ref import Ref
    from actors._remoting.operations import Chain
    from actors._system.listeners import ListenerController
    from actors._system.system_state import SystemState
    from actors._system.tree_specs import TreeSpec
    from actors.nodes import RemoteNode, SupervisedActor
    from actors.supervisors import AdoptedChild, SupervisorEvent

__all__ = ["SupervisionTree", "child_row", "first_cause"]

_SHUTDOWN_DEADLINE: Final = 30.0
"""Seconds that the orderly end of a whole system may take, after its listeners, if no node has longer."""


class TreePools(Protocol):
    """The pools of the system, as the tree sees them."""

    async def prepare(self, item: TreeSpec) -> list[PoolSpec[Any]]: ...
    async def abandon(self, specs: list[PoolSpec[Any]]) -> None: ...
    def begin(self, spec: PoolSpec[Any], handle: SupervisorHandle) -> None: ...
    def gone(self, spec: PoolSpec[Any]) -> None: ...


class TreeBooks(Protocol):
    """The address books of the system, as the tree sees them."""

    def begin(self, spec: KeyedSpec[Any, Any], handle: SupervisorHandle) -> None: ...
    def gone(self, spec: KeyedSpec[Any, Any]) -> None: ...


class TreePrograms(Protocol):
    """The programs of the system, as the tree sees them."""

    def check(self, specs: Sequence[ProgramSpec]) -> None: ...
    def begin(self, spec: ProgramSpec, handle: SupervisorHandle) -> None: ...
    def children(self, spec: ProgramSpec) -> list[ChildSpec]: ...
    def gone(self, spec: ProgramSpec) -> None: ...


class SupervisionTree:
    """Builds the supervisors of one system and runs them."""

    def __init__(
        self,
        state: SystemState,
        *,
        new_actor: Callable[[ActorSpec[Any]], SupervisedActor],
        pools: TreePools,
        books: TreeBooks,
        programs: TreePrograms,
        node_backs_off: Callable[[RemoteNode, float], None],
        node_given_up: Callable[[RemoteNode], None],
    ) -> None:
        self._state = state
        self._new_actor = new_actor
        self._node_backs_off = node_backs_off
        self._node_given_up = node_given_up
        self.pools = pools
        self._tree_books = books
        self._tree_programs = programs
        self._started = False
        self.handles: dict[str, SupervisorHandle] = {}
        self._pools: dict[str, PoolSpec[Any]] = {}
        self._books: dict[str, KeyedSpec[Any, Any]] = {}
        self._programs: dict[str, ProgramSpec] = {}

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start everything; if a child cannot be started, stop the rest again and raise its error."""
        state = self._state
        top = self.handle("")
        self.root: Supervisor = Supervisor(
            "system",
            [
                self._internal("nodes", partial(self._new_nodes, list(state.nodes.values()))),
                self._internal("spawned", self._new_spawned),
                *[self.spec_of(item, top, again=True) for item in state.topology.children],
                *[self._listener(listener) for listener in state.listeners],
            ],
            tasks=state.tasks,
            budget=state.topology.budget,
            report=state.report,
            shutdown_deadline=self._deadline(),
        )
        top.set_run(self.root)
        await self.root.start(ended)
        self._started = True

    def _deadline(self) -> float:
        """Return how long the end may take: a node that ends may take twice its `shutdown`."""
        topology = self._state.topology
        graces = [group.shutdown for group in topology.nodes]
        graces += [spec.program.shutdown for spec in topology.programs]
        longest = max(graces, default=0.0)
        return max(_SHUTDOWN_DEADLINE, 4 * longest)

    async def stop(self) -> None:
        """Stop everything in reverse; all listeners together, within the `shutdown` of their nodes."""
        if self._started:
            async with new_task_group() as tasks:
                for listening in self._state.listeners:
                    tasks.start_soon(listening.drain)
            self.root.stop()
            await self.root.wait()

    def kill(self) -> None:
        """End everything at once."""
        if self._started:
            self.root.kill()

    def _internal(self, name: str, start: Callable[[], Any]) -> ChildSpec:
        """A supervisor whose children all have a backoff: no budget can end it before the system ends."""
        return ChildSpec(name=name, start=start, kind="supervisor", shutdown=math.inf)

    def _new_nodes(self, nodes: list[RemoteNode]) -> DynamicSupervisor:
        state = self._state
        specs = [self._node(node) for node in nodes]
        self.nodes: ConcurrentSupervisor = ConcurrentSupervisor(
            "nodes", specs, tasks=state.tasks, report=self._report_of_nodes
        )
        return self.nodes

    def _report_of_nodes(self, record: SupervisorEvent) -> None:
        state = self._state
        state.report(record)
        if isinstance(record, RestartScheduled) and record.child in state.nodes:
            self._node_backs_off(state.nodes[record.child], record.delay)

    def _new_spawned(self) -> DynamicSupervisor:
        state = self._state
        self.spawned: DynamicSupervisor = DynamicSupervisor(
            "spawned", tasks=state.tasks, report=state.report
        )
        return self.spawned

    def _node(self, node: RemoteNode) -> ChildSpec:
        return ChildSpec(
            name=node.name,
            start=partial(NodeReplacement, node),
            backoff=node.spec.backoff,
            shutdown=2 * node.spec.shutdown,
            uncharged=lambda _end: node.ended_for_others,
            futile=lambda _end: node.futile is True,
            gone=lambda _end: self._node_given_up(node),
        )

    def _listener(self, listener: ListenerController) -> ChildSpec:
        return ChildSpec(
            name=f"listener {listener.spec.name}",
            start=listener.new_run,
            shutdown=2 * listener.shutdown,
        )

    def handle(self, path: str) -> SupervisorHandle:
        """Return the handle of the supervisor at *path*; the same one over all its restarts."""
        handle = self.handles.get(path)
        if handle is None:
            handle = self.handles[path] = SupervisorHandle(self, path)
        return handle

    def _set_run(self, handle: SupervisorHandle, run: Supervisor | DynamicSupervisor) -> None:
        """Give a handle its next run; the handle is listed again if it was stopped for good before."""
        self.handles[handle.path] = handle
        handle.set_run(run)

    def _gone(
        self,
        outer: SupervisorHandle,
        handle: SupervisorHandle,
        again: bool,  # noqa: FBT001 - given by `partial`
        _end: Exit,
    ) -> None:
        """Forget a subtree that has ended, unless it may come *again* with its parent, which ends too."""
        if again and not outer.supervisor.running:
            return
        below = f"{handle.path}/"
        for path in [path for path in self.handles if path.startswith(below)]:
            _give_up(self.handles.pop(path))
            self._end_owner(path)
        self.handles.pop(handle.path, None)
        self._end_owner(handle.path)
        _give_up(handle)

    def _end_owner(self, path: str) -> None:
        pool, book = self._pools.pop(path, None), self._books.pop(path, None)
        if pool is not None:
            self.pools.gone(pool)
        if book is not None:
            self._tree_books.gone(book)
        program = self._programs.pop(path, None)
        if program is not None:
            self._tree_programs.gone(program)

    def find(self, path: str) -> SupervisorHandle:
        """Return the handle of the supervisor at *path*.

        Raises:
            SupervisorStopped: it has ended for good; its parent still has its spec.
            InvalidSpec: there is none.
        """
        if path in self.handles:
            return self.handles[path]
        if path == "spawned":
            handle = SupervisorHandle(self, path)
            handle.set_run(self.spawned)
            return handle
        if path in SYSTEM_SUPERVISORS:
            instead = SYSTEM_SUPERVISORS[path]
            raise InvalidSpec(f"supervisor {path!r} is the system's own, and not open: {instead}")
        above, _, name = path.rpartition("/")
        rows = self.handles[above].children() if above in self.handles else []
        row = next((row for row in rows if row.name == name and row.kind == "supervisor"), None)
        if row is not None:
            again = f"supervisor({above!r}).restart_child({name!r}) starts it again"
            raise SupervisorStopped(path, f"it is {row.state.value} ({row.last_exit}); {again}")
        known = ", ".join(sorted(filter(None, self.handles))) or "none"
        raise InvalidSpec(f"there is no supervisor {path!r}; there are {known}")

    def spec_of(
        self,
        item: TreeSpec,
        handle: SupervisorHandle,
        *,
        again: bool = False,
        chain: Chain = (),
    ) -> ChildSpec:
        """Return the `ChildSpec` of one part of the topology.

        Args:
            item: the part.
            handle: of the supervisor above it.
            again: whether every run of that supervisor has it, so that actors keep their addresses.
            chain: the actors that wait for its first start.
        """
        if isinstance(item, ActorSpec):
            return self._actor(item, handle, again=again, chain=chain)
        if not again:
            self._tree_programs.check(list(programs_of([item])))
        inner = self.handle(f"{handle.path}/{item.name}" if handle.path else item.name)
        inner.chain = chain
        handle.subtrees[item.name] = item
        if isinstance(item, PoolSpec):
            self._pools[inner.path] = item
            self.pools.begin(item, inner)
        if isinstance(item, KeyedSpec):
            self._begin_book(item, inner)
        start: Callable[[], Child]
        if isinstance(item, ProgramSpec):
            self._begin_program(item, inner)
            start = partial(self._new_program, item, inner)
        elif isinstance(item, DynamicSpec):
            start = partial(self._new_dynamic, item, inner)
        else:
            start = partial(self._new_static, item, inner)
        return ChildSpec(
            name=item.name,
            start=start,
            kind="supervisor",
            restart=item.restart,
            significant=item.significant,
            gone=partial(self._gone, handle, inner, again),
        )

    def ref_of(self, run: object) -> Ref[Any] | None:
        """Return the address of a run, if it is an actor's."""
        return run.ref if isinstance(run, ActorRun) else None

    def _may_come_back(self, handle: SupervisorHandle) -> bool:
        """Return whether a supervisor is ending and may be started again, alone or with the one above."""
        if handle.supervisor.running:
            return False
        above = self.handles.get(handle.path.rpartition("/")[0]) if handle.path else None
        return handle.restart is not Restart.TEMPORARY or (
            above is not None and not above.supervisor.running
        )

    def _new_static(self, item: SupervisorSpec, handle: SupervisorHandle) -> Supervisor:
        state = self._state
        above, _, name = handle.path.rpartition("/")
        redefined = self.handles[above].subtrees.get(name) if above in self.handles else None
        if isinstance(redefined, SupervisorSpec):
            item = redefined
        handle.restart = item.restart
        chain, handle.chain = handle.chain, ()
        if isinstance(item, PoolSpec):  # also one that was stopped and is started again
            self._pools[handle.path] = item
            self.pools.begin(item, handle)
        made = Supervisor(
            handle.path,
            [self.spec_of(inner, handle, again=True, chain=chain) for inner in item.children],
            tasks=state.tasks,
            strategy=item.strategy,
            budget=item.budget,
            auto_shutdown=item.auto_shutdown,
            report=state.report,
        )
        self._set_run(handle, made)
        return made

    def _begin_book(self, item: KeyedSpec[Any, Any], handle: SupervisorHandle) -> None:
        self._books[handle.path] = item
        self._tree_books.begin(item, handle)

    def _begin_program(self, item: ProgramSpec, handle: SupervisorHandle) -> None:
        self._tree_programs.begin(item, handle)
        self._programs[handle.path] = item

    def _new_program(self, item: ProgramSpec, handle: SupervisorHandle) -> ConcurrentSupervisor:
        state = self._state
        self._begin_program(item, handle)  # also one that was stopped and is started again
        made = ConcurrentSupervisor(
            handle.path,
            self._tree_programs.children(item),
            tasks=state.tasks,
            report=state.report,
            budget=item.budget,
        )
        self._set_run(handle, made)
        return made

    def _new_dynamic(self, item: DynamicSpec, handle: SupervisorHandle) -> DynamicSupervisor:
        state = self._state
        if isinstance(item, KeyedSpec):  # also one that was stopped and is started again
            self._begin_book(item, handle)
        made = DynamicSupervisor(
            handle.path,
            tasks=state.tasks,
            budget=item.budget,
            max_children=item.max_children,
            report=state.report,
        )
        self._set_run(handle, made)
        return made

    def _actor(
        self, item: ActorSpec[Any], handle: SupervisorHandle, *, again: bool, chain: Chain
    ) -> ChildSpec:
        def new_life() -> SupervisedActor:
            life = self._new_actor(item)
            life.supervisor = handle
            life.restart = item.restart
            return life

        if not again:
            static = StaticChild(new_life)
        elif item.name in handle.statics:
            static = handle.statics[item.name]
        else:
            static = StaticChild(new_life, partial(self._may_come_back, handle))
            handle.statics[item.name] = static
        static.chain = tuple((number, name) for number, name in chain)
        return ChildSpec(
            name=item.name,
            start=static.new_run,
            restart=item.restart,
            backoff=item.backoff,
            shutdown=item.shutdown,
            significant=item.significant,
            uncharged=static.uncharged,
            gone=static.gone,
            host=static,
        )

    def describe(self) -> dict[str, Any]:
        """Return the tree as plain data, children in start order."""
        children = [_child_facts(info) for info in reversed(self.root.children())]
        return {
            "name": self.root.name,
            "kind": "supervisor",
            "state": "RUNNING",
            "children": children,
        }

    def children_at(self, path: str) -> list[ChildInfo]:
        """Return the children of any supervisor in start order, those of the system itself included.

        Raises:
            InvalidSpec: there is none at *path*, or it does not run.
        """
        run: Any = self.root
        for name in filter(None, path.split("/")):
            run = next((info.child for info in run.children() if info.name == name), None)
            if not isinstance(run, Supervisor | DynamicSupervisor):
                raise InvalidSpec(f"no supervisor runs at {path!r}")
        return list(reversed(run.children()))

    async def add_actor(
        self, life: SupervisedActor, restart: Restart, backoff: Backoff, shutdown: float
    ) -> None:
        """Start an actor under the system's own dynamic supervisor."""
        await self.spawned.start_child(self._spawned_actor(life, restart, backoff, shutdown))

    def adopt_actor(
        self, life: SupervisedActor, run: ActorRun, restart: Restart, backoff: Backoff
    ) -> AdoptedChild:
        """Have an actor supervised as `add_actor` does, whose node has begun to start *run* by itself."""
        return self.spawned.adopt_child(
            self._spawned_actor(life, restart, backoff, life.shutdown), run
        )

    def _spawned_actor(
        self, life: SupervisedActor, restart: Restart, backoff: Backoff, shutdown: float
    ) -> ChildSpec:
        life.supervisor = self.spawned
        return ChildSpec(
            name=life.ref.name,
            start=life.new_run,
            restart=restart,
            backoff=backoff,
            shutdown=shutdown,
            gone=life.gone,
            host=life.place,
        )

    async def add_nodes(self, nodes: Sequence[RemoteNode]) -> None:
        """Start more nodes, together; if one does not get ready, stop the others again."""
        await self.nodes.add([self._node(node) for node in nodes])

    async def stop_nodes(self, nodes: Sequence[tuple[str, float]]) -> None:
        """Stop nodes for good, together; *nodes* has their names and the seconds until each is killed."""
        await self.nodes.end(nodes)

    def respecify_node(self, node: RemoteNode) -> None:
        """Have the next restarts of a node be by its present spec."""
        self.nodes.respecify(self._node(node))

    async def open_listener(self, listener: ListenerController) -> None:
        """Add a listener, and open it."""
        await self.root.start_child(self._listener(listener))

    async def close_listener(self, listener: ListenerController) -> None:
        """Close a listener for good; its nodes have finished its connections."""
        name = self._listener(listener).name
        await self.root.stop_child(name)
        self.root.delete_child(name)

    def redefine(self, path: str, item: TreeSpec) -> None:
        """Have the next restart of the supervisor at *path* start what *item* has."""
        above, _, name = path.rpartition("/")
        if above in self.handles:
            self.handles[above].subtrees[name] = item

    def node_names(self) -> set[str]:
        """Return the names of all nodes, including those that are being started or stopped."""
        return {info.name for info in self.nodes.children()}


def _give_up(handle: SupervisorHandle) -> None:
    """End the actors of a supervisor that does not come back."""
    statics = list(handle.statics.values())
    handle.statics.clear()
    for static in reversed(statics):
        static.give_up()


def first_cause(error: BaseException) -> BaseException:
    """Return the error that the innermost of a chain of failed starts raised."""
    while isinstance(error, ChildNotStarted) and error.__cause__ is not None:
        error = error.__cause__
    return error


def child_row(info: ChildInfo) -> dict[str, Any]:
    """Return a child of a supervisor as plain data, without those below it."""
    facts = child_facts(info)
    run = info.child
    if isinstance(run, NodeReplacement):
        facts |= {"kind": "node", "pid": run.node.pid, "node_state": run.node.state.value}
        facts |= run.node.where
    elif isinstance(run, ProgramInstance):
        state = facts["state"] if info.state is not ChildState.RUNNING else run.main.state.value
        facts |= {"kind": "program", "pid": run.main.pid, "port": run.main.port, "state": state}
    return facts


def _child_facts(info: ChildInfo) -> dict[str, Any]:
    facts, run = child_row(info), info.child
    if isinstance(run, Supervisor | DynamicSupervisor):
        facts["children"] = [_child_facts(inner) for inner in reversed(run.children())]
    return facts

"""The pools of a running system, in the process that made it: their queues, and who submits to them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from anyio import Event, Lock

from actors._base.errors import ActorsError, CallCycle, InvalidSpec
from actors._messaging.deadlock import waiting_chain
from actors._pools import Loss, Pool, PoolClients, Submitter
from actors._remoting import pool_operations as ops
from actors._system.pool_control import PoolControl
from actors._system.pool_spec import DEFAULT_POOL, PoolSpec, pool
from actors._system.sent_specs import tree_item_from
from actors._system.supervision_tree import first_cause
from actors._system.topology import has_unplaced
from actors._system.tree_specs import SupervisorSpec, path_of
from actors.supervisors import ChildNotStarted, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors._messaging.blocking_ref import ThreadPortal
    from actors._messaging.ref import Ref
    from actors._pools import PoolQueue, PoolStats
    from actors._remoting.operations import Chain
    from actors._system.node_groups import NodeGroups
    from actors._system.sent_specs import Sent
    from actors._system.supervision_tree import SupervisionTree
    from actors._system.supervisor_handle import SupervisorHandle
    from actors._system.system_state import SystemState
    from actors._system.tree_specs import ActorSpec, TreeSpec
    from actors.nodes import Link, SupervisedActor

__all__ = ["Pools"]


class _Submitter(Submitter, Protocol):
    """A process that submits tasks, and hears of the ends of pools."""

    def pool_draining(self, pool: int, why: str) -> None: ...
    def pool_ended(self, pool: int, why: str) -> None: ...


class _NodeSubmitter:
    """A node that submits tasks, as the queues see it."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def place_given(
        self, pool: int, ticket: int, member: Ref[Any], functions: Ref[Any], number: int
    ) -> None:
        """As `Submitter.place_given`."""
        self.link.note(ops.place_given, pool, ticket, member, functions, number)

    def task_returned(self, pool: int, ticket: int, value: Any) -> None:
        """As `Submitter.task_returned`."""
        self.link.note(ops.task_returned, pool, ticket, value)

    def task_lost(self, pool: int, ticket: int, why: str, loss: Loss) -> None:
        """As `Submitter.task_lost`."""
        self.link.note(ops.task_lost, pool, ticket, why, int(loss))

    def room_changed(self, pool: int, room: bool) -> None:  # noqa: FBT001 - a wire field
        """As `Submitter.room_changed`."""
        self.link.note(ops.pool_room, pool, room)

    def pool_draining(self, pool: int, why: str) -> None:
        """As `PoolClients.pool_draining`."""
        self.link.note(ops.pool_draining, pool, why)

    def pool_ended(self, pool: int, why: str) -> None:
        """As `PoolClients.pool_ended`."""
        self.link.note(ops.pool_ended, pool, why)


class _Places:
    """A pool's queue as one submitter reaches it (`Places`): directly, or by what comes over its link."""

    def __init__(self, pools: Pools, submitter: _Submitter, number: int) -> None:
        self._pools = pools
        self._queues = pools.queues
        self._submitter = submitter
        self._number = number

    @property
    def _queue(self) -> PoolQueue | None:
        return self._queues.get(self._number)

    def enter(
        self, ticket: int, priority: int, *, again: bool, asked_by: Chain, in_line: bool
    ) -> None:
        queue = self._queues.get(self._number)
        if queue is None:
            self._submitter.pool_ended(self._number, "it has ended")
        else:
            queue.enter(
                self._submitter, ticket, priority, again=again, asked_by=asked_by, in_line=in_line
            )

    def withdraw(self, ticket: int) -> None:
        if (queue := self._queue) is not None:
            queue.withdraw(self._submitter, ticket)

    def done(self, ticket: int, *, failed: bool, renew: str) -> None:
        queue = self._queues.get(self._number)
        if queue is not None:
            queue.done(self._submitter, ticket, failed=failed, renew=renew)

    def undelivered(self, ticket: int, priority: int) -> None:
        if (queue := self._queue) is not None:
            queue.undelivered(self._submitter, ticket, priority)

    def given_back(self, ticket: int, priority: int) -> None:
        if (queue := self._queue) is not None:
            queue.given_back(self._submitter, ticket, priority)

    def broken(self, ticket: int) -> None:
        if (queue := self._queue) is not None:
            queue.broken(self._submitter, ticket)

    def overdue(self, ticket: int, why: str) -> None:
        if (queue := self._queue) is not None:
            queue.overdue(self._submitter, ticket, why)

    async def members(self) -> list[Ref[Any]]:
        return self._pools.running(self._number).members()

    async def stats(self) -> PoolStats:
        return self._pools.running(self._number).queue.stats()

    async def resize(self, size: int) -> int:
        return await self._pools.running(self._number).resize(size)

    async def stop(self, *, drain: bool) -> None:
        await self._pools.stop(self._number, drain=drain, chain=waiting_chain())

    async def wait(self) -> str:
        return await self._pools.wait(self._number, waiting_chain())


class Pools:
    """Makes and finds pools, and serves the nodes that submit to them."""

    def __init__(self, state: SystemState, portal: ThreadPortal) -> None:
        self._state = state
        self._groups: NodeGroups
        self._numbers = count(1)
        self._controls: dict[int, PoolControl] = {}
        self.queues: dict[int, PoolQueue] = {}
        """Of the running pools."""
        self._names: dict[str, PoolControl] = {}
        self._submitters: dict[str, _NodeSubmitter] = {}
        self._starting = Lock()
        self._ending: set[str] = set()
        """The pools that have ended, and whose nodes have not."""
        self._tree: SupervisionTree
        self.clients: PoolClients = PoolClients(state.host, portal, self._own_places)

    def _own_places(self, number: int) -> _Places:
        return _Places(self, self.clients, number)

    def connect(self, tree: SupervisionTree, groups: NodeGroups) -> None:
        """Give it what starts and ends workers, and serve the nodes that submit."""
        self._tree = tree
        self._groups = groups
        self._serve()

    # -- the life of pools ---------------------------------------------------------------------

    def add_groups(self, children: Iterator[PoolSpec[Any]]) -> None:
        """Add the workers' own nodes of pools that are there when the system starts."""
        for spec in children:
            self._count(spec)
            if spec.group is not None and spec.per_node is None:
                self._groups.add(spec.group)

    def _count(self, spec: PoolSpec[Any]) -> None:
        """Count the workers of this machine for its CPUs, but for the default pool of a system that serves."""
        spare = spec.name == DEFAULT_POOL and bool(self._state.listeners)
        if spec.per_node is None and not spare and not self._groups.is_elsewhere(spec.on):
            self._state.pool_sizes[spec.name] = spec.size

    async def prepare(self, item: TreeSpec) -> list[PoolSpec[Any]]:
        """Start the nodes for a part of the tree that is about to start: those of its pools, and `main`.

        Returns:
            those that did not run already; `abandon` takes them if the part does not start.
        """
        mine: list[PoolSpec[Any]] = []
        if has_unplaced([item]):
            await self._groups.ensure_main()
        try:
            for spec in _pools_in(item):
                running = self._names.get(spec.name)
                if running is not None and running.spec is spec:
                    continue
                if spec.group is not None and spec.per_node is None:
                    if spec.name in self._ending:
                        await self._end_group(spec)  # the nodes of the last pool of this name
                    self._count(spec)
                    await self._groups.start(spec.group)
                else:
                    self._count(spec)
                mine.append(spec)
        except BaseException:
            for spec in mine:
                self._stop_nodes(spec)
            raise
        return mine

    async def abandon(self, specs: list[PoolSpec[Any]]) -> None:
        """End the nodes of pools that did not start; return when they have ended."""
        for spec in specs:
            control = self._names.get(spec.name)
            if control is not None and control.spec is spec:
                self.end(control, "it did not start")
            if spec.group is not None and spec.per_node is None and not self._state.stopping:
                await self._end_group(spec)

    def begin(self, spec: PoolSpec[Any], handle: SupervisorHandle) -> None:
        """A pool's supervisor is about to start, for the first time or again."""
        control = self._names.get(spec.name)
        if control is not None and control.spec is spec:
            return
        if control is not None:
            raise InvalidSpec(f"there is a pool {spec.name!r} already")
        number = next(self._numbers)
        path = "" if spec.cls is None else path_of(spec.workers(0)[0])
        control = PoolControl(self._state, self._groups, spec, number, path, ended=self.end)
        control.handle = handle
        self._controls[number] = self._names[spec.name] = control
        self.queues[number] = control.queue

    def joined(self, spec: ActorSpec[Any], actor: SupervisedActor) -> None:
        """A worker's actor is about to start."""
        control = self._names.get(spec.pool)
        if control is not None and spec.turn is not None:
            control.joined(spec, actor)

    def gone(self, spec: PoolSpec[Any]) -> None:
        """The supervisor of a pool has ended for good."""
        control = self._names.get(spec.name)
        if control is not None and control.spec is spec:
            self.end(control, "it has ended")

    def end(self, control: PoolControl, why: str) -> None:
        """End a pool: what waits fails, its nodes stop."""
        if control.closed:
            return
        submitters = self._submitters_of(control)
        control.close()
        self._controls.pop(control.facts.number, None)
        self.queues.pop(control.facts.number, None)
        self._state.pool_sizes.pop(control.spec.name, None)
        for waiter in control.waiters:
            if not waiter.done():
                waiter.set_result(why)
        if self._names.get(control.spec.name) is control:
            del self._names[control.spec.name]
        for submitter in submitters:
            submitter.pool_ended(control.facts.number, why)
        if not self._state.stopping:
            self._stop_nodes(control.spec)

    async def stop(self, number: int, *, drain: bool, chain: Chain = ()) -> None:
        """Stop a pool for good; one that has ended is no error.

        When one of its workers asks for it, or an actor of *chain*, this returns when the stop has begun.
        """
        control = self._controls.get(number)
        if control is None:
            return
        if self._is_of(control, chain):
            stop = partial(self._stop_now, control, drain=drain)
            self._state.carry_out(f"the stop of pool {control.spec.name!r}", "its worker", stop)
        else:
            await self._stop_now(control, drain=drain)

    def _is_of(self, control: PoolControl, chain: Chain) -> bool:
        """Whether an actor of *chain* is a worker of a pool."""
        return not {uid for uid, _ in chain}.isdisjoint(control.actors())

    async def _stop_now(self, control: PoolControl, *, drain: bool) -> None:
        if drain:
            await self._drain(control)
        assert control.handle is not None
        self.end(control, "it was stopped")
        path, _, name = control.handle.path.rpartition("/")
        above = self._tree.find(path)
        with suppress(NotFound):
            await above.stop_child(name)
            above.delete_child(name)
        await self.wait_for_nodes(control.spec)

    async def _drain(self, control: PoolControl) -> None:
        """Refuse new tasks, and wait until none waits or runs."""
        for submitter in self._submitters_of(control):
            submitter.pool_draining(control.facts.number, "it is draining: no new tasks")
        empty = Event()
        control.queue.call_when_empty(empty.set)
        await empty.wait()

    def _submitters_of(self, control: PoolControl) -> list[_Submitter]:
        """Return who has submitted tasks to a pool; this process is always told."""
        known = set(control.queue.submitters)
        nodes = [node for node in self._submitters.values() if node in known]
        return [self.clients, *nodes]

    async def wait(self, number: int, chain: Chain = ()) -> str:
        """Return why a pool has ended, when it has.

        Raises:
            CallCycle: an actor of *chain* is one of its workers, and waits for this.
        """
        control = self._controls.get(number)
        if control is None:
            return "it has ended"
        if self._is_of(control, chain):
            cycle = "it cannot end before this task is done, which would wait for that"
            raise CallCycle(control.members()[0], cycle)
        waiter = self._state.loop.waiter()
        control.waiters.append(waiter)
        why: str = await waiter
        return why

    @property
    def names(self) -> Mapping[str, PoolControl]:
        """The pools that run, by name."""
        return self._names

    async def wait_for_nodes(self, spec: PoolSpec[Any]) -> None:
        """Return when a pool that has been stopped has no nodes left."""
        while spec.group is not None and self._state.group(spec.name):
            await self._end_group(spec)

    def _stop_nodes(self, spec: PoolSpec[Any]) -> None:
        if spec.group is not None and spec.per_node is None and not self._state.stopping:
            self._ending.add(spec.name)
            self._state.loop.start(self._end_group, spec, name=f"{spec.name}: end", fresh=True)

    async def _end_group(self, spec: PoolSpec[Any]) -> None:
        self._ending.add(spec.name)
        with suppress(ActorsError):
            await self._groups.scale(spec.name, 0, by_pool=True)
        self._ending.discard(spec.name)

    # -- finding them ----------------------------------------------------------------------------

    def running(self, number: int) -> PoolControl:
        """Return a running pool.

        Raises:
            ActorsError: it has ended.
        """
        control = self._controls.get(number)
        if control is None:
            raise ActorsError("the pool has ended")
        return control

    def stats(self) -> list[PoolStats]:
        """Return the figures of all pools that run."""
        return [control.queue.stats() for control in self._controls.values()]

    async def find(self, name: str, asker: str = "", chain: Chain = ()) -> Pool[Any] | None:
        """Return the pool of that name, None if there is none.

        Args:
            name: its name; "" is the default pool, which is started by the first who asks.
            asker: the node that asks, which may have a pool of that name of its own.
            chain: who waits for it.
        """
        if not name:
            await self._start_default(chain)
            name = DEFAULT_POOL
        control = self._names.get(name)
        if control is not None and control.spec.per_node is not None:
            control = await self._of_node(control, asker)
        return None if control is None else self.clients.pool(control.facts.fields)

    async def _of_node(self, shared: PoolControl, asker: str) -> PoolControl:
        """Return the pool that the asking node has for itself; the first who asks starts it."""
        spec, run = shared.spec, self._state.runs.get(asker)
        if run is None or run.node.group != spec.per_node:
            raise InvalidSpec(
                f"pool {spec.name!r} is one for each node of {spec.per_node!r}: ask for it there"
            )
        own = spec.for_node(run.node.slot)
        async with self._starting:
            if own.name not in self._names:
                assert shared.handle is not None
                await shared.handle.start_child(own)
        return self._names[own.name]

    async def node_left(self, group: str, slot: int) -> None:
        """End the pools that a node had for itself, which was stopped for good."""
        for control in list(self._controls.values()):
            own = self._names.get(f"{control.spec.name}-{slot}")
            if control.spec.per_node == group and own is not None and control.handle is not None:
                with suppress(ActorsError):
                    await control.handle.stop_child(own.spec.name)
                    control.handle.delete_child(own.spec.name)

    async def _start_default(self, chain: Chain) -> None:
        if DEFAULT_POOL not in self._names:
            # Before it waits for another start of the same pool, which may be waiting for the asker.
            self._tree.find("").refuse_start_before_itself(DEFAULT_POOL, chain)
        async with self._starting:
            if DEFAULT_POOL not in self._names:
                await self._tree.find("").start_child(pool(name=DEFAULT_POOL), chain)

    # -- what nodes ask ------------------------------------------------------------------------------

    def _serve(self) -> None:
        handlers = self._state.host.handlers
        handlers.on_call(ops.pool, self._pool)
        handlers.on_call(ops.start_pool, self._start)
        at = self._places_of
        handlers.on_note(
            ops.task_queued,
            lambda link, pool, ticket, priority, again, asked_by, in_line: at(link, pool).enter(
                ticket, priority, again=again, asked_by=asked_by, in_line=in_line
            ),
        )
        handlers.on_note(
            ops.task_done,
            lambda link, pool, ticket, failed, renew: at(link, pool).done(
                ticket, failed=failed, renew=renew
            ),
        )
        handlers.on_note(
            ops.task_withdrawn, lambda link, pool, *task: at(link, pool).withdraw(*task)
        )
        handlers.on_note(
            ops.task_undelivered, lambda link, pool, *task: at(link, pool).undelivered(*task)
        )
        handlers.on_note(
            ops.task_given_back, lambda link, pool, *task: at(link, pool).given_back(*task)
        )
        handlers.on_note(ops.task_broken, lambda link, pool, *task: at(link, pool).broken(*task))
        handlers.on_note(ops.task_overdue, lambda link, pool, *task: at(link, pool).overdue(*task))
        handlers.on_call(ops.pool_members, lambda link, pool: at(link, pool).members())
        handlers.on_call(ops.pool_stats, lambda link, pool: at(link, pool).stats())
        handlers.on_call(ops.resize_pool, lambda link, pool, size: at(link, pool).resize(size))
        handlers.on_call(ops.stop_pool, self._stop)
        handlers.on_call(ops.wait_pool, lambda _, number, chain=(): self.wait(number, chain))

    def node_ended(self, address: str) -> None:
        """Drop what a node had submitted, which has ended."""
        submitter = self._submitters.pop(address, None)
        if submitter is not None:
            for control in list(self._controls.values()):
                control.submitter_gone(submitter, address)

    def _places_of(self, link: Link, number: int) -> _Places:
        """Return a pool's queue, as the node at the other end of *link* reaches it."""
        return _Places(self, self._submitter(link), number)

    def _submitter(self, link: Link) -> _NodeSubmitter:
        submitter = self._submitters.get(link.peer)
        if submitter is None or submitter.link is not link:
            submitter = self._submitters[link.peer] = _NodeSubmitter(link)
        return submitter

    async def _pool(self, link: Link, name: str, chain: Chain = ()) -> list[Any] | None:
        found = await self.find(name, link.peer, chain)
        return None if found is None else found.facts.fields

    async def start(self, spec: PoolSpec[Any], chain: Chain = ()) -> Pool[Any]:
        """Start a pool at the top of the tree, for which *chain* waits.

        Raises:
            InvalidSpec: there is a pool of that name.
            StartFailed, BootFailed, SupervisorError: it did not start.
        """
        if spec.name in self._names:
            raise InvalidSpec(f"there is a pool {spec.name!r} already")
        try:
            await self._tree.find("").start_child(spec, chain)
        except ChildNotStarted as error:
            cause = first_cause(error)
            raise cause from cause.__cause__
        self._state.count_start("pools")
        return self.clients.pool(self._names[spec.name].facts.fields)

    async def _start(self, _link: Link, item: Sent, chain: Chain = ()) -> list[Any]:
        spec = tree_item_from(item)
        if not isinstance(spec, PoolSpec):
            raise InvalidSpec(f"{spec.name!r} is no pool")
        started = await self.start(spec, chain)
        return started.facts.fields

    async def _stop(self, _link: Link, pool: int, drain: bool, chain: Chain = ()) -> None:  # noqa: FBT001 - a wire field
        await self.stop(pool, drain=drain, chain=chain)


def _pools_in(item: TreeSpec) -> Iterator[PoolSpec[Any]]:
    if isinstance(item, PoolSpec):
        yield item
    elif isinstance(item, SupervisorSpec):
        for inner in item.children:
            yield from _pools_in(inner)

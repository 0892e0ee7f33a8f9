"""How a `System` reaches the coordinator: directly in the process that made it, over the link on a node."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import ActorsError
from actors._base.loop import from_monotonic
from actors._base.waited_start import start_perhaps_waits_for
from actors._groups import Groups, LinkGroupOffice
from actors._keyed import IdleWatch, KeyedClients, LinkOffice
from actors._messaging.blocking_ref import ThreadPortal
from actors._messaging.deadlock import all_waiting, waiting_chain, waiting_for_start
from actors._messaging.topic import TopicCarrier
from actors._pools import LinkPlaces, Pool, PoolClients
from actors._remoting import (
    admin_operations,
    directory_operations as directory,
    operations as ops,
    pool_operations,
)
from actors._system.actor_calls import ActorCalls
from actors._system.coordinator import Coordinator
from actors._system.node_events import NodeEvents
from actors._system.node_groups import MAIN_GROUP
from actors._system.placement import ActorRequest
from actors._system.pool_spec import DEFAULT_POOL
from actors._system.sent_specs import sent_item, sent_nodes
from actors._system.supervisor_ref import SupervisorRef
from actors.nodes import child_actors_of, class_path, pack_arguments
from actors.routing import NotSticky
from actors.transport import Local, SharedBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from actors._actor.cell import Cell
    from actors._base.events import EventStream
    from actors._keyed import Keyed
    from actors._messaging.ref import Ref
    from actors._system.keyed_spec import KeyedSpec
    from actors._system.pool_spec import PoolSpec
    from actors._system.tree_specs import TreeSpec
    from actors.nodes import (
        ChildActors,
        Link,
        LinkedProcess,
        LocalNode,
        Node,
        NodeProcess,
        NodesSpec,
    )
    from actors.supervisors import ChildInfo, Count

__all__ = ["DirectAccess", "LinkAccess", "NodeAccess", "SystemAccess"]

_PATIENCE: Final = 5.0
"""Seconds after which a start that perhaps waits for itself is reported."""


class SystemAccess(Protocol):
    """The coordinator, as a `System` uses it."""

    @property
    def local(self) -> LocalNode | None: ...
    @property
    def topics(self) -> TopicCarrier: ...
    @property
    def threads(self) -> ThreadPortal: ...
    def nodes(self) -> list[Node]: ...
    def sticky_slots(self) -> tuple[int, Sequence[int]]: ...
    def events(self) -> EventStream: ...
    def supervisor(self, path: str) -> SupervisorRef: ...
    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: ops.SpawnOptions
    ) -> Ref[Any]: ...
    async def lookup(self, name: str) -> Ref[Any] | None: ...
    async def pool(self, name: str) -> Pool[Any] | None: ...
    async def start_pool(self, spec: PoolSpec[Any]) -> Pool[Any]: ...
    async def start_nodes(self, spec: NodesSpec) -> list[Node]: ...
    async def scale(self, group: str, count: int) -> list[Node]: ...
    async def reload(
        self, names: Sequence[str], *, surge: bool, ready_timeout: float | None
    ) -> list[Node]: ...
    @property
    def groups(self) -> Groups: ...
    async def keyed(self, name: str) -> Keyed[Any, Any] | None: ...
    async def start_keyed(self, spec: KeyedSpec[Any, Any]) -> Keyed[Any, Any]: ...
    async def tree(self) -> dict[str, Any]: ...
    async def stop(self) -> None: ...


class DirectAccess:
    """In the process that made the system: calls the coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._requests = coordinator.requests
        self.local = coordinator.local
        self.topics = coordinator.host.topics
        self.groups = coordinator.group_directory.groups
        self.threads = coordinator.threads

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: ops.SpawnOptions
    ) -> Ref[Any]:
        request = ActorRequest(
            path=class_path(cls),
            cls=cls,
            arguments=(args, kwargs),
            chain=waiting_chain(),
            **options,
        )
        with _waiting_for_other(options, self._starting_here):
            return await self._coordinator.placement.spawn(request)

    async def lookup(self, name: str) -> Ref[Any] | None:
        with waiting_for_start(name, partial(self._starting_here, name)):
            return await self._coordinator.registry.find(name, waiting_chain())

    def _starting_here(self, name: str) -> Cell | None:
        """Return the actor that starts with this name, if it is of the local node."""
        uid = self._coordinator.registry.starting(name)
        return None if uid is None else self._coordinator.host.cells.get(uid)

    async def pool(self, name: str) -> Pool[Any] | None:
        return await self._coordinator.pools.find(name)

    async def start_pool(self, spec: PoolSpec[Any]) -> Pool[Any]:
        return await self._coordinator.pools.start(spec, waiting_chain())

    def nodes(self) -> list[Node]:
        return self._coordinator.all_nodes()

    def sticky_slots(self) -> tuple[int, Sequence[int]]:
        raise NotSticky("this process leaves that to its nodes")

    def events(self) -> EventStream:
        return self._coordinator.bus.stream()

    def supervisor(self, path: str) -> SupervisorRef:
        self._coordinator.tree.find(path)  # refuses one that there is not
        return SupervisorRef(self, path)

    async def start_child(self, path: str, item: TreeSpec) -> Ref[Any] | None:
        return await self._requests.start_child(path, item, self._coordinator.caller())

    async def stop_child(self, path: str, name: str) -> None:
        await self._requests.stop_child(path, name, self._coordinator.caller())

    async def restart_child(self, path: str, name: str) -> Ref[Any] | None:
        return await self._requests.restart_child(path, name, self._coordinator.caller())

    async def delete_child(self, path: str, name: str) -> None:
        await self._requests.delete_child(path, name)

    async def children(self, path: str) -> list[ChildInfo]:
        return await self._requests.children(path)

    async def count_children(self, path: str) -> Count:
        return await self._requests.count(path)

    async def start_nodes(self, spec: NodesSpec) -> list[Node]:
        self._coordinator.count_start("groups of nodes")
        return [*await self._coordinator.groups.start(spec)]

    async def scale(self, group: str, count: int) -> list[Node]:
        names = await self._requests.scale(group, count, self._coordinator.caller())
        return self._named(names)

    async def reload(
        self, names: Sequence[str], *, surge: bool, ready_timeout: float | None
    ) -> list[Node]:
        caller = self._coordinator.caller()
        return self._named(
            await self._requests.reload(names, caller, surge=surge, ready_timeout=ready_timeout)
        )

    def _named(self, names: Sequence[str]) -> list[Node]:
        nodes = self._coordinator.nodes
        return [nodes[name] for name in names if name in nodes]

    async def keyed(self, name: str) -> Keyed[Any, Any] | None:
        return self._coordinator.books.named(name)

    async def start_keyed(self, spec: KeyedSpec[Any, Any]) -> Keyed[Any, Any]:
        return await self._coordinator.books.start(spec)

    async def tree(self) -> dict[str, Any]:
        return await self._coordinator.whole_tree()

    async def stop(self) -> None:
        self._coordinator.end()


class LinkAccess:
    """Over the link to the parent, on a node and in a client: finds what is there, and tells what is known."""

    def __init__(self, process: LinkedProcess, threads: ThreadPortal) -> None:
        self._process = process
        self._parent = process.parent
        self.threads = threads
        self.topics = process.host.topics
        self._pools = PoolClients(process.host, threads, partial(LinkPlaces, self._parent))
        self._pools.serve()
        self._books = KeyedClients(process.host, LinkOffice(process.parent))
        self._books.serve()
        self.groups = Groups(process.host, LinkGroupOffice(process.parent))
        self.groups.serve()

    def _chain(self) -> ops.Chain:
        """Return the actors that wait for what this code asks for."""
        return waiting_chain()

    @contextmanager
    def _starting(self, name: str) -> Iterator[ops.Chain]:
        """Yield who waits for the start of *name*.

        Where that start perhaps waits for it, and so for itself, a line of the log says so after some seconds.
        """
        perhaps = start_perhaps_waits_for()
        if not perhaps:
            yield waiting_chain()
            return
        timer = self._process.host.loop.call_later(_PATIENCE, self._tell_waiting, name, perhaps)
        try:
            yield waiting_chain()
        finally:
            timer.cancel()

    def _tell_waiting(self, name: str, perhaps: str) -> None:
        self._process.log.warning(
            "start waits for the system",
            child=name,
            advice=f"a task that {perhaps} has started asks for it: there it must not be awaited",
        )

    async def lookup(self, name: str) -> Ref[Any] | None:
        with waiting_for_start(name, partial(_unknown, name)):
            return await self._parent.call(ops.lookup, name, self._chain())

    async def pool(self, name: str) -> Pool[Any] | None:
        with self._starting(name or DEFAULT_POOL) as chain:
            fields = await self._parent.call(pool_operations.pool, name, chain)
        return None if fields is None else self._pools.pool(fields)

    async def keyed(self, name: str) -> Keyed[Any, Any] | None:
        fields = await self._parent.call(directory.keyed, name)
        return None if fields is None else self._books.book(fields)

    def nodes(self) -> list[Node]:
        return self._process.siblings.all()

    def events(self) -> EventStream:
        return NodeEvents(self._parent, self._process.host.loop)

    async def tree(self) -> dict[str, Any]:
        return await self._parent.call(ops.tree)

    async def children(self, path: str) -> list[ChildInfo]:
        loop = self._process.host.loop
        return [
            row if row.due is None else replace(row, due=from_monotonic(loop, row.due))
            for row in await self._parent.call(ops.children, path)
        ]

    async def count_children(self, path: str) -> Count:
        return await self._parent.call(ops.count_children, path)


class NodeAccess(LinkAccess):
    """On a node: asks the parent, and starts the actors that cannot leave this node."""

    def __init__(
        self, node: NodeProcess, sticky_slots: Callable[[], tuple[int, Sequence[int]]]
    ) -> None:
        super().__init__(node, ThreadPortal(node.host.loop, node.host.propagation))
        self._node = node
        self.sticky_slots = sticky_slots
        self._own_actors: ChildActors | None = None
        self.local: LocalNode = node.local
        IdleWatch(node.host, self._report_idle).serve()
        node.host.handlers.on_call(ops.child_actors, self._child_actors)
        ActorCalls(node.host, self.pool).register()

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: ops.SpawnOptions
    ) -> Ref[Any]:
        """Have the parent start an actor; one that holds local values is supervised on this node."""
        if any(type(value) is Local for value in (*args, *kwargs.values())):
            return await self._spawn_here(cls, args, kwargs, options)
        arguments = pack_arguments(self._node.host, args, kwargs)
        if self._starts_itself(cls, arguments, options):
            return await self._node.actor_starts.start(cls, arguments, options)
        with _waiting_for_other(options, _unknown):
            return await self._parent.call(
                ops.spawn, class_path(cls), arguments, options, waiting_chain()
            )

    def _starts_itself(
        self, cls: type, arguments: list[bytes | SharedBuffer], options: ops.SpawnOptions
    ) -> bool:
        """Whether this node may start an actor before the parent knows of it."""
        if options["name"] is not None or any(type(part) is SharedBuffer for part in arguments):
            return False
        on, siblings = options["on"], self._node.siblings
        if on is None and not siblings.parent_runs_actors:
            on = MAIN_GROUP
        here = on is not None and siblings.only_here(on)
        return here and self._node.actor_starts.may_start(cls)

    def _report_idle(self, book: int, uid: int) -> None:
        self._parent.note(directory.keyed_idle, book, uid)

    async def _spawn_here(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: ops.SpawnOptions
    ) -> Ref[Any]:
        if options["on"] != self.local.name:
            wanted = f"on={options['on']!r}" if options["on"] else "no on="
            raise ActorsError(
                f"local values do not leave {self.local.name}, got {wanted}: use on=current().node"
            )
        if self._own_actors is None:
            self._own_actors = await self._node.new_child_actors(f"{self.local.name}/own")
        return await self._own_actors.spawn(
            cls,
            args,
            kwargs,
            name=options["name"],
            restart=options["restart"],
            backoff=options["backoff"],
            mailbox=options["mailbox"],
        )

    async def _child_actors(
        self, _link: Link
    ) -> tuple[list[dict[str, Any]], dict[int, list[dict[str, Any]]]]:
        return child_actors_of(self._node.host, self._own_actors)

    async def stop_own_actors(self) -> None:
        """End the actors that are supervised on this node."""
        if self._own_actors is not None:
            await self._own_actors.aclose()

    async def start_pool(self, spec: PoolSpec[Any]) -> Pool[Any]:
        item = sent_item(self._node.host, spec)
        with self._starting(spec.name) as chain:
            fields = await self._parent.call(pool_operations.start_pool, item, chain)
        return self._pools.pool(fields)

    def supervisor(self, path: str) -> SupervisorRef:
        return SupervisorRef(self, path)

    def _waiting(self) -> ops.Chain:
        return all_waiting(list(self._node.host.cells.values()))

    async def start_child(self, path: str, item: TreeSpec) -> Ref[Any] | None:
        sent = sent_item(self._node.host, item)
        with self._starting(item.name) as chain:
            return await self._parent.call(ops.start_child, path, sent, chain)

    async def stop_child(self, path: str, name: str) -> None:
        await self._parent.call(ops.stop_child, path, name, self._waiting())

    async def restart_child(self, path: str, name: str) -> Ref[Any] | None:
        with self._starting(name) as chain:
            return await self._parent.call(ops.restart_child, path, name, chain)

    async def delete_child(self, path: str, name: str) -> None:
        await self._parent.call(ops.delete_child, path, name)

    async def start_nodes(self, spec: NodesSpec) -> list[Node]:
        names = await self._parent.call(ops.start_nodes, sent_nodes(spec))
        return self._node.siblings.named(names)

    async def scale(self, group: str, count: int) -> list[Node]:
        names = await self._parent.call(ops.scale, group, count, self._waiting())
        return self._node.siblings.named(names)

    async def reload(
        self, names: Sequence[str], *, surge: bool, ready_timeout: float | None
    ) -> list[Node]:
        chain = self._waiting()
        done = await self._parent.call(ops.reload, list(names), surge, ready_timeout, chain)
        return self._node.siblings.named(done)

    async def start_keyed(self, spec: KeyedSpec[Any, Any]) -> Keyed[Any, Any]:
        item = sent_item(self._node.host, spec)
        with self._starting(spec.name) as chain:
            fields = await self._parent.call(directory.start_keyed, item, chain)
        return self._books.book(fields)

    async def stop(self) -> None:
        await self._parent.call(ops.stop_system)

    async def control(self, operation: str, arguments: dict[str, Any], by: str) -> Any:
        """Have the parent do what the dashboard asks for; see `control.admin`."""
        return await self._parent.call(admin_operations.control, operation, arguments, by)


def _waiting_for_other(
    options: ops.SpawnOptions, starting: Callable[[str], Cell | None]
) -> AbstractContextManager[None]:
    """Return what adds the edge of a handler that may get an actor which somebody else is starting."""
    name = options["name"]
    if name is None or options["if_exists"] != "return":
        return nullcontext()
    return waiting_for_start(name, partial(starting, name))


def _unknown(_name: str) -> None:
    """Find nobody: the parent alone knows who starts with a name."""

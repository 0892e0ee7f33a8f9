"""How a `System` reaches the coordinator: directly in the process that made it, over the link on a node."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from actors._base.errors import ActorsError
from actors._messaging.blocking_ref import ThreadPortal
from actors._messaging.deadlock import waiting_chain, waiting_for_start
from actors._messaging.topic import TopicCarrier
from actors._pools import LinkPlaces, Pool, PoolClients
from actors._remoting import operations as ops
from actors._system.coordinator import Coordinator
from actors._system.placement import ActorRequest
from actors.nodes import child_actors_of, class_path, pack_arguments
from actors.transport import Local

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from actors._actor.cell import Cell
    from actors._messaging.ref import Ref
    from actors._system.pool_spec import PoolSpec
    from actors.nodes import ChildActors, Link, LocalNode, NodeProcess

__all__ = ["DirectAccess", "NodeAccess", "SystemAccess"]


class SystemAccess(Protocol):
    """The coordinator, as a `System` uses it."""

    @property
    def local(self) -> LocalNode | None: ...
    @property
    def topics(self) -> TopicCarrier: ...
    @property
    def threads(self) -> ThreadPortal: ...
    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: ops.SpawnOptions
    ) -> Ref[Any]: ...
    async def lookup(self, name: str) -> Ref[Any] | None: ...
    async def pool(self, name: str) -> Pool[Any] | None: ...
    async def start_pool(self, spec: PoolSpec[Any]) -> Pool[Any]: ...
    async def tree(self) -> dict[str, Any]: ...
    async def stop(self) -> None: ...


class DirectAccess:
    """In the process that made the system: calls the coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.local = coordinator.local
        self.topics = coordinator.host.topics
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
        return await self._coordinator.pools.start(spec)

    async def tree(self) -> dict[str, Any]:
        return await self._coordinator.whole_tree()

    async def stop(self) -> None:
        self._coordinator.end()


class NodeAccess:
    """On a node: asks the parent, and starts the actors that cannot leave this node."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._parent = node.parent
        self._own_actors: ChildActors | None = None
        self.local: LocalNode = node.local
        self.threads = ThreadPortal(node.host.loop, node.host.propagation)
        self.topics = node.host.topics
        self._pools = PoolClients(node.host, self.threads, partial(LinkPlaces, self._parent))
        self._pools.serve()
        node.host.handlers.on_call(ops.child_actors, self._child_actors)

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: ops.SpawnOptions
    ) -> Ref[Any]:
        """Have the parent start an actor; one that holds local values is supervised on this node."""
        if any(type(value) is Local for value in (*args, *kwargs.values())):
            return await self._spawn_here(cls, args, kwargs, options)
        arguments = pack_arguments(self._node.host, args, kwargs)
        with _waiting_for_other(options, _unknown):
            return await self._parent.call(
                ops.spawn, class_path(cls), arguments, options, waiting_chain()
            )

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

    async def lookup(self, name: str) -> Ref[Any] | None:
        with waiting_for_start(name, partial(_unknown, name)):
            return await self._parent.call(ops.lookup, name, waiting_chain())

    async def pool(self, name: str) -> Pool[Any] | None:
        fields = await self._parent.call(ops.pool, name, waiting_chain())
        return None if fields is None else self._pools.pool(fields)

    async def start_pool(self, spec: PoolSpec[Any]) -> Pool[Any]:
        path = "" if spec.cls is None else class_path(spec.cls)
        args = spec.args if spec.cls is not None else ()
        arguments = pack_arguments(self._node.host, args, dict(spec.kwargs))
        fields = await self._parent.call(ops.start_pool, path, arguments, dict(spec.options))
        return self._pools.pool(fields)

    async def tree(self) -> dict[str, Any]:
        return await self._parent.call(ops.tree)

    async def stop(self) -> None:
        await self._parent.call(ops.stop_system)


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

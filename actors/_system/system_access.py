"""How a System reaches its core: an interface, and the direct way in the process that made it.

A node has another, over its link (`_node_main`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actors._base.events import EventStream
from actors._messaging.blocking_ref import ThreadPortal
from actors._messaging.topic import TopicCarrier
from actors._system.coordinator import Coordinator
from actors._system.placement import ActorRequest
from actors._system.supervisor_handle import SupervisorHandle
from actors._system.tree_snapshot import whole_tree
from actors.nodes import NodesSpec, class_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.nodes import LocalNode, Node

__all__ = ["DirectAccess", "SystemAccess"]


class SystemAccess(Protocol):
    """How a System reaches its core: directly, or from a node over its link."""

    @property
    def local(self) -> LocalNode | None: ...
    @property
    def topics(self) -> TopicCarrier: ...
    @property
    def threads(self) -> ThreadPortal: ...
    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Any: ...
    async def lookup(self, name: str) -> Any: ...
    async def pool(self, name: str) -> Any: ...
    async def tree(self) -> dict[str, Any]: ...
    def nodes(self) -> list[Node]: ...
    def events(self) -> EventStream: ...
    def supervisor(self, path: str) -> SupervisorHandle: ...
    async def start_nodes(self, spec: NodesSpec) -> list[Node]: ...
    async def scale(self, group: str, count: int) -> list[Node]: ...
    async def reload(
        self, names: tuple[str, ...], *, surge: bool, ready_timeout: float | None
    ) -> list[Node]: ...
    async def stop(self) -> None: ...


class DirectAccess:
    """The core is in this process."""

    def __init__(self, core: Coordinator) -> None:
        self._core = core
        self.local = core.local
        self.topics = core.runtime.topics
        self.threads = core.threads

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        request = ActorRequest(path=class_path(cls), cls=cls, arguments=(args, kwargs), **options)
        return await self._core.spawning.spawn(request)

    async def lookup(self, name: str) -> Any:
        return await self._core.registry.find(name)

    async def pool(self, name: str) -> Any:
        return await self._core.spawning.pool(name)

    async def tree(self) -> dict[str, Any]:
        return await whole_tree(self._core)

    def nodes(self) -> list[Node]:
        own: Sequence[Node] = [] if self._core.local is None else [self._core.local]
        return [*own, *self._core.nodes.values()]

    def events(self) -> EventStream:
        return self._core.bus.stream()

    def supervisor(self, path: str) -> SupervisorHandle:
        return self._core.tree.find(path)

    async def start_nodes(self, spec: NodesSpec) -> list[Node]:
        return [*await self._core.groups.start(spec)]

    async def scale(self, group: str, count: int) -> list[Node]:
        return [*await self._core.groups.scale(group, count)]

    async def reload(
        self, names: tuple[str, ...], *, surge: bool, ready_timeout: float | None
    ) -> list[Node]:
        reloading = self._core.reloading
        return [*await reloading.reload(names, surge=surge, ready_timeout=ready_timeout)]

    async def stop(self) -> None:
        self._core.end()

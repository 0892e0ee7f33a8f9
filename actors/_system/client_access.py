"""How a `System` reaches a system that it is connected to from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._messaging.blocking_ref import ThreadPortal
from actors._remoting import operations as ops
from actors._system.client_process import refuse
from actors._system.supervisor_ref import SupervisorRef
from actors._system.system_access import LinkAccess
from actors.routing import NotSticky

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._keyed import Keyed
    from actors._messaging.ref import Ref
    from actors._pools import Pool
    from actors._remoting.operations import Chain, SpawnOptions
    from actors._system.client_process import ClientProcess
    from actors._system.keyed_spec import KeyedSpec
    from actors._system.pool_spec import PoolSpec
    from actors._system.tree_specs import TreeSpec
    from actors.nodes import LocalNode, Node, NodesSpec

__all__ = ["ClientAccess"]


class ClientAccess(LinkAccess):
    """In a client: looks at what there is, and refuses to start or change anything."""

    def __init__(self, client: ClientProcess) -> None:
        super().__init__(client, ThreadPortal(client.host.loop, client.host.propagation))
        self.client = client
        self.local: LocalNode | None = None

    def _chain(self) -> Chain:
        """Return nobody: an actor that waits for the answer is of another system."""
        return ()

    async def lookup(self, name: str) -> Ref[Any] | None:
        return await self._parent.call(ops.lookup, name)

    async def pool(self, name: str) -> Pool[Any] | None:
        """As `SystemAccess.pool`; the default pool of functions is not started from outside."""
        if not name:
            refuse("offload")
        return await super().pool(name)

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: SpawnOptions
    ) -> Ref[Any]:
        del args, kwargs, options
        refuse(f"spawn {cls.__name__}")

    def sticky_slots(self) -> tuple[int, Sequence[int]]:
        raise NotSticky("this program is connected from outside, and serves nothing in the system")

    def supervisor(self, path: str) -> SupervisorRef:
        return SupervisorRef(self, path)

    async def start_pool(self, spec: PoolSpec[Any]) -> Pool[Any]:
        refuse(f"start pool {spec.name!r}")

    async def start_keyed(self, spec: KeyedSpec[Any, Any]) -> Keyed[Any, Any]:
        refuse(f"start book {spec.name!r}")

    async def start_nodes(self, spec: NodesSpec) -> list[Node]:
        refuse(f"start nodes {spec.name!r}")

    async def start_child(self, path: str, item: TreeSpec) -> Ref[Any] | None:
        del path
        refuse(f"start {item.name!r}")

    async def stop_child(self, path: str, name: str) -> None:
        del path
        refuse(f"stop {name!r}")

    async def restart_child(self, path: str, name: str) -> Ref[Any] | None:
        del path
        refuse(f"restart {name!r}")

    async def delete_child(self, path: str, name: str) -> None:
        del path
        refuse(f"delete {name!r}")

    async def scale(self, group: str, count: int) -> list[Node]:
        refuse(f"scale {group}={count}")

    async def reload(
        self, names: Sequence[str], *, surge: bool, ready_timeout: float | None
    ) -> list[Node]:
        del surge, ready_timeout
        refuse(f"reload {' '.join(names)}".rstrip())

    async def stop(self) -> None:
        refuse("stop the system")

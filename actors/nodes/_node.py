"""A node: where actors run. What every kind of node offers to the system above."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._body import Ended
    from actors._ref import Ref
    from supervisors import Exit

__all__ = ["ActorStart", "Node", "NodeState", "Place"]


class NodeState(enum.Enum):
    """Where a node is in its life; it moves only downwards, and a restart begins another run."""

    SPAWNED = "SPAWNED"
    BOOTING = "BOOTING"
    READY = "READY"
    DRAINING = "DRAINING"
    EXITED = "EXITED"


class ActorStart(Protocol):
    """What a node needs to know to start an actor."""

    @property
    def ref(self) -> Ref[Any]: ...
    @property
    def cls(self) -> type: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def arguments(self) -> list[bytes]: ...
    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def kwargs(self) -> dict[str, Any]: ...


class Place(Protocol):
    """A node as the system uses it; also the `supervisors.Host` of what runs on it."""

    name: str

    @property
    def ready(self) -> bool: ...
    @property
    def lost(self) -> bool: ...
    def notify(self, callback: Callable[[], None]) -> Callable[[], None]: ...
    async def start_actor(self, actor: ActorStart, ended: Ended) -> None: ...
    def stop_actor(self, uid: int) -> None: ...
    def kill_actor(self, uid: int) -> None: ...
    def release_actor(self, uid: int, end: Exit) -> None: ...
    async def stats(self) -> dict[str, Any]: ...


class Node:
    """A handle on one node of a running system.

    Attributes:
        name: "group/slot"; the same for every run of the node.
        group: the name given to `nodes`.
        slot: its number in the group, from 0.
        kind: "local" or "process".
        state: where the current run is in its life.
        pid: the process it runs in, None while there is none.
        restarts: how often it has been started again.
    """

    kind = "local"

    def __init__(self, name: str, group: str, slot: int) -> None:
        self.name = name
        self.group = group
        self.slot = slot
        self.state = NodeState.SPAWNED
        self.pid: int | None = None
        self.restarts = 0
        self.lost = False
        self._callbacks: dict[object, Callable[[], None]] = {}

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.kind} {self.state.value}>"

    @property
    def ready(self) -> bool:
        """Whether actors can be started and reached on it now."""
        return self.state is NodeState.READY

    async def stats(self) -> dict[str, Any]:
        """Return what it does and has: its actors, links, memory and CPU time.

        Raises:
            ActorsError: it is not running.
        """
        raise NotImplementedError

    def notify(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call *callback* at every change of `ready` or `lost`; return what ends that."""
        key = object()
        self._callbacks[key] = callback
        return lambda: (self._callbacks.pop(key, None), None)[1]

    def changed(self) -> None:
        """Tell everybody who asked."""
        for callback in list(self._callbacks.values()):
            callback()

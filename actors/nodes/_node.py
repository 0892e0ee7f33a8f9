"""A node: where actors run. What every kind of node offers to the system."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

from actors._base.errors import ActorsError, InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._actor.interfaces import Ended
    from actors._messaging.ref import Ref
    from actors.supervisors import Exit
    from actors.transport import SharedBuffer

__all__ = ["ActorPlacement", "ActorStart", "Node", "NodeOwner", "NodeState"]


class NodeState(enum.Enum):
    """The state of a run of a node; it moves only downwards, and a restart begins another run."""

    WAITING = "WAITING"
    """For a place on another machine."""
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
    def named(self) -> bool: ...
    @property
    def shutdown(self) -> float: ...
    @property
    def arguments(self) -> Sequence[bytes | SharedBuffer]: ...
    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def kwargs(self) -> dict[str, Any]: ...
    @property
    def chain(self) -> tuple[tuple[int, str], ...]: ...
    @property
    def state(self) -> Sequence[bytes | SharedBuffer]: ...
    def keep_state(self, state: Sequence[bytes | SharedBuffer], /) -> None: ...


class ActorPlacement(Protocol):
    """A node as the system uses it; also the `supervisors.Host` of what runs on it."""

    name: str

    @property
    def ready(self) -> bool: ...
    @property
    def lost(self) -> bool: ...
    def notify(self, callback: Callable[[], None]) -> Callable[[], None]: ...
    async def start_actor(self, actor: ActorStart, ended: Ended) -> None: ...
    def stop_actor(self, uid: int, *, renew: bool = False) -> None: ...
    def kill_actor(self, uid: int) -> None: ...
    def release_actor(self, uid: int, end: Exit) -> None: ...
    async def stats(self) -> dict[str, Any]: ...


class NodeOwner(Protocol):
    """What can end nodes, by name: the coordinator, or on a node the link to it."""

    async def stop_node(self, name: str, grace: float | None) -> None: ...
    async def drain_node(self, name: str, grace: float | None) -> None: ...
    def kill_node(self, name: str) -> None: ...


class Node:
    """A handle on one node of a running system.

    Code that has the handle may end the node: `stop` for good, `kill` for a restart. Code on a
    node has the handle of its own node, ``actors.current().node``. The local node of a system refuses
    both, as it ends with its system.

    Attributes:
        name: "group/slot"; the same for every run of the node.
        group: the name given to `nodes`.
        slot: its number in the group, from 0.
        kind: "local", "process" or "thread".
        state: the state of the current run.
        pid: the process it runs in, None while there is none.
        restarts: how often it has been started again.
    """

    kind = "local"
    place: str = ""
    """Where an engine has placed it; "" on the machine of the process that made the system."""

    def __init__(self, name: str, group: str, slot: int, owner: NodeOwner | None = None) -> None:
        self._owner = owner
        self.name = name
        self.group = group
        self.slot = slot
        self.state = NodeState.SPAWNED
        self.pid: int | None = None
        self.restarts = 0
        self.lost = False
        self._callbacks: dict[object, Callable[[], None]] = {}

    @property
    def where(self) -> dict[str, Any]:
        """What the tree says of its place; nothing on the machine of the process that made the system."""
        return {"place": self.place} if self.place else {}

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.kind} {self.state.value}>"

    @property
    def ready(self) -> bool:
        """Whether actors on it can be started and get messages now."""
        return self.state is NodeState.READY

    async def stats(self) -> dict[str, Any]:
        """Return its actors, links, memory and CPU time.

        Raises:
            ActorsError: it is not running.
        """
        raise NotImplementedError

    async def stop(self, grace: float | None = None) -> None:
        """End it for good, after it has finished what it serves and runs; return when it has ended.

        It takes no new connections and no new actors; what is open or queued is finished; then it
        ends, is not restarted, and is no longer one of `System.nodes`. Its actors fail for good.
        Called on the node itself, this returns when the stop has begun.

        Args:
            grace: seconds until what is left is killed; None is the group's `shutdown`.

        Raises:
            InvalidSpec: a grace that can never work.
            ActorsError: this is the local node of its system.
        """
        await self._owner_for("stop").stop_node(self.name, _checked(grace))

    async def drain(self, grace: float | None = None) -> None:
        """Give it nothing new: no connection, actor or message; return when no connection is open.

        What its actors have queued is finished, too. It stays DRAINING until it is stopped or killed.

        Args:
            grace: seconds after which what is open is cut off; None is the group's `shutdown`.

        Raises:
            InvalidSpec: a grace that can never work.
            ActorsError: it is not running, or this is the local node of its system.
        """
        await self._owner_for("drain").drain_node(self.name, _checked(grace))

    def kill(self) -> None:
        """End it now, as a crash would: its supervisor restarts it.

        The process group of a process gets SIGKILL. A thread cannot be killed: everything that awaits
        in it is cancelled, and one that runs on is ABANDONED after two seconds and logged.

        Raises:
            ActorsError: this is the local node of its system.
        """
        self._owner_for("kill").kill_node(self.name)

    def _owner_for(self, verb: str) -> NodeOwner:
        if self._owner is None:
            raise ActorsError(
                f"{verb}: the local node {self.name!r} lives as long as its system; "
                "`await system.stop()` ends both"
            )
        return self._owner

    def notify(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call *callback* at every change of `ready` or `lost`; return what cancels that."""
        key = object()
        self._callbacks[key] = callback
        return lambda: (self._callbacks.pop(key, None), None)[1]

    def changed(self) -> None:
        """Call everybody who asked for it by `notify`."""
        for callback in list(self._callbacks.values()):
            callback()


def _checked(grace: float | None) -> float | None:
    """Return the grace, or raise for one that can never work."""
    number = isinstance(grace, int | float) and not isinstance(grace, bool)
    if grace is not None and not (number and grace >= 0):
        raise InvalidSpec(f"grace must be 0 or more seconds, got {grace!r}")
    return grace

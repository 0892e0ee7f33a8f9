"""The address of a supervisor of the running tree: the same on every node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from actors._base.user_traceback import only_user_frames
from actors.supervisors import ChildNotStarted

if TYPE_CHECKING:
    from actors._actor.base import Actor
    from actors._messaging.ref import Ref
    from actors._system.tree_specs import ActorSpec, DynamicSpec, SupervisorSpec, TreeSpec
    from actors.supervisors import ChildInfo, Count

__all__ = ["SupervisorRef"]

A = TypeVar("A", bound="Actor")


class SupervisorAccess(Protocol):
    """The supervisors of the system, by their paths."""

    async def start_child(self, path: str, item: TreeSpec) -> Ref[Any] | None: ...
    async def stop_child(self, path: str, name: str) -> None: ...
    async def restart_child(self, path: str, name: str) -> Ref[Any] | None: ...
    async def delete_child(self, path: str, name: str) -> None: ...
    async def children(self, path: str) -> list[ChildInfo]: ...
    async def count_children(self, path: str) -> Count: ...


class SupervisorRef:
    """A supervisor of the running system: add, stop, restart and delete children, with OTP's results.

    It works on every node, and over all restarts of the supervisor. Errors are those of the supervisors:
    `AlreadyStarted`, `NotFound`, `ChildRunning` ...; on a node, whether there is such a supervisor at all
    is known at the first call.

    Attributes:
        path: the names of the supervisors above it and its own, joined by "/"; "" is the top.
    """

    __slots__ = ("_access", "path")

    def __init__(self, access: SupervisorAccess, path: str) -> None:
        self._access = access
        self.path: str = path

    def __repr__(self) -> str:
        return f"<SupervisorRef {self.path!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SupervisorRef):
            return NotImplemented
        return (self._access, self.path) == (other._access, other.path)

    def __hash__(self) -> int:
        return hash(self.path)

    @overload
    async def start_child(self, item: ActorSpec[A]) -> Ref[A]: ...
    @overload
    async def start_child(self, item: SupervisorSpec | DynamicSpec) -> None: ...
    async def start_child(self, item: TreeSpec) -> Ref[Any] | None:
        """Add a child made by `child`, `supervisor`, `dynamic` or `pool`, and start it.

        Returns:
            An actor's address; None for a supervisor.

        Raises:
            InvalidSpec: *item* is none of these.
            SupervisorError: there is a child of this name, or it did not start.
        """
        try:
            return await self._access.start_child(self.path, item)
        except ChildNotStarted as error:
            raise only_user_frames(error) from error.__cause__

    async def stop_child(self, name: str) -> None:
        """Stop a child for good; a static supervisor keeps its description for `restart_child`.

        When the child is who calls this, or an actor that waits for who calls it, or is above one of them, this
        returns when the stop has begun.

        Raises:
            InvalidSpec: it is a supervisor of the system's own, which every system needs.
            SupervisorError: there is no such child, or the supervisor does not run.
        """
        await self._access.stop_child(self.path, name)

    async def restart_child(self, name: str) -> Ref[Any] | None:
        """Start a stopped child again; an actor, or a pool, gets another address."""
        try:
            return await self._access.restart_child(self.path, name)
        except ChildNotStarted as error:
            raise only_user_frames(error) from error.__cause__

    async def delete_child(self, name: str) -> None:
        """Forget a stopped child."""
        await self._access.delete_child(self.path, name)

    async def children(self) -> list[ChildInfo]:
        """Return all children, the newest first; an actor that runs has its address as `child`, others None."""
        return await self._access.children(self.path)

    async def count(self) -> Count:
        """Return how many children there are, and how many of them run."""
        return await self._access.count_children(self.path)

"""The handle of one supervisor in the running tree: the same one over all its restarts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from anyio import CancelScope

from actors._base.errors import ActorsError, InvalidSpec, SystemStopped
from actors._system.tree_specs import SYSTEM_SUPERVISORS
from actors.nodes import ActorRun
from actors.supervisors import ChildNotStarted, ChildState, Restart, Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from actors._messaging.ref import Ref
    from actors._remoting.operations import Chain
    from actors._system.pool_spec import PoolSpec
    from actors._system.tree_specs import TreeSpec
    from actors.nodes import StaticChild
    from actors.supervisors import ChildInfo, ChildSpec, Count, DynamicSupervisor

__all__ = ["SupervisorHandle", "SupervisorHandleHost"]


class HandlePools(Protocol):
    """The pools of the system, as handles see them."""

    async def prepare(self, item: TreeSpec) -> list[PoolSpec[Any]]: ...
    async def abandon(self, specs: list[PoolSpec[Any]]) -> None: ...


class SupervisorHandleHost(Protocol):
    """The tree, as its handles see it."""

    def spec_of(
        self, item: TreeSpec, handle: SupervisorHandle, *, again: bool = False, chain: Chain = ()
    ) -> ChildSpec: ...
    def ref_of(self, run: object) -> Ref[Any] | None: ...
    @property
    def pools(self) -> HandlePools: ...


class SupervisorHandle:
    """A supervisor of the running system: add, stop, restart and delete children, with OTP's results.

    Errors are those of the `supervisors` package: `AlreadyStarted`, `NotFound`, `ChildRunning` ...

    Attributes:
        path: the names of the supervisors above it and its own, joined by "/"; "" is the top.
        restart: when the supervisor above starts it again.
    """

    def __init__(self, tree: SupervisorHandleHost, path: str) -> None:
        self._tree = tree
        self._supervisor: Supervisor | DynamicSupervisor | None = None
        self.path = path
        self.restart = Restart.TEMPORARY
        self.chain: Chain = ()
        """The actors that wait for its next run, the first of its life."""
        self.statics: dict[str, StaticChild] = {}
        """The actors that every run of the supervisor starts."""
        self.subtrees: dict[str, TreeSpec] = {}
        """Its children that are supervisors, to start their pools' nodes with them."""

    def __repr__(self) -> str:
        return f"<SupervisorHandle {self.path}>"

    @property
    def supervisor(self) -> Supervisor | DynamicSupervisor:
        """The current run of the supervisor.

        Raises:
            SystemStopped: it has none.
        """
        if self._supervisor is None:
            raise SystemStopped(f"supervisor {self.path!r} is not running")
        return self._supervisor

    def set_run(self, supervisor: Supervisor | DynamicSupervisor) -> None:
        """Set the current run."""
        self._supervisor = supervisor

    async def start_child(
        self, item: TreeSpec, chain: Chain = (), *, again: bool = False
    ) -> Ref[Any] | None:
        """Add a child made by `child`, `supervisor` or `dynamic`, and start it.

        Args:
            item: the child.
            chain: the actors that wait for it.
            again: whether the next run of this supervisor has it too.

        Returns:
            An actor's address; None for a supervisor.

        Raises:
            InvalidSpec: *item* is none of these.
            SupervisorError: there is a child of this name, or it did not start.
        """
        if not hasattr(item, "restart"):
            raise InvalidSpec(
                f"{self.path}: children are made by child(), supervisor() or dynamic(), got {item!r}"
            )
        supervisor = self.supervisor
        self.refuse_start_before_itself(item.name, chain)
        async with self._with_pools(item):
            spec = self._tree.spec_of(item, self, again=again, chain=chain)
            try:
                return self._tree.ref_of(await supervisor.start_child(spec))
            except ChildNotStarted:
                self.statics.pop(item.name, None)
                raise

    def refuse_start_before_itself(self, name: str, chain: Chain) -> None:
        """Refuse a start of which this supervisor would make the asker wait until the asker has started.

        Raises:
            ActorsError: saying where to start it instead.
        """
        supervisor = self.supervisor
        waiting = {int(number): str(who) for number, who in chain}
        by = "" if supervisor.running else waiting.get(0, "")
        if by:
            why = "the system is starting, and waits for that"
        else:
            starting = next((uid for uid in _starting_in(supervisor) if uid in waiting), None)
            if starting is None:
                return
            by = f"actor {waiting[starting]!r}"
            why = (
                f"supervisor {self.path or 'system'!r} is starting it, and does one after the other"
            )
        raise ActorsError(
            f"{name!r} cannot be started by {by}: {why}. Put it into the topology, or start it in a task of "
            "its own (asyncio.create_task) or with the first request"
        )

    @asynccontextmanager
    async def _with_pools(self, item: TreeSpec | None) -> AsyncIterator[None]:
        """Start the nodes of an item's pools; end them again if the block, which starts the item, fails."""
        prepared = [] if item is None else await self._tree.pools.prepare(item)
        try:
            yield
        except BaseException:
            with CancelScope(shield=True):
                await self._tree.pools.abandon(prepared)
            raise

    async def stop_child(self, name: str) -> None:
        """Stop a child for good; a static supervisor keeps its spec for `restart_child`.

        An actor with `on_renew` hands its state over to the one that `restart_child` starts.

        Raises:
            InvalidSpec: it is a supervisor of the system's own, which every system needs.
            SupervisorError: there is no such child, or the supervisor does not run.
        """
        self.check_stop(name)
        static = self.statics.get(name)
        if static is not None:
            static.renew()
        await self.supervisor.stop_child(name)

    def check_stop(self, name: str) -> None:
        """Refuse to stop what every system needs.

        Raises:
            InvalidSpec: as `stop_child`.
        """
        if not self.path and name in SYSTEM_SUPERVISORS:
            instead = SYSTEM_SUPERVISORS[name]
            raise InvalidSpec(
                f"supervisor {name!r} is the system's own, and is not stopped: {instead}"
            )

    async def restart_child(self, name: str, chain: Chain = ()) -> Ref[Any] | None:
        """Start a stopped child again, for which *chain* waits; an actor, or a pool, gets another address."""
        supervisor = self.supervisor
        self.refuse_start_before_itself(name, chain)
        static = self.statics.get(name)
        if static is not None:
            static.chain = tuple((number, asker) for number, asker in chain)
        async with self._with_pools(self.subtrees.get(name)):
            return self._tree.ref_of(await supervisor.restart_child(name))

    def delete_child(self, name: str) -> None:
        """Forget a stopped child."""
        self.supervisor.delete_child(name)
        self.subtrees.pop(name, None)
        self.statics.pop(name, None)

    def children(self) -> list[ChildInfo]:
        """Return all children, the newest first."""
        return self.supervisor.children()

    def count(self) -> Count:
        """Return how many children there are, and how many of them run."""
        return self.supervisor.count()


def _starting_in(supervisor: Supervisor | DynamicSupervisor) -> Iterator[int]:
    """Yield the numbers of the actors that *supervisor* starts before it does anything else."""
    if isinstance(supervisor, Supervisor):
        for row in supervisor.children():
            if row.state is not ChildState.STARTING:
                continue
            if isinstance(row.child, ActorRun):
                yield row.child.ref.uid
            elif isinstance(row.child, Supervisor):
                yield from _starting_in(row.child)

"""Rolling reload: node after node goes on as a new process, with the code as it is on disk now.

Rule 1: a node is touched when the one before it has its place and its actors; what it replaced
may still finish what it has.
Rule 2: the first new process that does not get ready ends the reload. The node it was for, and all
that come after, stay as they are, and whoever asked hears why.
Rule 3: one reload at a time.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, create_task_group

from actors._base.errors import ActorsError, InvalidSpec, ReloadFailed, ReloadRunning, SystemStopped
from actors._base.user_traceback import user_part
from actors.nodes import NodeReplacement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._system.node_groups import NodeGroups
    from actors._system.system_state import SystemState
    from actors.nodes import RemoteNode

__all__ = ["RollingReload"]

_WHY: Final = "reloaded"


class RollingReload:
    """Renews the code of a running system's process nodes."""

    def __init__(self, state: SystemState, groups: NodeGroups) -> None:
        self._state = state
        self._groups = groups
        self._running = ""

    async def reload(
        self,
        names: Sequence[str] = (),
        *,
        surge: bool = False,
        ready_timeout: float | None = None,
        by: str = "system.reload()",
    ) -> list[RemoteNode]:
        """Renew nodes; see `System.reload`.

        Args:
            names: nodes and groups; none is every process node.
            surge: start all new processes before the first takes over.
            ready_timeout: seconds each has to get ready; None is its group's `boot_timeout`.
            by: who asks, in words.
        """
        _check_timeout(ready_timeout)
        nodes = self._chosen(names)
        if self._state.stopping:
            raise SystemStopped("the system is stopping: it reloads nothing")
        if self._running:
            raise ReloadRunning(f"another reload is under way, {self._running}")
        self._running = f"by {by}: {', '.join(names) or 'all nodes'}"
        roll = _ReloadProgress(nodes, ready_timeout)
        try:
            async with AsyncExitStack() as held:
                for group in sorted({node.group for node in nodes}):
                    await held.enter_async_context(self._groups.changing(group))
                await self._roll(roll, surge=surge, by=by)
        finally:
            self._running = ""
        return nodes

    async def _roll(self, roll: _ReloadProgress, *, surge: bool, by: str) -> None:
        state, names = self._state, [node.name for node in roll.nodes]
        state.event("reload_started", {"nodes": names, "by": by, "surge": surge})
        began = state.loop.now()
        state.launcher.renew()
        try:
            await (roll.all_at_once() if surge else roll.one_by_one())
        except Exception as error:
            failed = _failure(roll, error)
            facts = {"node": failed.node, "renewed": failed.renewed, "error": failed.why}
            state.event("reload_failed", {**facts, "traceback": failed.traceback, "by": by})
            raise failed from error
        seconds = round(state.loop.now() - began, 3)
        state.event("reload_done", {"nodes": names, "by": by, "seconds": seconds})

    def _chosen(self, names: Sequence[str]) -> list[RemoteNode]:
        """Return the nodes that are meant, each once, in the order of their names.

        Raises:
            InvalidSpec: one of *names* is nothing that can be reloaded.
        """
        state = self._state
        staying = [node for node in state.nodes.values() if not node.leaving and not node.lost]
        chosen = [node for node in staying if node.kind == "process"] if not names else []
        for name in names:
            found = [node for node in staying if name in (node.name, node.group)]
            if not found:
                there = ", ".join(state.nodes) or "none"
                raise InvalidSpec(f"there is no node or group {name!r}; the nodes are {there}")
            if found[0].kind != "process":
                raise InvalidSpec(
                    f"{name!r} cannot be reloaded: a {found[0].kind} has the code of its process, "
                    "which is renewed by starting that again"
                )
            chosen += [node for node in found if node not in chosen]
        if not chosen:
            raise InvalidSpec("there is no process node to reload")
        return sorted(chosen, key=lambda node: (node.group, node.slot))


class _ReloadProgress:
    """The way of one reload through its nodes."""

    def __init__(self, nodes: list[RemoteNode], ready_timeout: float | None) -> None:
        self.nodes = nodes
        self.renewed: list[str] = []
        self.at = ""
        """The node that it is about."""
        self._within = ready_timeout

    async def one_by_one(self) -> None:
        """Boot a new process for a node, let it take over, and go on with the next."""
        async with create_task_group() as leaving:
            try:
                for node in self.nodes:
                    tenure = self._tenure(node)
                    await tenure.boot_next(self._within)
                    await self._take_over(node, tenure)
                    leaving.start_soon(tenure.alone)
            except Exception as error:  # noqa: BLE001 - raised below, as it is and not in a group
                failure: Exception | None = error
            else:
                failure = None
        if failure is not None:
            raise failure

    async def all_at_once(self) -> None:
        """Boot all new processes; if each is ready, let them take over one after another."""
        tenures = [(node, self._tenure(node)) for node in self.nodes]
        failures: list[tuple[RemoteNode, Exception]] = []
        try:
            async with create_task_group() as tasks:
                for node, tenure in tenures:
                    tasks.start_soon(self._boot, node, tenure, failures)
            for node, error in failures[:1]:
                self.at = node.name
                raise error
            for node, tenure in tenures:
                self.at = node.name
                await self._take_over(node, tenure)
        finally:
            with CancelScope(shield=True):
                for _, tenure in tenures:
                    await tenure.drop_next()
        for _, tenure in tenures:
            await tenure.alone()

    async def _boot(
        self,
        node: RemoteNode,
        tenure: NodeReplacement,
        failures: list[tuple[RemoteNode, Exception]],
    ) -> None:
        try:
            await tenure.boot_next(self._within)
        except Exception as error:  # noqa: BLE001 - the first is raised when all have said theirs
            failures.append((node, error))

    async def _take_over(self, node: RemoteNode, tenure: NodeReplacement) -> None:
        tenure.take_over(_WHY)
        await tenure.handed_over()
        self.renewed.append(node.name)

    def _tenure(self, node: RemoteNode) -> NodeReplacement:
        self.at = node.name
        if not isinstance(node.replacement, NodeReplacement):
            raise ActorsError(f"node {node.name} is not running")
        return node.replacement


def _check_timeout(seconds: object) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and seconds > 0):  # type: ignore[operator] # a number
        raise InvalidSpec(f"ready_timeout must be more than 0 seconds, got {seconds!r}")


def _failure(roll: _ReloadProgress, error: Exception) -> ReloadFailed:
    return ReloadFailed(roll.at, str(error), roll.renewed, user_part(error))

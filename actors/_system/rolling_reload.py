"""Rolling reload: each node in turn is replaced by a new process, with the code that is on disk now.

Rule 1: a node is replaced when the new process of the one before it has taken over its connections
and its actors; the old process may still be finishing its work.
Rule 2: the first new process that does not get ready ends the reload. Its node and all nodes after
it keep their old processes, and the caller gets the reason.
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

    @property
    def running(self) -> bool:
        """Whether a reload is under way."""
        return bool(self._running)

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
            by: who asks, for the events.
        """
        nodes = self.check(names, surge=surge, ready_timeout=ready_timeout)
        self._running = f"by {by}: {', '.join(names) or 'all nodes'}"
        progress = _ReloadProgress(nodes, ready_timeout)
        try:
            async with AsyncExitStack() as held:
                for group in sorted({node.group for node in nodes}):
                    await held.enter_async_context(self._groups.changing(group))
                await self._run(progress, surge=surge, by=by)
        finally:
            self._running = ""
        return nodes

    def check(
        self, names: Sequence[str], *, surge: bool, ready_timeout: float | None
    ) -> list[RemoteNode]:
        """Return the nodes that `reload` would renew now.

        Raises:
            InvalidSpec: there is no such node, or a value that can never work.
            ReloadRunning: another reload is running.
            SystemStopped: the system is stopping.
        """
        _check_timeout(ready_timeout)
        if type(surge) is not bool:
            raise InvalidSpec(f"surge must be True or False, got {surge!r}")
        nodes = self._chosen(names)
        if self._state.stopping:
            raise SystemStopped("the system is stopping: it reloads nothing")
        if self._running:
            raise ReloadRunning(f"another reload is under way, {self._running}")
        return nodes

    async def _run(self, progress: _ReloadProgress, *, surge: bool, by: str) -> None:
        state, names = self._state, [node.name for node in progress.nodes]
        state.event("reload_started", {"nodes": names, "by": by, "surge": surge})
        began = state.loop.now()
        state.launcher.renew()
        try:
            await (progress.all_at_once() if surge else progress.one_by_one())
        except Exception as error:
            failed = ReloadFailed(
                progress.current,
                str(error),
                progress.renewed,
                user_part(error),
                self._restarting(progress.current),
            )
            facts = {"node": failed.node, "renewed": failed.renewed, "error": failed.why}
            state.event("reload_failed", {**facts, "traceback": failed.traceback, "by": by})
            raise failed from error
        seconds = round(state.loop.now() - began, 3)
        state.event("reload_done", {"nodes": names, "by": by, "seconds": seconds})

    def _restarting(self, name: str) -> bool:
        """Return whether a node that was to be renewed has no process left, and is started again."""
        node = self._state.nodes.get(name)
        return node is not None and not (node.ready or node.leaving or self._state.stopping)

    def _chosen(self, names: Sequence[str]) -> list[RemoteNode]:
        """Return the nodes that *names* mean, each once, by group and slot.

        Raises:
            InvalidSpec: one of *names* cannot be reloaded.
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
    """The nodes of one reload, and how far it has come."""

    def __init__(self, nodes: list[RemoteNode], ready_timeout: float | None) -> None:
        self.nodes = nodes
        self.renewed: list[str] = []
        self.current = ""
        """The name of the node being renewed."""
        self._ready_timeout = ready_timeout

    async def one_by_one(self) -> None:
        """Boot a new process for a node, let it take over, then do the same with the next."""
        failure: Exception | None = None
        async with create_task_group() as leaving:
            try:
                for node in self.nodes:
                    replacement = self._replacement(node)
                    await replacement.boot_next(self._ready_timeout)
                    await self._take_over(node, replacement)
                    leaving.start_soon(replacement.alone)
            except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                failure = error
        if failure is not None:
            raise failure

    async def all_at_once(self) -> None:
        """Boot all new processes; if each is ready, let them take over one after another."""
        replacements = [(node, self._replacement(node)) for node in self.nodes]
        failures: list[tuple[RemoteNode, Exception]] = []
        try:
            async with create_task_group() as tasks:
                for node, replacement in replacements:
                    tasks.start_soon(self._boot, node, replacement, failures)
            for node, error in failures[:1]:
                self.current = node.name
                raise error
            for node, replacement in replacements:
                self.current = node.name
                await self._take_over(node, replacement)
        finally:
            with CancelScope(shield=True):
                for _, replacement in replacements:
                    await replacement.drop_next()
        for _, replacement in replacements:
            await replacement.alone()

    async def _boot(
        self,
        node: RemoteNode,
        replacement: NodeReplacement,
        failures: list[tuple[RemoteNode, Exception]],
    ) -> None:
        try:
            await replacement.boot_next(self._ready_timeout)
        except Exception as error:  # noqa: BLE001 - the first is raised when all are done
            failures.append((node, error))

    async def _take_over(self, node: RemoteNode, replacement: NodeReplacement) -> None:
        replacement.take_over(_WHY)
        await replacement.handed_over()
        self.renewed.append(node.name)

    def _replacement(self, node: RemoteNode) -> NodeReplacement:
        self.current = node.name
        if not isinstance(node.replacement, NodeReplacement):
            raise ActorsError(f"node {node.name} is not running")
        return node.replacement


def _check_timeout(seconds: object) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and seconds > 0):  # type: ignore[operator] # a number
        raise InvalidSpec(f"ready_timeout must be more than 0 seconds, got {seconds!r}")

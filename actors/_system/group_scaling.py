"""Groups of nodes that scale themselves, by `nodes(min=, max=)`: looked at once a second, changed by `scale`.

Rule 1: there are never more nodes than CPUs that this process may use, unless *min* asks for them.
Rule 2: a node that does not answer in time is busy; a change that fails is an event, and is tried again later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import fail_after, sleep

from actors._base.cpus import usable_cpus
from actors._base.errors import ActorsError
from actors._remoting import operations as ops
from actors._system.admin_spec import ADMIN_GROUP
from actors._system.memory_left import memory_left
from actors._system.scaling_rule import GroupLoad, ScalingRule

if TYPE_CHECKING:
    from actors._base.loop import Task
    from actors._system.node_groups import NodeGroups
    from actors._system.system_state import SystemState
    from actors.nodes import NodesSpec, RemoteNode

__all__ = ["GroupScaling"]

EVERY: Final = 1.0
"""Seconds between two looks."""


class GroupScaling:
    """Scales the groups of a system that have a *max*."""

    def __init__(self, state: SystemState, groups: NodeGroups) -> None:
        self._state = state
        self._groups = groups
        self._tasks: dict[str, Task] = {}
        self._specs: dict[str, NodesSpec] = {}
        self._limited: set[str] = set()

    def watch(self, spec: NodesSpec) -> None:
        """Scale a group from now on, by its present bounds, if it is one that scales itself."""
        if self._specs.get(spec.name) == spec:
            return
        self.unwatch(spec.name)
        if spec.max is not None:
            self._specs[spec.name] = spec
            self._tasks[spec.name] = self._state.loop.start(
                self._watch, spec, name=f"scale {spec.name}"
            )

    def unwatch(self, name: str) -> None:
        """Scale a group no more, if it was one that scales itself."""
        self._specs.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Change no group any more."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _watch(self, spec: NodesSpec) -> None:
        assert spec.min is not None
        assert spec.max is not None
        now = self._state.loop.now
        rule = ScalingRule(spec.min, spec.max, now())
        looks: dict[str, tuple[float, float]] = {}
        while True:
            await sleep(EVERY)
            members = self._groups.members(spec.name)
            if not members or not all(node.ready for node in members):
                continue
            load = await self._load(spec, members, looks)
            rule.most = max(spec.min, min(spec.max, self._cpus_for(spec.name)))
            wanted = rule.wanted(load, now())
            if wanted != load.nodes:
                await self._scale(spec.name, load.nodes, wanted, rule.why)
                rule.changed(now())
            self._tell_limit(spec, load, rule)

    async def _load(
        self, spec: NodesSpec, members: list[RemoteNode], looks: dict[str, tuple[float, float]]
    ) -> GroupLoad:
        routers = [
            item.any_router for item in self._state.listeners if item.spec.nodes == spec.name
        ]
        waiting = sum(router.snapshot().pending for router in routers if router is not None)
        shares = []
        for node in members:
            share, queued = await self._look(node, looks)
            shares.append(share)
            waiting += queued
        for gone in looks.keys() - {node.address for node in members}:
            del looks[gone]
        return GroupLoad(len(members), sum(shares) / len(shares), waiting, memory_left())

    async def _look(
        self, node: RemoteNode, looks: dict[str, tuple[float, float]]
    ) -> tuple[float, int]:
        """Return the part of the time since the last look that a node's loop computed, and its queue."""
        key, now = node.address, self._state.loop.now
        try:
            with fail_after(EVERY):
                computed, queued = await node.link.call(ops.load)
        except (ActorsError, TimeoutError):
            looks.pop(key, None)
            return 1.0, 0
        at, (computed_before, before) = now(), looks.get(key, (computed, 0.0))
        looks[key] = computed, at
        return min(1.0, (computed - computed_before) / max(at - before, 0.001)), queued

    def _cpus_for(self, name: str) -> int:
        """Return how many CPUs the other groups leave."""
        nodes = self._state.nodes.values()
        others = [node for node in nodes if node.group not in {name, ADMIN_GROUP}]
        return usable_cpus() - sum(node.spec.engine is None for node in others)

    async def _scale(self, name: str, have: int, wanted: int, why: str) -> None:
        facts = {"group": name, "before": have, "nodes": wanted, "why": why}
        try:
            await self._groups.scale(name, wanted)
        except ActorsError as error:
            self._state.event("scaling_failed", {**facts, "error": str(error)})
        else:
            self._state.event("group_scaled", facts)

    def _tell_limit(self, spec: NodesSpec, load: GroupLoad, rule: ScalingRule) -> None:
        """Tell once that a group which is busy has as many nodes as there are CPUs."""
        limited = rule.pressed and load.nodes == rule.most < (spec.max or 0)
        if limited and spec.name not in self._limited:
            facts = {
                "group": spec.name,
                "nodes": load.nodes,
                "max": spec.max,
                "cpus": usable_cpus(),
            }
            self._state.event("scaling_limited", facts)
        if limited:
            self._limited.add(spec.name)
        else:
            self._limited.discard(spec.name)

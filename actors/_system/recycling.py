"""Recycling: a node that has served enough, is old enough or has grown too large is replaced.

Rule 1: a node that serves a listener goes on until a new process has taken its place (a renewal), so that no
client notices; another one is drained, ended and started again.
Rule 2: one node of a group at a time, and by the group's backoff, so that a limit that is too low costs little.
Rule 3: the code is not renewed on purpose: the process that nodes are forked from stays.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from anyio import sleep

from actors._base.errors import ActorsError
from actors.nodes import NodeReplacement, NodeState
from actors.supervisors import BackoffState

if TYPE_CHECKING:
    from actors._base.loop import Task, Timer
    from actors._system.node_groups import NodeGroups
    from actors._system.system_state import SystemState
    from actors.nodes import RemoteRun

__all__ = ["Recycling"]

_SHORTER: Final = 0.1
"""The largest part of its lifetime by which a node ends earlier, so that not all do at the same time."""


class Recycling:
    """Replaces nodes that have reached a limit of their group."""

    def __init__(self, state: SystemState, groups: NodeGroups) -> None:
        self._state = state
        self._groups = groups
        self._lifetimes: dict[str, Timer] = {}
        """By the address of a run."""
        self._paces: dict[str, BackoffState] = {}
        self._tasks: dict[str, Task] = {}
        """What renews a node, by its name."""

    def node_ready(self, run: RemoteRun) -> None:
        """Limit the life of a run that begins, if its group has a lifetime."""
        lifetime = run.node.spec.lifetime
        if lifetime is not None:
            seconds = lifetime * (1 - _SHORTER * random.random())  # noqa: S311 - no secret
            self._lifetimes[run.address] = self._state.loop.call_later(
                seconds, self._too_old, run, lifetime
            )

    def node_ended(self, run: RemoteRun) -> None:
        """Forget a run."""
        timer = self._lifetimes.pop(run.address, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Begin no more renewals."""
        for timer in self._lifetimes.values():
            timer.cancel()
        self._lifetimes.clear()
        for task in list(self._tasks.values()):
            task.cancel()

    def _too_old(self, run: RemoteRun, lifetime: float) -> None:
        self._due(run, f"its lifetime of {lifetime:g} s is over")

    def over_rss(self, run: RemoteRun, rss: int) -> None:
        """Replace a node that holds more memory than it may; it repeats this until it leaves."""
        if not self._is_taken(run):
            limit = run.node.spec.max_rss or 0
            facts = {"node": run.node.name, "rss": rss, "max_rss": limit}
            self._state.event("node_over_rss", facts)
            self._due(run, f"{_mib(rss)} resident, max_rss is {_mib(limit)}")

    def served_enough(self, run: RemoteRun, count: int) -> None:
        """Replace a node that has served *count* requests; it repeats this until it leaves."""
        limit = run.node.spec.max_requests
        self._due(run, f"it has served {count} requests, max_requests is {limit}")

    def unready(self, run: RemoteRun, seconds: float) -> None:
        """Replace a node whose check has said no for *seconds*."""
        self._due(run, f"its check {run.node.spec.ready!r} has said no for {seconds:g} s")

    def _due(self, run: RemoteRun, why: str) -> None:
        node = run.node
        if self._is_taken(run):
            return
        if not any(item.spec.nodes == node.group for item in self._state.listeners):
            node.replace(why)
            return
        name = f"recycle {node.name}"
        self._tasks[node.name] = self._state.loop.start(self._renew, run, why, name=name)

    def _is_taken(self, run: RemoteRun) -> bool:
        """Whether a run leaves already, or is about to."""
        return run.node.name in self._tasks or not self._is_current(run)

    def _is_current(self, run: RemoteRun) -> bool:
        """Whether a run serves as its node, with the node's actors."""
        node, stopping = run.node, self._state.stopping
        ready = run.state is NodeState.READY and not (stopping or node.leaving)
        return ready and node.accepting_run is run and node.run is run

    async def _renew(self, run: RemoteRun, why: str) -> None:
        node, now = run.node, self._state.loop.now
        backoff = replace(node.spec.backoff, give_up_after=None)
        pace = self._paces.setdefault(node.name, BackoffState(backoff))
        failed = False
        try:
            while self._is_current(run):
                delay = pace.next(now(), random.random, start_failed=failed)
                await sleep(delay or 0.0)
                failed = not await self._renew_now(run, why)
                if not failed:
                    pace.started(now())
        finally:
            del self._tasks[node.name]

    async def _renew_now(self, run: RemoteRun, why: str) -> bool:
        """Have a new process take the place of *run*; return False if that failed, and *run* goes on."""
        node = run.node
        try:
            async with self._groups.changing(node.group):
                if self._is_current(run) and isinstance(node.replacement, NodeReplacement):
                    await node.replacement.boot_next()
                    node.replacement.take_over(why)
                    await node.replacement.handed_over()
        except ActorsError as error:
            if self._is_current(run):
                facts = {"node": node.name, "why": why, "error": str(error)}
                self._state.event("recycle_failed", facts)
                return False
        return True


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"

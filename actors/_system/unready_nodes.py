"""Nodes that say by the check of their group that they are not ready: they get no new connections for now.

Rule: what they serve goes on. One that says no for long is renewed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors._base.loop import Timer
    from actors._system.recycling import Recycling
    from actors._system.system_state import SystemState
    from actors.nodes import RemoteRun

__all__ = ["UnreadyNodes"]


class UnreadyNodes:
    """Which runs have said no, and since when."""

    def __init__(self, state: SystemState, recycling: Recycling) -> None:
        self._state = state
        self._recycling = recycling
        self._timers: dict[str, Timer] = {}
        """By the address of a run."""

    def said(self, run: RemoteRun, ready: bool, why: str) -> None:  # noqa: FBT001 - a wire field
        """Take note of what the check of a node says now."""
        node, timer = run.node, self._timers.pop(run.address, None)
        if timer is not None:
            timer.cancel()
        if ready:
            self._state.event("node_ready_again", {"node": node.name})
            for listening in self._state.listeners:
                listening.node_resumed(run)
            return
        self._state.event("node_unready", {"node": node.name, "check": node.spec.ready, "why": why})
        for listening in self._state.listeners:
            listening.node_draining(run)
        seconds = node.spec.unready_after
        self._timers[run.address] = self._state.loop.call_later(
            seconds, self._recycling.unready, run, seconds
        )

    def node_ended(self, run: RemoteRun) -> None:
        """Forget a run."""
        timer = self._timers.pop(run.address, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Forget all of them."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

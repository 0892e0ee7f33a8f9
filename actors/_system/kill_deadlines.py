"""The deadline of a kill: a node that does not read it within five seconds cannot end the actor itself.

Rule 1: a process that does not answer is ended; a thread cannot be, so only those who wait there are told.
Rule 2: no node is ended because this process slept, nor while it imports or is debugged.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from anyio import move_on_after

from actors._base.errors import ActorsError
from actors._remoting import operations as ops
from actors.nodes import NodeState

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._system.system_state import SystemState
    from actors.nodes import RemoteRun

__all__ = ["KillDeadlines"]

_PATIENCE: Final = 5.0
"""Seconds that a node has to answer."""
_ONCE_MORE: Final = 0.25
"""Those of them in which an answer is read that came while this process was kept from reading."""


class _Kill(NamedTuple):
    """A kill, or a stop whose grace is over."""

    uid: int
    actor: str
    by: str


class KillDeadlines:
    """Ends nodes that do not answer when one of their actors is to end.

    Args:
        state: the system.
        unheard: called with the run of a thread node and the number of an actor that it does not end.
    """

    def __init__(self, state: SystemState, unheard: Callable[[RemoteRun, int], None]) -> None:
        self._state = state
        self._unheard = unheard
        self._asked: dict[RemoteRun, list[_Kill]] = {}

    def begin(self, uid: int, actor: str, node: str, after: float, by: str) -> None:
        """Have the node of an actor answer within the patience, in *after* seconds from now.

        Args:
            uid: the actor's number.
            actor: its name.
            node: its node, or the address of that node's run.
            after: seconds until the actor has to end.
            by: who wants that.
        """
        self._state.loop.call_later(after, self._check, _Kill(uid, actor, by), node)

    def _check(self, kill: _Kill, name: str) -> None:
        node = self._state.nodes.get(name)
        run = self._state.runs.get(name) if kill.uid >> 32 or node is None else node.run
        over = not kill.uid >> 32 and kill.uid not in self._state.supervised
        if run is None or over or self._state.stopping:
            return
        # One question for all that come while it is under way.
        asked = self._asked.setdefault(run, [])
        asked.append(kill)
        if len(asked) == 1:
            self._state.loop.start(self._ask, run, name=f"kill on {run.node.name}", fresh=True)

    async def _ask(self, run: RemoteRun) -> None:
        try:
            answered = await _answers(run, _PATIENCE - _ONCE_MORE) or await _answers(
                run, _ONCE_MORE
            )
        finally:
            kills = self._asked.pop(run)
        ends = run.state is NodeState.READY and run.hang_detector.watched
        if not answered and ends and not self._state.stopping:
            self._end(run, kills)

    def _end(self, run: RemoteRun, kills: list[_Kill]) -> None:
        for kill in kills:
            self._unheard(run, kill.uid)
        kill, node = kills[0], run.node
        if node.kind == "process":
            facts = {"node": node.name, "actor": kill.actor, "by": kill.by}
            self._state.event("node_killed", facts)
            why = (
                f"it did not answer for {_PATIENCE:g} s when {kill.by} ended its actor {kill.actor}"
            )
            run.end_for({kill.uid for kill in kills}, why)


async def _answers(run: RemoteRun, seconds: float) -> bool:
    """Whether a node answers within *seconds*, or has ended."""
    with move_on_after(seconds), suppress(ActorsError):
        if run.link is not None:
            await run.link.call(ops.answer)
        return True
    # The call was cancelled, or failed because the link has ended.
    return run.link is None

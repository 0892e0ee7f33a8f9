"""Ask, wait, then insist: how a run is ended. The only file that stops or kills a child.

Nothing hangs: a run that does not end after it was killed is waited for only so long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import anyio

from actors.supervisors._child_record import Run


class ShutdownDeadline:
    """Until when a supervisor waits for its children at all; it can be brought forward only."""

    __slots__ = ("_deadline", "_scopes")

    def __init__(self) -> None:
        self._deadline = math.inf
        self._scopes: set[anyio.CancelScope] = set()

    def cut(self, deadline: float) -> None:
        """Wait for nothing beyond *deadline* on the loop's clock, from now on."""
        self._deadline = min(self._deadline, deadline)
        for scope in tuple(self._scopes):
            scope.deadline = min(scope.deadline, deadline)

    @property
    def passed(self) -> bool:
        """Whether no end is awaited any longer."""
        return self._deadline < math.inf and self._deadline <= anyio.current_time()

    async def wait_ended(self, run: Run, until: float) -> bool:
        """Wait for the end of *run* up to the earlier of *until* and this; return whether it has ended."""
        scope = anyio.CancelScope(deadline=min(until, self._deadline))
        self._scopes.add(scope)
        try:
            return await run.wait_ended(scope)
        finally:
            self._scopes.discard(scope)


def request(run: Run) -> None:
    """Ask a run to end."""
    _call(run, "stop", run.child.stop)


def insist(run: Run) -> None:
    """Kill a run."""
    _call(run, "kill", run.child.kill)


async def ask(run: Run, grace: float, overall: ShutdownDeadline) -> bool:
    """Ask *run* to end and give it *grace* seconds; return whether it has ended."""
    if run.exit is None and grace > 0 and not overall.passed:
        request(run)
        if run.exit is None:
            await overall.wait_ended(run, anyio.current_time() + grace)
    return run.exit is not None


async def kill(runs: Sequence[Run], within: float, overall: ShutdownDeadline | None = None) -> None:
    """Kill all *runs* at once and wait *within* seconds for all of them together.

    Those that have not ended then are abandoned, unless the *overall* deadline passed before.
    """
    overall = overall or ShutdownDeadline()
    for run in runs:
        insist(run)
    until = anyio.current_time() + within
    for run in runs:
        if run.exit is None and not await overall.wait_ended(run, until) and not overall.passed:
            run.abandon()


def _call(run: Run, name: str, verb: Callable[[], None]) -> None:
    try:
        verb()
    except Exception as error:  # noqa: BLE001 - one child's broken verb must not keep the others from being stopped
        run.call_failed(name, error)

"""What a supervisor remembers of one child, and the child's current run.

Nothing here starts, stops or kills.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import anyio

from actors.supervisors._backoff import BackoffState
from actors.supervisors._child import Child
from actors.supervisors._exit import Exit, ExitKind
from actors.supervisors._info import ChildInfo, ChildState, Count
from actors.supervisors._spec import ChildSpec


class RunObserver(Protocol):
    """Who is told about a run."""

    def run_ended(self, run: Run) -> None:
        """Handle the end of *run*."""

    def run_call_failed(self, run: Run, verb: str, error: Exception) -> None:
        """Report that the child's method *verb* raised *error*, which it may not."""


class Run:
    """One run of the child *name*: from its start to its end.

    The child reports its end twice: it calls `ended`, and its `wait` returns. The first counts.
    """

    __slots__ = ("_observer", "_waiting", "child", "exit", "name", "starting", "void")

    def __init__(self, name: str, child: Child, observer: RunObserver) -> None:
        self.name: str = name
        self.child: Child = child
        self.exit: Exit | None = None
        self.starting: anyio.CancelScope | None = None
        """Cancels its start."""
        self.void: bool = False
        """Whether its start failed or was interrupted: what the child reports is ignored then."""
        self._observer = observer
        self._waiting: tuple[anyio.CancelScope, ...] = ()

    def ended(self, exit_: Exit) -> None:
        """Note the end that the child reports, and pass it on."""
        if self.exit is not None or self.void:
            return
        self.exit = exit_
        for scope in self._waiting:
            scope.cancel()
        self._observer.run_ended(self)

    def abandon(self) -> None:
        """Count it as ended although it has not: it was killed, and the wait for its end is over."""
        if self.exit is None:
            self.exit = Exit.ABANDONED

    def interrupt(self) -> None:
        """Cancel its start, if that has not returned."""
        if self.starting is not None:
            self.starting.cancel()

    async def wait_ended(self, scope: anyio.CancelScope) -> bool:
        """Wait for the end until *scope* is cancelled; return whether it has ended."""
        if self.exit is None:
            with scope:
                exit_ = await self._wait_child(scope)
            if scope.cancelled_caught or exit_ is None:
                return self.exit is not None
            self.ended(exit_)
        return True

    async def _wait_child(self, scope: anyio.CancelScope) -> Exit | None:
        self._waiting += (scope,)
        try:
            return await self.child.wait()
        except Exception as error:  # noqa: BLE001 - a child whose wait() fails is reported, and then killed
            self.call_failed("wait", error)
            return None
        finally:
            self._waiting = tuple(one for one in self._waiting if one is not scope)

    def call_failed(self, verb: str, error: Exception) -> None:
        """Report that a verb of the child raised."""
        self._observer.run_call_failed(self, verb, error)


class ChildRecord:
    """One child: its spec, its current run, and its history.

    Its life begins when somebody has it started, continues over all restarts, and is over when it
    is not restarted any more. The spec's `gone` is called once per life.
    """

    __slots__ = (
        "_alive",
        "_unwatch_host",
        "again",
        "attempts",
        "backoff",
        "due",
        "error",
        "grace",
        "host_was_down",
        "last_exit",
        "position",
        "restarts",
        "run",
        "spec",
        "state",
    )

    def __init__(self, spec: ChildSpec, position: int = 0) -> None:
        self.spec: ChildSpec = spec
        self.position: int = position
        """Its place in the start order."""
        self.state: ChildState = ChildState.STARTING
        self.grace: float = spec.grace
        """Seconds between the request to stop and the kill; `stop_child` may change it."""
        self.run: Run | None = None
        self.backoff: BackoffState | None = (
            None if spec.backoff is None else BackoffState(spec.backoff)
        )
        self.again: bool = False
        """Whether it is being restarted: an attempt to start it is not the first of its life."""
        self.due: float | None = None
        """When it is restarted, if it is backing off."""
        self.attempts: int = 0
        self.restarts: int = 0
        self.last_exit: Exit | None = None
        self.host_was_down: bool = False
        """Whether its host was down when its last run ended."""
        self.error: BaseException | None = None
        self._alive = False
        self._unwatch_host: Callable[[], None] | None = None

    def begin_life(self) -> None:
        """Begin a life: from here the spec's `gone` must be called exactly once."""
        self._alive = True
        self.again = False

    def end_life(self, exit_: Exit) -> None:
        """End the life and call the spec's `gone`; does nothing if there is no life to end."""
        if not self._alive:
            return
        abandoned = exit_.kind is ExitKind.ABANDONED
        self.state = ChildState.ABANDONED if abandoned else ChildState.STOPPED
        self.run = None
        self.due = None
        self.unwatch_host()
        self._alive = False
        if self.spec.gone is not None:
            self.spec.gone(exit_)

    def run_ended(self, now: Callable[[], float]) -> None:
        """Note that its run has just ended; a restart may be decided later."""
        self.host_was_down = self.host_down
        if self.backoff is not None:
            self.backoff.ended(now())

    def watch_host(self, callback: Callable[[], None]) -> None:
        """Have *callback* called when the host changes."""
        if self.spec.host is not None and self._unwatch_host is None:
            self._unwatch_host = self.spec.host.notify(callback)

    def unwatch_host(self) -> None:
        """Cancel the call."""
        unwatch, self._unwatch_host = self._unwatch_host, None
        if unwatch is not None:
            unwatch()

    @property
    def restarting(self) -> bool:
        """Whether an attempt to restart it is under way."""
        return self.again and self.state is ChildState.STARTING

    @property
    def host_down(self) -> bool:
        """Whether it has a host and that is not ready."""
        return self.spec.host is not None and not self.spec.host.ready

    @property
    def host_lost(self) -> bool:
        """Whether it has a host and that will never be ready again."""
        return self.spec.host is not None and self.spec.host.lost

    def host_lost_exit(self) -> Exit:
        """Return how its life ends if its host is lost."""
        if self.last_exit is not None and self.last_exit.kind is ExitKind.NODE_DOWN:
            return self.last_exit
        return Exit.NODE_DOWN("its host has been given up")

    def info(self) -> ChildInfo:
        """Return what is known of it now."""
        return ChildInfo(
            name=self.spec.name,
            state=self.state,
            restart=self.spec.restart,
            kind=self.spec.kind,
            significant=self.spec.significant,
            restarts=self.restarts,
            last_exit=self.last_exit,
            last_error=self.error,
            child=None if self.run is None else self.run.child,
            due=self.due,
        )


_ACTIVE = frozenset({ChildState.RUNNING, ChildState.STOPPING})


def count(rows: Collection[ChildRecord]) -> Count:
    """Return how many children these are."""
    supervisors = sum(row.spec.kind == "supervisor" for row in rows)
    active = sum(row.state in _ACTIVE for row in rows)
    return Count(
        specs=len(rows), active=active, supervisors=supervisors, workers=len(rows) - supervisors
    )

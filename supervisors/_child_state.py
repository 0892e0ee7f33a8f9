"""What a supervisor remembers of one child from one run to the next."""

from __future__ import annotations

from collections.abc import Callable, Collection

from actors.supervisors._backoff import BackoffState
from actors.supervisors._exit import Exit, ExitKind
from actors.supervisors._info import ChildInfo, ChildState, Count
from actors.supervisors._run import Run
from actors.supervisors._spec import ChildSpec


class ChildRecord:
    """One child: its spec, its current run, and its history."""

    __slots__ = (
        "_living",
        "_unsubscribe",
        "attempts",
        "backoff",
        "due",
        "error",
        "excused",
        "grace",
        "last_exit",
        "position",
        "restarts",
        "run",
        "spec",
        "state",
    )

    def __init__(self, spec: ChildSpec, position: int = 0) -> None:
        self.spec = spec
        self.position = position
        """Where it stands in the start order."""
        self.state = ChildState.STARTING
        self.grace = spec.grace
        """Seconds it has between being asked to stop and being killed; whoever stops it may say."""
        self.run: Run | None = None
        self.backoff = None if spec.backoff is None else BackoffState(spec.backoff)
        self.due: float | None = None
        """When it is restarted, if it is backing off."""
        self.attempts = 0
        self.restarts = 0
        self.last_exit: Exit | None = None
        self.excused = False
        """Whether its host was away when its last run ended."""
        self.error: BaseException | None = None
        self._living = False
        self._unsubscribe: Callable[[], None] | None = None

    def begin_life(self) -> None:
        """Owe one `gone` from now on."""
        self._living = True

    def end_life(self, exit_: Exit) -> None:
        """Have no run any more, and pay the `gone`; nothing happens if there is no life to end."""
        if not self._living:
            return
        self.state = (
            ChildState.ABANDONED if exit_.kind is ExitKind.ABANDONED else ChildState.STOPPED
        )
        self.run = None
        self.due = None
        if self._unsubscribe is not None:
            self.unlisten()
        self._living = False
        if self.spec.gone is not None:
            self.spec.gone(exit_)

    def note_end(self, now: Callable[[], float]) -> None:
        """Its run has ended just *now*, however long it takes until somebody acts on that."""
        self.excused = self.hostless
        if self.backoff is not None:
            self.backoff.ended(now())

    def listen(self, callback: Callable[[], None]) -> None:
        """Have *callback* called when the host changes."""
        if self.spec.host is not None and self._unsubscribe is None:
            self._unsubscribe = self.spec.host.notify(callback)

    def unlisten(self) -> None:
        """Stop caring about the host."""
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()

    @property
    def hostless(self) -> bool:
        """Whether it has a host and that is not ready."""
        return self.spec.host is not None and not self.spec.host.ready

    @property
    def forsaken(self) -> bool:
        """Whether its host will never be ready again."""
        return self.spec.host is not None and self.spec.host.lost

    def lost(self) -> Exit:
        """Return how a child ends whose host has been given up."""
        if self.last_exit is not None and self.last_exit.kind is ExitKind.NODE_DOWN:
            return self.last_exit
        return Exit.NODE_DOWN("its host has been given up")

    def info(self) -> ChildInfo:
        """Return a picture of it."""
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

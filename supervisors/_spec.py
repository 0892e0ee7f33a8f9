"""A child as data: how it is started, whether it is restarted, how long it may take to stop.

A spec is checked when it is made and never again. It holds no state of any run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from actors._known_options import known_options
from actors.supervisors._backoff import Backoff
from actors.supervisors._check import (
    check_callable,
    check_member,
    check_name,
    check_number,
    check_type,
)
from actors.supervisors._child import Child, Host
from actors.supervisors._errors import InvalidPolicy
from actors.supervisors._exit import Exit, ExitKind

Kind: TypeAlias = Literal["worker", "supervisor"]

_KINDS: Final = ("worker", "supervisor")
_SHUTDOWN: Final[dict[Kind, float]] = {"worker": 5.0, "supervisor": math.inf}


class Restart(Enum):
    """After which ends a child is restarted."""

    PERMANENT = "PERMANENT"
    """All of them."""
    TRANSIENT = "TRANSIENT"
    """Only abnormal ones."""
    TEMPORARY = "TEMPORARY"
    """None; the spec is forgotten when the child ends."""


_ABNORMAL: Final = frozenset(ExitKind) - {ExitKind.NORMAL, ExitKind.SHUTDOWN}
_RESTARTED_AFTER: Final = {
    Restart.PERMANENT: frozenset(ExitKind),
    Restart.TRANSIENT: _ABNORMAL,
    Restart.TEMPORARY: frozenset[ExitKind](),
}


def should_restart(restart: Restart, exit_: Exit) -> bool:
    """Return whether a child of this *restart* type is restarted after *exit_*."""
    return exit_.kind in _RESTARTED_AFTER[restart]


def expected(restart: Restart, exit_: Exit) -> bool:
    """Return whether *exit_* is a usual way to end by itself for a child of this *restart* type."""
    return restart is not Restart.PERMANENT and not exit_.abnormal


@known_options(InvalidPolicy)
@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One child of a supervisor.

    Attributes:
        name: Unique under its supervisor.
        start: Makes the object of one run; called again for each restart.
        restart: After which ends it is restarted.
        backoff: Its own restart policy; None puts it under the supervisor's budget.
        shutdown: Seconds it has between being asked to stop and being killed. 0 kills at once,
            `math.inf` waits for ever, None (the default) is 5 for workers and `math.inf` for
            supervisors; see `grace`.
        significant: Whether its end counts for the supervisor's auto-shutdown.
        kind: Whether it supervises others itself.
        host: What it runs on. While the host is not ready the child waits, which counts neither
            against the budget nor for the backoff.
        uncharged: Says of an end, other than a failed start, whether the restart that follows is made at once
            and counts neither against the budget nor for the backoff nor as an attempt, because the child
            was ended for somebody else's sake.
        futile: Says of an end whether its run was of no use, so that the wait before the next one is as
            after a start that failed: it may be as long as the backoff's `start_cap`.
        gone: Called exactly once per life, when the child has ended, or failed to start, and is not
            restarted. A later `restart_child` begins a new life.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    name: str
    start: Callable[[], Child]
    restart: Restart = Restart.PERMANENT
    backoff: Backoff | None = None
    shutdown: float | None = None
    significant: bool = False
    kind: Kind = "worker"
    host: Host | None = None
    uncharged: Callable[[Exit], bool] | None = None
    futile: Callable[[Exit], bool] | None = None
    gone: Callable[[Exit], None] | None = None

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_callable("start", self.start)
        check_member("restart", self.restart, Restart)
        check_type("significant", self.significant, bool)
        if self.kind not in _KINDS:
            raise InvalidPolicy(f"kind must be 'worker' or 'supervisor', got {self.kind!r}")
        if self.shutdown is not None:
            check_number("shutdown", self.shutdown, infinite=True)
        self._check_optional()
        if self.significant and self.restart is Restart.PERMANENT:
            raise InvalidPolicy(
                f"significant child {self.name!r} must be TRANSIENT or TEMPORARY, got PERMANENT"
            )

    def _check_optional(self) -> None:
        if self.backoff is not None:
            check_type("backoff", self.backoff, Backoff)
        if self.host is not None and not callable(getattr(self.host, "notify", None)):
            raise InvalidPolicy(f"host must be a Host, got {self.host!r}")
        if self.uncharged is not None:
            check_callable("uncharged", self.uncharged)
        if self.futile is not None:
            check_callable("futile", self.futile)
        if self.gone is not None:
            check_callable("gone", self.gone)

    @property
    def grace(self) -> float:
        """Seconds between being asked to stop and being killed, with the default filled in."""
        return _SHUTDOWN[self.kind] if self.shutdown is None else self.shutdown

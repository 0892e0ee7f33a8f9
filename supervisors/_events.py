"""What happened, as frozen records; the receiver of the records writes the log lines.

A reporter is called from the loop and must not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from actors.supervisors._exit import Exit


@dataclass(frozen=True, slots=True)
class SupervisorEvent:
    """Something happened under the supervisor of this name or path."""

    supervisor: str


@dataclass(frozen=True, slots=True)
class SupervisorStarted(SupervisorEvent):
    """All children were started, or wait for their hosts."""


@dataclass(frozen=True, slots=True)
class SupervisorEnded(SupervisorEvent):
    """A supervisor that had started has ended; none of its children is left."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class ChildEvent(SupervisorEvent):
    """Something happened to this child."""

    child: str


@dataclass(frozen=True, slots=True)
class ChildStarted(ChildEvent):
    """A child became ready; `restarts` is how often it has been restarted."""

    restarts: int


@dataclass(frozen=True, slots=True)
class ChildEnded(ChildEvent):
    """A run ended.

    `asked` says whether the supervisor had asked for it, `expected` whether that is a
    usual end for its restart type.
    """

    exit: Exit
    asked: bool
    expected: bool


@dataclass(frozen=True, slots=True)
class ChildStartFailed(ChildEvent):
    """A child did not become ready."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class ChildIgnored(ChildEvent):
    """A child's `start` raised `Ignored`: there is nothing to run."""


@dataclass(frozen=True, slots=True)
class ChildCallFailed(ChildEvent):
    """The child's `stop`, `kill` or `wait` raised, which none of them may."""

    verb: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class RestartScheduled(ChildEvent):
    """A child is restarted in `delay` seconds; it is the `attempt`-th time."""

    delay: float
    attempt: int


@dataclass(frozen=True, slots=True)
class WaitingForHost(ChildEvent):
    """A child is restarted when its host is ready."""


@dataclass(frozen=True, slots=True)
class RestartsGivenUp(ChildEvent):
    """A child is no longer restarted: its backoff gave up, or its host is lost."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class BudgetExceeded(ChildEvent):
    """A child needs one restart more than the budget allows, so its supervisor ends.

    `first` and `last` are the first and the last of the ends that used up the budget.
    """

    restarts: int
    within: float
    first: Exit
    last: Exit


@dataclass(frozen=True, slots=True)
class ShutdownOverrun(ChildEvent):
    """A child is killed as its `grace`, in seconds, or its supervisor's deadline is over."""

    grace: float


Reporter: TypeAlias = Callable[[SupervisorEvent], None]

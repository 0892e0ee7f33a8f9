"""Restart policy for anything that starts and ends.

Give a `Supervisor` the specs of its children and a task group, start it, and it keeps them running
by its strategy: as in OTP, on asyncio, uvloop and trio. What a child is, is up to you: anything
with the four verbs of `Child`. Knows nothing of actors, sockets or logs.
"""

from supervisors._auto import AutoShutdown
from supervisors._backoff import Backoff, BackoffRow
from supervisors._budget import Budget, RestartLog
from supervisors._child import Child, Host, Ignored
from supervisors._dynamic import DynamicSupervisor
from supervisors._errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildGaveUp,
    ChildRestarting,
    ChildRunning,
    InvalidSpec,
    MaxChildren,
    NotFound,
    NotSupported,
    RestartBudgetExceeded,
    StartFailed,
    SupervisorError,
    SupervisorStopped,
)
from supervisors._events import (
    BudgetExceeded,
    ChildEnded,
    ChildEvent,
    ChildIgnored,
    ChildMisbehaved,
    ChildStarted,
    ChildStartFailed,
    Event,
    Reporter,
    RestartScheduled,
    RestartsGivenUp,
    ShutdownOverrun,
    SupervisorEnded,
    SupervisorStarted,
    WaitingForHost,
)
from supervisors._exit import Exit, ExitKind, shown
from supervisors._info import ChildInfo, ChildState, Count
from supervisors._spec import ChildSpec, Restart, should_restart
from supervisors._strategy import Strategy, affected_by
from supervisors._supervisor import Supervisor

__all__ = [
    "AlreadyPresent",
    "AlreadyStarted",
    "AutoShutdown",
    "Backoff",
    "BackoffRow",
    "Budget",
    "BudgetExceeded",
    "Child",
    "ChildEnded",
    "ChildEvent",
    "ChildGaveUp",
    "ChildIgnored",
    "ChildInfo",
    "ChildMisbehaved",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "ChildStartFailed",
    "ChildStarted",
    "ChildState",
    "Count",
    "DynamicSupervisor",
    "Event",
    "Exit",
    "ExitKind",
    "Host",
    "Ignored",
    "InvalidSpec",
    "MaxChildren",
    "NotFound",
    "NotSupported",
    "Reporter",
    "Restart",
    "RestartBudgetExceeded",
    "RestartLog",
    "RestartScheduled",
    "RestartsGivenUp",
    "ShutdownOverrun",
    "StartFailed",
    "Strategy",
    "Supervisor",
    "SupervisorEnded",
    "SupervisorError",
    "SupervisorStarted",
    "SupervisorStopped",
    "WaitingForHost",
    "affected_by",
    "should_restart",
    "shown",
]

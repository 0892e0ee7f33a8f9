"""Supervision of anything that starts and ends.

Give a `Supervisor` the specs of its children and a task group, start it, and it keeps them running
by its strategy: as in OTP, on asyncio, uvloop and trio. A child is anything with the four verbs of
`Child`. Knows nothing of actors, sockets or logs.
"""

from actors.supervisors._backoff import Backoff, BackoffState
from actors.supervisors._child import Child, Host, Ignored
from actors.supervisors._dynamic import DynamicSupervisor
from actors.supervisors._dynamic_children import AdoptedChild
from actors.supervisors._errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildGaveUp,
    ChildNotStarted,
    ChildRestarting,
    ChildRunning,
    InvalidPolicy,
    MaxChildren,
    NotFound,
    NotSupported,
    RestartBudgetExceeded,
    SupervisorError,
    SupervisorStopped,
)
from actors.supervisors._events import (
    BudgetExceeded,
    ChildCallFailed,
    ChildEnded,
    ChildEvent,
    ChildIgnored,
    ChildStarted,
    ChildStartFailed,
    Reporter,
    RestartScheduled,
    RestartsGivenUp,
    ShutdownOverrun,
    SupervisorEnded,
    SupervisorEvent,
    SupervisorStarted,
    WaitingForHost,
)
from actors.supervisors._exit import Exit, ExitKind, shown
from actors.supervisors._info import ChildInfo, ChildState, Count
from actors.supervisors._restart_limits import Budget, RestartLog
from actors.supervisors._spec import ChildSpec, Restart, should_restart
from actors.supervisors._strategy import AutoShutdown, Strategy, affected_by
from actors.supervisors._supervisor import Supervisor

__all__ = [
    "AdoptedChild",
    "AlreadyPresent",
    "AlreadyStarted",
    "AutoShutdown",
    "Backoff",
    "BackoffState",
    "Budget",
    "BudgetExceeded",
    "Child",
    "ChildCallFailed",
    "ChildEnded",
    "ChildEvent",
    "ChildGaveUp",
    "ChildIgnored",
    "ChildInfo",
    "ChildNotStarted",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "ChildStartFailed",
    "ChildStarted",
    "ChildState",
    "Count",
    "DynamicSupervisor",
    "Exit",
    "ExitKind",
    "Host",
    "Ignored",
    "InvalidPolicy",
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
    "Strategy",
    "Supervisor",
    "SupervisorEnded",
    "SupervisorError",
    "SupervisorEvent",
    "SupervisorStarted",
    "SupervisorStopped",
    "WaitingForHost",
    "affected_by",
    "should_restart",
    "shown",
]

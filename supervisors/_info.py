"""What a supervisor tells about its children: frozen copies of their state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from actors.supervisors._child import Child
from actors.supervisors._exit import Exit
from actors.supervisors._spec import Kind, Restart


class ChildState(Enum):
    """Where a child is in its life."""

    STARTING = "STARTING"
    """Its start has not returned yet, or has not been called yet."""
    RUNNING = "RUNNING"
    RESTARTING = "RESTARTING"
    """It has no run, and is started next, or after those before it."""
    BACKING_OFF = "BACKING_OFF"
    """It has no run, and gets one after a delay."""
    WAITING_NODE = "WAITING_NODE"
    """It has no run, and gets one when its host is ready."""
    STOPPING = "STOPPING"
    """It has been asked to stop, or killed, and has not ended yet."""
    STOPPED = "STOPPED"
    """It has no run, and gets none by itself."""
    ABANDONED = "ABANDONED"
    """Like STOPPED, but its last run was killed and did not end."""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child, as it was when asked.

    Attributes:
        name: Its name under its supervisor.
        state: Where it was in its life.
        restart: Which ends bring it back.
        kind: "worker" or "supervisor".
        significant: Whether its end counts for auto-shutdown.
        restarts: How often it became ready again without having been asked to.
        last_exit: How its last run ended, if one has.
        last_error: What its last start failed with, if that was later than its last run.
        child: The object of the current run, if there is one.
        due: When a child that is backing off is restarted, in seconds of `anyio.current_time()`.
    """

    name: str
    state: ChildState
    restart: Restart
    kind: Kind
    significant: bool
    restarts: int
    last_exit: Exit | None
    last_error: BaseException | None
    child: Child | None
    due: float | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many children a supervisor has.

    Attributes:
        specs: All of them, running or not.
        active: Those with a run.
        supervisors: Those of kind "supervisor", running or not.
        workers: Those of kind "worker", running or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int

"""One attempt to give a child a run. Decides nothing about what follows."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeAlias

import anyio

from actors.supervisors._child import Ignored
from actors.supervisors._child_state import ChildRecord
from actors.supervisors._info import ChildState
from actors.supervisors._run import Run, RunObserver
from actors.supervisors._shutdown import insist

Start: TypeAlias = "Callable[[ChildRecord, Run], Awaitable[Attempt]]"


class Attempt(Enum):
    """What became of an attempt."""

    READY = "READY"
    IGNORED = "IGNORED"
    FAILED = "FAILED"
    """The error is in the row."""
    INTERRUPTED = "INTERRUPTED"
    """By `Run.interrupt`."""


async def attempt(row: ChildRecord, observer: RunObserver, start: Start) -> Attempt:
    """Start a new run of *row*, in one of the two ways below.

    Afterwards the row has a run if, and only if, the outcome is READY.
    """
    row.state = ChildState.STARTING
    row.due = None
    row.unlisten()
    row.error = None
    outcome = Attempt.FAILED
    try:
        row.run = run = Run(row.spec.name, row.spec.start(), observer)
        outcome = await start(row, run)
    except Ignored:
        outcome = Attempt.IGNORED
    except Exception as error:  # noqa: BLE001 - whatever a factory or a start raises, the child did not start
        row.error = error
    finally:
        if outcome is not Attempt.READY:
            _forget_run(row)
    if outcome is Attempt.READY:
        row.state = ChildState.RUNNING
        if row.backoff is not None:
            row.backoff.started(anyio.current_time())
    return outcome


async def in_scope(row: ChildRecord, run: Run) -> Attempt:
    """Start in a task of the supervisor, where `Run.interrupt` cancels it."""
    try:
        with anyio.CancelScope() as scope:
            run.starting = scope
            await run.child.start(run.ended)
            return Attempt.READY
    except Exception:
        raise
    except BaseException as error:
        insist(run)
        if not _stray(error):
            raise
        row.error = error
        return Attempt.FAILED
    finally:
        run.starting = None
    insist(run)
    return Attempt.INTERRUPTED


async def in_place(_: ChildRecord, run: Run) -> Attempt:
    """Start in the task of a caller, without a scope: that would be the dearest thing about it.

    What interrupts it here is that its run is declared void and its child is killed, which makes
    the start raise.
    """
    try:
        await run.child.start(run.ended)
    except Exception:
        if run.void:
            return Attempt.INTERRUPTED
        raise
    except BaseException:
        insist(run)
        raise
    if not run.void:
        return Attempt.READY
    insist(run)
    return Attempt.INTERRUPTED


def _forget_run(row: ChildRecord) -> None:
    if row.run is not None:
        row.run.void = True
        row.run = None


def _stray(error: BaseException) -> bool:
    """Return whether *error* is a cancellation that no scope around this task asked for."""
    return (
        isinstance(error, anyio.get_cancelled_exc_class())
        and anyio.current_effective_deadline() > -math.inf
    )

"""A task of a pool at its submitter: a message or a function call, from its submission to its end."""

from __future__ import annotations

import enum
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from actors._base.errors import (
    ActorCrashed,
    ActorStopped,
    NodeDown,
    OutOfMemory,
    PoisonTask,
    TaskExited,
    WorkerLost,
)
from actors._messaging.mailbox import Envelope
from actors._pools.call_line import NotBegun
from actors._pools.submitter import Loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from actors._base.loop import Timer, Waiter
    from actors._messaging.message_table import Handler
    from actors._messaging.ref import Ref
    from actors._messaging.turn import Target
    from actors._remoting.operations import Chain
    from actors.transport import HeldSnapshot

__all__ = ["PoolTask", "TaskKind", "TaskOwner", "TaskState"]

_WORKER_ENDED = (NodeDown, ActorCrashed, ActorStopped)
_MOST_DEATHS = 2
"""Deaths of workers after which a task is not tried again, whatever its `retry`."""


class TaskKind(enum.Enum):
    """What a worker does for a task."""

    FUNCTION = "function"
    ASK = "ask"
    TELL = "tell"
    LEASE = "lease"
    """Its submitter uses the member itself for a while."""


class TaskState(enum.Enum):
    """Where a task is."""

    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"


class TaskOwner:
    """What a task tells its client."""

    def place_free(self, task: PoolTask, *, failed: bool, renew: str) -> None:
        """The task runs no more."""
        raise NotImplementedError

    def worker_gone(self, task: PoolTask) -> None:
        """The link to the worker has ended before there was a reply."""
        raise NotImplementedError

    def not_begun(self, task: PoolTask) -> None:
        """The worker has not begun the task, and will not."""
        raise NotImplementedError

    def given_back(self, task: PoolTask) -> None:
        """The worker has given the task back, for another to begin it."""
        raise NotImplementedError

    def again(self, task: PoolTask) -> None:
        """Submit the task once more."""
        raise NotImplementedError

    def over(self, task: PoolTask) -> None:
        """The task has its result, or has failed."""
        raise NotImplementedError


class PoolTask:
    """One submission. While it runs it is the `Waiter` of its own message: the reply comes here.

    Attributes:
        label: the name of the function or message, for errors.
        waiter: resolved with the result; None when nobody wants it.
        ref: the worker's actor, once there is one.
        asked_by: the actors, and functions on workers, that wait for it; see `waiting_chain`.
        abandoned: whether its submitter no longer waits: what comes is dropped.
        in_line: whether a worker may have it behind others: then its arguments never change.
        number: the one that it has in the line of its worker; 0 if it is in none.
    """

    __slots__ = (
        "_error",
        "_loss",
        "abandoned",
        "args",
        "asked_by",
        "context",
        "deaths",
        "envelope",
        "grace_timer",
        "handler",
        "held",
        "in_line",
        "kind",
        "kwargs",
        "label",
        "number",
        "on_begin",
        "owner",
        "priority",
        "ref",
        "retry",
        "state",
        "target",
        "ticket",
        "timer",
        "waiter",
    )

    def __init__(  # noqa: PLR0917 - what every task has
        self,
        owner: TaskOwner,
        ticket: int,
        label: str,
        handler: Handler,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        waiter: Waiter,
        kind: TaskKind,
        *,
        priority: int = 0,
        retry: int = 0,
        keep_context: bool = False,
    ) -> None:
        self.owner: TaskOwner = owner
        self.ticket: int = ticket
        self.label: str = label
        self.handler: Handler = handler
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self.waiter: Waiter = waiter
        self.kind: TaskKind = kind
        self.priority: int = priority
        self.retry: int = retry
        self.context: Context | None = copy_context() if keep_context else None
        self.asked_by: Chain = ()
        self.deaths: int = 0
        self.state: TaskState = TaskState.WAITING
        self.ref: Ref[Any] | None = None
        self.target: Target | None = None
        self.envelope: Envelope | None = None
        self.held: HeldSnapshot | None = None
        self.timer: Timer | None = None
        self.grace_timer: Timer | None = None
        self.abandoned: bool = False
        self.in_line: bool = False
        self.number: int = 0
        self.on_begin: Callable[[], bool] | None = None
        self._error: BaseException | None = None
        self._loss: tuple[str, Loss] | None = None

    def may_begin(self) -> bool:
        """Whether somebody still waits for the result, who is told that the task begins."""
        return not self.waiter.done() and (self.on_begin is None or self.on_begin())

    def begin(self, ref: Ref[Any], number: int) -> None:
        """Take a place: the reply comes from *ref*, in whose line it has a *number*, or 0."""
        self.state, self.ref, self.number = TaskState.RUNNING, ref, number
        self._error = self._loss = None

    def new_envelope(self, in_line: Handler) -> Envelope:
        """Make the message to send to the worker, for *in_line* if it has a number."""
        if self.number:
            self.envelope = Envelope(in_line, (*self.args, self.number), {}, self)
        else:
            reply = None if self.kind is TaskKind.TELL else self
            self.envelope = Envelope(self.handler, self.args, self.kwargs, reply)
        return self.envelope

    # -- the reply (`Waiter`) --------------------------------------------------------------

    def __await__(self) -> Any:
        raise TypeError("the reply of a task is awaited by its waiter")

    def done(self) -> bool:
        """Whether the reply has come, or is not wanted."""
        return self.state is not TaskState.RUNNING

    def cancelled(self) -> bool:
        """Whether its asker was cancelled: it is told otherwise."""
        return False

    def set_result(self, value: Any, /) -> None:
        """Take the result: the place is free, and the submitter wakes."""
        self.state = TaskState.OVER
        self.owner.place_free(self, failed=False, renew="")
        self._settle(value, None)

    def set_exception(self, error: BaseException, /) -> None:
        """Take what the task raised, or that its worker has ended."""
        lost = isinstance(error, _WORKER_ENDED) and getattr(error, "ref", None) == self.ref
        if lost and isinstance(error, ActorStopped):
            self.state = TaskState.WAITING
            self.owner.not_begun(self)
        elif type(error) is NotBegun and self.number:
            self.state = TaskState.WAITING
            self.owner.given_back(self)
        elif lost and isinstance(error, ActorCrashed) and self.abandoned:
            self._fail(error)  # that is how an actor answers when its handler was cancelled
        elif lost:
            self._error = error
            self.owner.worker_gone(self)
            self._decide()
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.state = TaskState.OVER
        renew = f"{self.label} raised {error.raised}" if isinstance(error, TaskExited) else ""
        self.owner.place_free(self, failed=True, renew=renew)
        self._settle(None, error)

    def refuse(self, error: BaseException) -> None:
        """Fail before it was sent to a worker."""
        self.state = TaskState.OVER
        self._settle(None, error)

    # -- the end of its worker ----------------------------------------------------------------

    def worker_lost(self, why: str, loss: Loss) -> None:
        """The parent says how the worker has ended."""
        self._loss = (why, loss)
        self._decide()

    def _decide(self) -> None:
        """Try again or fail, when the link has ended and it is known how the worker did."""
        if self._loss is None or self._error is None or self.state is not TaskState.RUNNING:
            return
        (why, loss), cause = self._loss, self._error
        self.deaths += loss is Loss.DIED
        tries = loss in {Loss.DIED, Loss.BESIDE} and self.retry > 0 and self.deaths < _MOST_DEATHS
        if (tries or loss is Loss.NOT_BEGUN) and not self.abandoned:
            self.retry -= tries
            self.state = TaskState.WAITING
            self.owner.again(self)
            return
        if loss is Loss.NOT_BEGUN:
            self.owner.place_free(self, failed=True, renew="")  # it does not come back
        kind = WorkerLost
        if loss is Loss.MEMORY:
            kind = OutOfMemory
        elif self.deaths >= _MOST_DEATHS:
            kind = PoisonTask
        error = kind(self.label, why)
        error.__cause__ = cause
        self.state = TaskState.OVER
        self._settle(None, error)

    def _settle(self, value: Any, error: BaseException | None) -> None:
        """Let go of everything, and wake the submitter."""
        self.owner.over(self)
        if self.timer is not None:
            self.timer.cancel()
        if self.grace_timer is not None:
            self.grace_timer.cancel()
        if self.held is not None and (error is None or self.envelope is not None):
            self.held.finish()
        elif self.held is not None:
            self.held.undo()
        waiter = self.waiter
        self.envelope = self.target = self.held = self.timer = self.grace_timer = None
        self.args, self.kwargs, self.context = (), {}, None
        if not waiter.done():
            if error is None:
                waiter.set_result(value)
            else:
                waiter.set_exception(error)

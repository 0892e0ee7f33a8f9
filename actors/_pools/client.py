"""The submitter of one pool in one process: it keeps the tasks, sends each to its worker and ends it.

Rule 1: a task's arguments are a snapshot of the moment it was submitted.
Rule 2: what is cancelled or late ends where it runs: a coroutine is cancelled; code that does not end within
the pool's grace loses its process.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import (
    ActorStopped,
    CallCycle,
    DeadlineExceeded,
    InvalidSpec,
    MailboxFull,
    NodeDown,
    NotAMessage,
    NotSendable,
    SendError,
    StartFailed,
    WorkerLost,
    not_sendable,
)
from actors._messaging.deadlock import waiting_chain
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import MessageKind, handlers_of, refusal
from actors._messaging.ref import READY
from actors._messaging.turn import TURN, refuse_fenced
from actors._pools.call_options import check_call_options
from actors._pools.function_worker import FunctionWorker
from actors._pools.sent_function import function_name, is_async, refuse_function
from actors._pools.submitter import Loss
from actors._pools.task import PoolTask, TaskKind, TaskOwner, TaskState
from actors.transport import PLAIN, HeldSnapshot, Unsendable, hold_args

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors._base.loop import Loop, Waiter
    from actors._messaging.blocking_ref import ThreadPortal
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.ref import Ref
    from actors._messaging.turn import Target
    from actors._pools.facts import PoolFacts
    from actors._pools.places import Places

__all__ = ["ClientHost", "PoolClient"]

_CALL: Final = handlers_of(FunctionWorker)[FunctionWorker.call]
_CALL_IN_LINE: Final = handlers_of(FunctionWorker)[FunctionWorker.call_in_line]
_CALL_BESIDE: Final = handlers_of(FunctionWorker)[FunctionWorker.call_beside]


_NOTHING_HELD: Final = HeldSnapshot([])
_plain: Final = PLAIN.issuperset
"""Whether all of some types are leaves, at the speed of C."""


class ClientHost(Protocol):
    """The actor host, as clients see it."""

    address: str
    loop: Loop
    propagation: Propagation | None
    services: Any

    def reach(self, ref: Ref[Any]) -> Target | None: ...


class PoolClient(TaskOwner):
    """Submits tasks of this process to one pool."""

    def __init__(
        self,
        host: ClientHost,
        facts: PoolFacts,
        places: Places,
        portal: ThreadPortal,
        cls: Callable[[], type | None],
    ) -> None:
        self.facts = facts
        self.places = places
        self.portal = portal
        self.loop: Loop = host.loop
        self._host = host
        self.find_class = cls
        self._tickets = count(1)
        self._tasks: dict[int, PoolTask] = {}
        self._room = True
        self._at_door: list[Waiter] = []
        self._ended = ""
        self._nobody = _Nobody(host, facts.name)

    @property
    def ended(self) -> bool:
        """Whether the pool has ended."""
        return bool(self._ended)

    # -- submission ------------------------------------------------------------------------

    def function(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        timeout: float | None,
        priority: int,
        retry: int,
        waiter: Any = None,
    ) -> PoolTask:
        """Return the task that calls a function on a worker; it is not submitted yet.

        Raises:
            InvalidSpec, NotSendable: it can never run, and why.
        """
        facts = self.facts
        refuse_function(facts.name, fn)
        check_call_options(facts.name, timeout, priority, retry)
        if timeout is not None and not facts.killable:
            raise InvalidSpec(
                f"pool {facts.name!r}: timeout={timeout!r} needs workers with process nodes of their own; "
                f"{facts.why_not_killable}"
            )
        in_line = facts.has_lines and _plain(map(type, args)) and not is_async(fn)
        label = function_name(fn)
        return self.checked(label, fn, args, in_line, waiter, priority=priority, retry=retry)

    def checked(
        self,
        label: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        in_line: bool,  # noqa: FBT001 - as of `PoolTask`
        waiter: Any,
        *,
        priority: int,
        retry: int,
    ) -> PoolTask:
        """As `function`, for a function and options that it has taken before."""
        task = self._new_task(label, _CALL, (fn, args), {}, TaskKind.FUNCTION, waiter)
        if self.facts.at_once > 1:
            task.handler = _CALL_BESIDE
            task.args = (fn, args, self._host.address, task.ticket)
        task.in_line, task.priority, task.retry = in_line, priority, retry
        return task

    def message(
        self,
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: TaskKind = TaskKind.ASK,
    ) -> PoolTask:
        """Return the task that asks or tells a member.

        Raises:
            NotAMessage: it is no message of the pool's class.
        """
        cls = self._class()
        handler = handlers_of(cls).get(method)
        if handler is None:
            raise refusal(cls, method)
        if handler.kind is MessageKind.STREAM:
            raise NotAMessage(f"{cls.__name__}.{handler.name} is an async generator: use stream()")
        handler.check(args, kwargs)
        waiter = self._nobody if kind is TaskKind.TELL else None
        return self._new_task(handler.name, handler, args, kwargs, kind, waiter)

    def _class(self) -> type:
        cls = self.find_class()
        if cls is None:
            what = f"pool {self.facts.name!r} has no class and takes functions: use run()"
            raise InvalidSpec(what)
        return cls

    def _new_task(
        self,
        label: str,
        handler: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: TaskKind,
        waiter: Any = None,
    ) -> PoolTask:
        refuse_fenced()
        name, group = self.facts.name, self.facts.per_node
        if group:
            raise InvalidSpec(
                f"pool {name!r} is one for each node of {group!r}: use system.pool({name!r}) there"
            )
        if self._ended:
            raise ActorStopped(f"pool {name!r}", self._ended)
        return PoolTask(
            self,
            next(self._tickets),
            label,
            handler,
            args,
            kwargs,
            waiter or self.loop.waiter(),
            kind,
            keep_context=self._host.propagation is not None,
        )

    def submit(self, task: PoolTask, timeout: float | None = None) -> None:
        """Submit a task; its waiter is resolved with the result.

        Args:
            task: made by `function` or `message`.
            timeout: seconds from now until it fails with `DeadlineExceeded`.

        Raises:
            NotSendable: naming the argument that cannot travel.
        """
        if self._ended:
            raise ActorStopped(f"pool {self.facts.name!r}", self._ended)
        if task.retry and task.held is None:
            self._hold(task)  # what is sent once more is what was submitted
        self._tasks[task.ticket] = task
        turn = TURN.get()
        if turn is not None and turn.deadline is not None:
            left = turn.deadline - self.loop.now()
            timeout = left if timeout is None else min(timeout, left)
        if timeout is not None:
            task.timer = self.loop.call_later(timeout, self._late, task, timeout)
        if task.kind is not TaskKind.TELL:
            task.asked_by = waiting_chain()
        self._enter(task, again=False)
        if task.state is TaskState.WAITING and task.held is None:
            self._hold(task)

    def _enter(self, task: PoolTask, *, again: bool) -> None:
        asked_by = task.asked_by
        # In a line it would have neither the chain of calls nor the context variables of its message.
        in_line = task.in_line and not asked_by and task.context is None
        self.places.enter(
            task.ticket, task.priority, again=again, asked_by=asked_by, in_line=in_line
        )

    def _hold(self, task: PoolTask) -> None:
        """Take the snapshot for a task that waits; one that begins at once is encoded at once."""
        try:
            if task.in_line or (task.kind is TaskKind.FUNCTION and _plain(map(type, task.args[1]))):
                task.held = _NOTHING_HELD  # what it is called with never changes
            else:
                task.args, task.kwargs, task.held = hold_args(task.args, task.kwargs, leaves=True)
        except BaseException as error:
            self._drop(task)
            self.places.withdraw(task.ticket)
            if isinstance(error, Unsendable):
                raise _in_call(task, not_sendable(error)) from error
            raise

    def _drop(self, task: PoolTask) -> None:
        self._tasks.pop(task.ticket, None)
        task.state = TaskState.OVER
        if task.timer is not None:
            task.timer.cancel()

    def _drop_unsent(self, task: PoolTask) -> None:
        self._drop(task)
        if task.held is not None:
            task.held.undo()

    async def run(self, task: PoolTask, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as `Pool.run`
        """Submit a task, when the queue has room, and wait for its result; a cancelled wait ends the task."""
        if not self._has_room:
            timeout = await self._enter_later(task, timeout)
        self.submit(task, timeout)
        try:
            return await task.waiter
        except BaseException:
            if task.state is not TaskState.OVER:
                self.cancel(task)
            raise

    async def _enter_later(self, task: PoolTask, timeout: float | None) -> float | None:  # noqa: ASYNC109 - as above
        """Wait for room, with the snapshot taken now; return what is left of the timeout."""
        if not self._ended:
            self._hold(task)
        since = self.loop.now()
        try:
            await self.wait_for_room(task.label, timeout)
        except BaseException:
            task.state = TaskState.OVER
            if task.held is not None:
                task.held.undo()
            raise
        return None if timeout is None else max(0.0, timeout - (self.loop.now() - since))

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Ref[Any]]:
        """Hold the place of one member, whose address this yields, for the time of the block."""
        task = self._new_task("stream", READY, (), {}, TaskKind.LEASE)
        member = await self.run(task)
        try:
            yield member
        finally:
            if task.state is TaskState.RUNNING:
                task.state = TaskState.OVER
                self.place_free(task, failed=False, renew="")
            self.over(task)

    # -- the door ----------------------------------------------------------------------------

    def refuse_if_full(self) -> None:
        """Raise if the queue has no room.

        Raises:
            MailboxFull: it has none.
        """
        if not self._has_room:
            raise MailboxFull(
                f"pool {self.facts.name!r}", f"its queue of {self.facts.queue} is full"
            )

    @property
    def _has_room(self) -> bool:
        return self._room and not self._at_door

    async def wait_for_room(self, label: str, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        """Wait until the queue has room, in the order of the callers.

        Raises:
            DeadlineExceeded: it had none within *timeout* seconds.
            ActorStopped: the pool has ended.
        """
        if self._has_room:
            return
        waiter, timer = self.loop.waiter(), None
        self._at_door.append(waiter)
        if timeout is not None:
            timer = self.loop.call_later(timeout, self._late_at_door, waiter, label, timeout)
        try:
            await waiter
        except BaseException:
            if waiter in self._at_door:
                self._at_door.remove(waiter)
            self._open_door()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _late_at_door(self, waiter: Waiter, label: str, seconds: float) -> None:
        if not waiter.done():
            waiter.set_exception(
                self._deadline_exceeded(label, seconds, "before the queue had room")
            )

    def _deadline_exceeded(self, label: str, seconds: float, when: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"pool {self.facts.name!r}", f"{label} had {seconds:g} s, which ended {when}"
        )

    def _open_door(self) -> None:
        while self._room and self._at_door:
            waiter = self._at_door.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                # The next one is let in when this one has entered and there is still room.
                self.loop.call_soon(self._open_door)
                return

    def room_changed(self, room: bool) -> None:  # noqa: FBT001 - a wire field
        """Take note that the queue is full, or has room again."""
        self._room = room
        self._open_door()

    # -- places (`Submitter`, by the clients of this process) ----------------------------------

    def place_given(self, ticket: int, member: Ref[Any], functions: Ref[Any], number: int) -> None:
        """Send a task to the worker that it was given, with its number in the worker's line, if it has one."""
        task = self._tasks.get(ticket)
        if task is None or task.state is not TaskState.WAITING:
            self.places.done(ticket, failed=True, renew="")
            return
        ref = functions if task.kind is TaskKind.FUNCTION else member
        target = self._host.reach(ref)
        if target is None:
            self.places.undelivered(ticket, task.priority)
            return
        if not task.may_begin():  # it was cancelled, and its withdrawal is on its way
            self._drop_unsent(task)
            self.places.done(ticket, failed=True, renew="")
            return
        task.begin(ref, number)
        if task.kind is not TaskKind.LEASE:
            self._send(task, target)
            return
        if task.timer is not None:
            task.timer.cancel()  # it was for the wait: what is done with the member has its own
        task.waiter.set_result(member)

    def _send(self, task: PoolTask, target: Target) -> None:
        envelope = task.new_envelope(_CALL_IN_LINE)
        task.target = target
        try:
            send = target.try_send
            sent = send(envelope) if task.context is None else task.context.run(send, envelope)
        except SendError as error:
            self._not_sent(task, error)
        except Exception as error:  # noqa: BLE001 - an argument that cannot travel: its submitter is told
            self._unsendable(task, error)
        else:
            if not sent:
                self.loop.start(self._send_when_room, task, target, name=f"send {task.label}")
                return
            self._begun(task)

    async def _send_when_room(self, task: PoolTask, target: Target) -> None:
        """Send a task for which the link has no room yet."""
        envelope = task.envelope
        assert envelope is not None
        try:
            await target.send_when_room(envelope)
        except SendError as error:
            self._not_sent(task, error)
        except Exception as error:  # noqa: BLE001 - as above
            self._unsendable(task, error)
        else:
            self._begun(task)

    def _begun(self, task: PoolTask) -> None:
        if task.kind is TaskKind.TELL and task.target is not None:
            # Answered behind the message, also if the actor is restarted by it.
            try:
                task.target.send_past_bound(Envelope(READY, (), {}, task))
            except SendError as error:
                task.set_exception(error)

    def _not_sent(self, task: PoolTask, error: SendError) -> None:
        if task.state is not TaskState.RUNNING:
            return
        if type(error) in {ActorStopped, MailboxFull} or isinstance(error, NodeDown):
            self.not_begun(task)
        else:
            self._unsendable(task, error)

    def _unsendable(self, task: PoolTask, error: BaseException) -> None:
        if task.state is TaskState.RUNNING:
            task.set_exception(_in_call(task, error))

    def task_returned(self, ticket: int, value: Any) -> None:
        """The worker of a task has ended after it had returned *value*."""
        task = self._tasks.get(ticket)
        if task is not None and not task.done():
            task.set_result(value)

    def task_lost(self, ticket: int, why: str, loss: Loss) -> None:
        """The worker of a task has ended."""
        task = self._tasks.get(ticket)
        if task is None:
            return
        if loss is Loss.NO_WORKER:
            task.refuse(StartFailed(f"pool {self.facts.name!r} has no worker that starts: {why}"))
        elif loss is Loss.CYCLE:
            task.refuse(CallCycle(f"pool {self.facts.name!r}", f"{task.label} cannot begin: {why}"))
        else:
            task.worker_lost(why, loss)

    def refuse_new(self, why: str) -> None:
        """Refuse new tasks from now on."""
        self._ended = self._ended or why

    def pool_ended(self, why: str) -> None:
        """The pool is over: fail what waits."""
        self._ended = why
        self._room = True
        for waiter in self._at_door:
            if not waiter.done():
                waiter.set_exception(ActorStopped(f"pool {self.facts.name!r}", why))
        self._at_door.clear()
        for task in list(self._tasks.values()):
            if task.state is not TaskState.OVER:
                task.refuse(ActorStopped(f"pool {self.facts.name!r}", why))
        self._tasks.clear()

    # -- what a task tells (`TaskOwner`) ---------------------------------------------------------

    def place_free(self, task: PoolTask, *, failed: bool, renew: str) -> None:
        """As `TaskOwner.place_free`."""
        self.places.done(task.ticket, failed=failed, renew=renew)

    def worker_gone(self, task: PoolTask) -> None:
        """As `TaskOwner.worker_gone`."""
        self.places.broken(task.ticket)

    def not_begun(self, task: PoolTask) -> None:
        """As `TaskOwner.not_begun`."""
        task.state = TaskState.WAITING
        if task.abandoned:
            self._drop(task)
            self.places.done(task.ticket, failed=True, renew="")
        else:
            self.places.undelivered(task.ticket, task.priority)

    def given_back(self, task: PoolTask) -> None:
        """As `TaskOwner.given_back`."""
        if task.abandoned:
            self._drop(task)
            self.places.done(task.ticket, failed=True, renew="")
        else:
            self.places.given_back(task.ticket, task.priority)

    def over(self, task: PoolTask) -> None:
        """As `TaskOwner.over`."""
        self._tasks.pop(task.ticket, None)

    def again(self, task: PoolTask) -> None:
        """As `TaskOwner.again`."""
        self._enter(task, again=True)

    # -- the end of tasks ------------------------------------------------------------------------

    def _late(self, task: PoolTask, seconds: float) -> None:
        if task.state is TaskState.OVER or task.abandoned:
            return
        where = "in the queue" if task.state is TaskState.WAITING else "while it ran"
        error = self._deadline_exceeded(task.label, seconds, where)
        waiter = task.waiter
        self.cancel(task, f"{task.label} ran longer than its {seconds:g} s")
        if not waiter.done():
            waiter.set_exception(error)

    def cancel(self, task: PoolTask, why: str = "") -> None:
        """End a task: nobody waits for it any more."""
        if task.state is TaskState.WAITING:
            self._drop_unsent(task)
            self.places.withdraw(task.ticket)
            return
        if task.abandoned or task.state is TaskState.OVER:
            return
        if task.kind is TaskKind.LEASE:  # given to somebody who no longer waits
            task.state = TaskState.OVER
            self.place_free(task, failed=True, renew="")
            return
        task.abandoned = True
        target, envelope = task.target, task.envelope
        if target is None or envelope is None:
            return
        target.interrupt(envelope)
        if not task.done() and self.facts.killable:
            why = why or f"{task.label} was cancelled"
            overdue = partial(
                self._overdue, task, f"{why} and did not end in {self.facts.grace:g} s"
            )
            task.grace_timer = self.loop.call_later(self.facts.grace, overdue)

    def _overdue(self, task: PoolTask, why: str) -> None:
        if task.state is TaskState.RUNNING:
            self.places.overdue(task.ticket, why)


def _in_call(task: PoolTask, error: BaseException) -> BaseException:
    """Name what cannot travel as the caller does: the arguments of a function are the second of its message."""
    if task.kind is not TaskKind.FUNCTION or not isinstance(error, NotSendable):
        return error
    path = error.path
    if path.startswith("args[1]"):
        path = f"args{path.removeprefix('args[1]')}"
    elif path.startswith("args[0]"):
        path = f"fn{path.removeprefix('args[0]')}"
    return NotSendable(path, error.why)


class _Nobody:
    """In place of the waiter of a message that nobody waits for: one that is never handled is reported."""

    def __init__(self, host: ClientHost, pool: str) -> None:
        self._host = host
        self._pool = pool

    def done(self) -> bool:
        """Nobody has ever been answered."""
        return False

    def set_result(self, _value: Any, /) -> None:
        """The message was handled."""

    def set_exception(self, error: BaseException, /) -> None:
        """The message was not handled; one whose worker died was reported by the link."""
        if not isinstance(error, WorkerLost):
            self._host.services.event(
                "dead_letter", {"actor": f"pool {self._pool}", "reason": str(error)}
            )

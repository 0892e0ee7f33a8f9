"""The line of a worker: brief calls that wait in it, which its thread makes one after another.

Rule 1: the thread takes the next call itself, and its loop answers all that have returned at once: brief
calls share the wakes of threads and processes.
Rule 2: a call that has not begun some milliseconds after it came, because another runs, is given back.
Rule 3: a call is begun, given back or cancelled, whichever comes first (`claim`), and never two of these.
Rule 4: the number of a call is in shared memory before it begins, and so is the result of the one before it,
unless that has left the process: a worker that dies loses the call that runs, and no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from contextvars import copy_context
from queue import SimpleQueue
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import ActorCrashed, ActorsError
from actors._messaging.mailbox import answer
from actors._pools.sent_function import exited

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from actors._actor.interfaces import IncarnationInterface
    from actors._base.loop import Task, Timer, Waiter
    from actors._messaging.mailbox import Envelope
    from actors._messaging.ref import Ref
    from actors._pools.call_thread import CallThread
    from actors._pools.line_journal import LineJournal

__all__ = ["CallLine", "NotBegun"]

_PATIENCE: Final = 0.003
"""Seconds after which a call that waits behind one that runs is given back."""


class NotBegun(ActorsError):
    """A worker gives a call back: it has not begun it, and does not soon."""


class _LineCall:
    """One call: a `ThreadCall`, and what the message loop cancels."""

    __slots__ = (
        "_claims",
        "_line",
        "args",
        "cancelled",
        "context",
        "envelope",
        "error",
        "fn",
        "number",
        "result",
        "sent",
        "since",
        "task",
    )

    def __init__(
        self, line: CallLine, fn: Callable[..., Any], args: tuple[Any, ...], number: int
    ) -> None:
        self._line = line
        self._claims = [None]
        self.context: Context | None = copy_context()
        self.fn: Any = fn
        self.args: tuple[Any, ...] = args
        self.number: int = number
        self.since: float = 0.0
        self.cancelled: bool = False
        self.task: Task | None = None
        """Runs the coroutine that the function returned."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.sent: SimpleQueue[None] | None = None
        """Tells the thread that the reply has left, if the result was not kept."""
        self.envelope: Envelope

    @property
    def claimed(self) -> bool:
        """Whether it has begun, or will not."""
        return not self._claims

    def claim(self) -> bool:
        """Decide what becomes of it; return False if that was decided before, perhaps in the other thread."""
        try:
            self._claims.pop()  # in one step, whichever threads do it
        except IndexError:
            return False
        return True

    def run(self) -> bool:
        """As `ThreadCall.run`."""
        line, context = self._line, self.context
        line.wait_until_sent()
        if not self.claim():
            return True
        assert context is not None
        line.journal.begin(self.number)
        began = perf_counter_ns()
        try:
            result = context.run(self.fn, *self.args)
            # Also a plain function may return a coroutine.
            self.result = line.wait_for(self, result) if isinstance(result, Coroutine) else result
        except BaseException as error:  # noqa: BLE001 - the submitter gets it
            self.error = error
        line.journal.ran(perf_counter_ns() - began)
        self.args, self.context = (), None
        return line.returned(self)

    def cancel(self) -> None:
        """Never begin it, or drop its result: nobody can end a function that runs."""
        if self.claim():
            self._line.drop(self, ActorCrashed(self._line.ref, "cancelled before it began"))
            return
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()


class CallLine:
    """The calls of one worker.

    Args:
        owner: the worker's incarnation.
        thread: makes the calls.
        journal: where it notes what it does.
    """

    def __init__(
        self, owner: IncarnationInterface, thread: CallThread, journal: LineJournal
    ) -> None:
        self.ref: Ref[Any] = owner.ref
        self.journal: LineJournal = journal
        self._owner = owner
        self._messages = owner.message_loop
        self._loop = owner.loop
        self._thread = thread
        self._open: dict[_LineCall, None] = {}
        """In order: those that wait, and those that have begun and were not answered."""
        self._returned: deque[_LineCall] = deque()
        self._woken = False
        self._unsent: SimpleQueue[None] | None = None
        """Of the last call, if the thread has to wait until its reply has left."""
        self._timer: Timer | None = None
        self._idle: list[Waiter] = []

    def put(self, fn: Callable[..., Any], args: tuple[Any, ...], number: int) -> None:
        """Have the call made whose message is in hand, behind those that are in line."""
        call = _LineCall(self, fn, args, number)
        call.envelope = self._messages.detach(call)
        call.since = self._loop.now()
        if self._open and self._timer is None:
            self._timer = self._loop.call_later(_PATIENCE, self._look)
        self._open[call] = None
        self._thread.put(call)

    async def wait_idle(self) -> None:
        """Return when no call is in line or runs."""
        while self._open:
            waiter = self._loop.waiter()
            self._idle.append(waiter)
            await waiter

    # -- the thread ----------------------------------------------------------------------------

    def returned(self, call: _LineCall) -> bool:
        """Have the loop answer *call*; return whether there still is a loop. In the thread."""
        if call.error is not None or not self.journal.keep(call.number, call.result):
            call.sent = self._unsent = SimpleQueue()
        self._returned.append(call)
        if not self._woken:  # else the loop has not come to it yet, and answers this one too
            self._woken = True
            try:
                self._loop.call_threadsafe(self._settle)
            except RuntimeError:
                return False
        return True

    def wait_until_sent(self) -> None:
        """Return when the result of the last call cannot be lost. In the thread."""
        unsent, self._unsent = self._unsent, None
        if unsent is not None:
            unsent.get()

    def wait_for(self, call: _LineCall, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Have the loop run *coroutine*; return its result, or raise its error. In the thread."""
        outcome: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._loop.call_threadsafe(self._start, call, coroutine, outcome)
        result, error = outcome.get()
        if error is not None:
            raise error
        return result

    def _start(self, call: _LineCall, coroutine: Any, outcome: Any) -> None:
        try:
            call.task = self._owner.tasks.start_soon(self._await, coroutine, outcome)
        except RuntimeError as error:  # the actor has ended
            coroutine.close()
            outcome.put((None, error))

    async def _await(self, coroutine: Any, outcome: Any) -> None:
        try:
            result = await coroutine
        except Exception as error:  # noqa: BLE001 - the thread raises it
            outcome.put((None, error))
        except BaseException as error:
            outcome.put((None, ActorCrashed(self.ref, repr(error))))
            raise
        else:
            outcome.put((result, None))

    # -- the loop ------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Answer the calls that have returned, at once."""
        self._woken = False  # before the last look, so that none is missed
        returned, call = self._returned, None
        sent: list[SimpleQueue[None]] = []
        while returned:
            call = returned.popleft()
            self._answer(call)
            if call.sent is not None:
                sent.append(call.sent)
        if call is not None:
            link = getattr(call.envelope.reply, "link", None)
            if link is not None:  # all are to the same process
                link.flush()
            self.journal.sent(call.number)
        for one in sent:
            one.put(None)

    def _answer(self, call: _LineCall) -> None:
        self._forget(call)
        reply, error = call.envelope.reply, call.error
        ends = False
        if error is not None and not isinstance(error, Exception):
            ends, error = True, exited(call.fn, error)
        elif call.cancelled:
            error = ActorCrashed(self.ref, "cancelled")
        if error is not None:
            call.envelope.fail(error)
        elif reply is not None and not reply.done():
            answer(reply, call.result)
        if ends:
            self.give_back()  # before the thread goes on: the worker is renewed

    def _forget(self, call: _LineCall) -> None:
        self._open.pop(call, None)
        self._messages.finish(call.envelope)
        if not self._open:
            idle, self._idle = self._idle, []
            for waiter in idle:
                if not waiter.done():
                    waiter.set_result(None)

    def drop(self, call: _LineCall, error: BaseException) -> None:
        """Answer a call that was claimed and not begun."""
        self._forget(call)
        call.args, call.context = (), None
        call.envelope.fail(error)

    def _look(self) -> None:
        """Give back what waits, if the first of it has waited for too long behind another call."""
        self._timer = None
        first = next(iter(self._open), None)
        oldest = next((call for call in self._open if not call.claimed), None)
        if first is None or oldest is None:
            return
        left = oldest.since + _PATIENCE - self._loop.now()
        if left <= 0 and oldest is not first:
            self.give_back()
        else:
            self._timer = self._loop.call_later(max(left, _PATIENCE / 4), self._look)

    def give_back(self) -> None:
        """Give back what has not begun."""
        # From the end: the thread takes the first ones, so that what it has begun comes before all others.
        for call in reversed(list(self._open)):
            if not call.claim():
                return
            self.drop(call, NotBegun())

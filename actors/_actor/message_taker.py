"""How a message loop takes messages from the mailbox and runs their handlers, up to 64 or 10 ms per turn.

Rule: no task, cancel scope, event, lock, closure or log call per message, and one clock reading per four.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from actors._actor.on_error import OnError, another, decide
from actors._base.first_step import NOT_NOW, Rest
from actors._base.twins import COMPILED, bind
from actors._messaging.mailbox import Envelope, answer
from actors._messaging.message_table import MessageKind
from actors.transport import LEAVES

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actors._actor.activity import Activity
    from actors._actor.base import Actor
    from actors._actor.idle import Idleness
    from actors._actor.interfaces import CellInterface, IncarnationInterface
    from actors._base.loop import Loop, Stepper, Waiter
    from actors._messaging.mailbox import Tell

__all__ = ["DETACHED", "MESSAGES_PER_TURN", "SECONDS_PER_TURN", "MessageTaker", "misfit"]

MESSAGES_PER_TURN: Final = 64
MESSAGES_PER_CLOCK: Final = 4
"""Messages between two readings of the clock: one costs as much as a small handler."""
SECONDS_PER_TURN: Final = 0.010

DETACHED: Final = object()
"""What a handler returns whose message is answered later; see `MessageLoop.detach`."""

_CALLS: Final = {MessageKind.CALL, MessageKind.CONCURRENT}


class _Taker:
    """What both twins share: the state, and what is not done for every message."""

    __slots__ = (
        "_activity",
        "_begun_beside",
        "_cell",
        "_current",
        "_idleness",
        "_incarnation",
        "_left",
        "_loop",
        "_own",
        "_progress",
        "_rest",
        "_since",
        "_stepper",
        "actor",
        "halt",
        "handled",
    )

    def __init__(self, run: IncarnationInterface) -> None:
        self.halt: bool = False
        self.handled: int = 0
        self.actor: Actor | None = None
        self._incarnation = run
        self._cell: CellInterface = run.cell
        self._loop: Loop = run.loop
        self._activity: Activity = run.cell.host.activity
        self._current: Envelope | Tell | None = None
        self._since = 0.0
        self._left = 0  # of the messages of this turn
        self._begun_beside = 0  # concurrent handlers that began since `_count`
        self._progress = 0  # how often `recall` was called, or would have been
        self._own = 0  # how many of the messages that were taken it sent itself
        self._idleness: Idleness | None = None
        self._stepper: Stepper | None = None
        # Of a handler whose first step was run already, and the message.
        self._rest: tuple[Rest, Envelope] | None = None

    @property
    def busy(self) -> bool:
        """Whether any message is being handled."""
        raise NotImplementedError

    async def _special(self, actor: Actor, envelope: Envelope) -> None:
        """Handle a message with a deadline, with hooks, or of another kind than a call."""
        raise NotImplementedError

    def _make_stepper(self) -> None:
        if self._cell.handles_at_once and not self._incarnation.blocking:
            self._stepper = self._loop.stepper()

    def is_idle(self) -> bool:
        """Whether there is nothing to do before the next message; what its task was made for is forgotten."""
        self._stepper = None
        mailbox = self._cell.mailbox
        return not (mailbox.queue or mailbox.deferring or self._idleness is not None or self.busy)

    def leave_idle(self) -> bool:
        """Have `take` return, if it waits for a message and is to do nothing else; return whether it does."""
        waker = self._cell.mailbox.waker
        if waker is None or waker.done() or self._idleness is not None:
            return False
        self.halt = True
        self._cell.mailbox.wake()
        return True

    async def _wait(self, actor: Actor) -> None:
        """Wait for a message, or for the first step of a handler that has a rest, and run that."""
        self._cell.mailbox.waker = waker = self._loop.waiter()
        if self._idleness is not None:
            self._idleness.waits(self.handled - self._own)
        try:
            await waker
        except BaseException as error:
            if self._rest is None or isinstance(error, GeneratorExit):
                raise
            self._rest[0].cancelled = error
        if self._activity.awaited:
            self._activity.begin()
        if self._rest is not None:
            await self._handle_rest(actor)

    def _count(self, taken: int, began: float) -> None:
        """Count messages; what is deferred comes again unless all *taken* have only begun beside the others."""
        self.handled += taken
        turns = self._cell.mailbox.wait_queue.turns
        if turns is not None:
            turns.pace(taken, perf_counter() - began)
        beside, self._begun_beside = self._begun_beside, 0
        if self._cell.mailbox.deferring and taken > beside:
            self._recall()

    def _recall(self) -> None:
        """Have what is deferred come again, and what is still ending its handler to be deferred."""
        self._progress += 1
        self._cell.mailbox.recall()

    async def _handle_rest(self, actor: Actor) -> None:
        """Run the rest of the handler whose first step was run by `handle_now`."""
        assert self._rest is not None
        (rest, envelope), self._rest = self._rest, None
        await self.answer_call(actor, envelope, rest)
        self._current = None
        self._count(1, self._since)

    async def answer_call(
        self, actor: Actor, envelope: Envelope, rest: Awaitable[Any] | None = None
    ) -> None:
        """Run the handler of *envelope*, or the *rest* of it, and answer its asker.

        It raises an error that the asker does not settle.
        """
        try:
            if rest is None:
                result = await envelope.handler.fn(actor, *envelope.args, **envelope.kwargs)
            else:
                result = await rest
        except Exception as error:
            if not envelope.fail(error):
                raise
            decided = decide(self._cell.cls, error, asked=envelope.asked)
            if decided is not OnError.RESUME and misfit(envelope, error) is None:
                # The asker keeps the original with its frames; the crash of the actor gets a copy.
                raise another(error) from error.__cause__
        else:
            # What it came with goes back before the reply: the asker may lend the same memory at once.
            envelope.args = ()
            if envelope.reply is not None:
                _answer(envelope.reply, result)


class _TakerInPython(_Taker):
    __slots__ = ()

    handled: int

    def handle_now(self, envelope: Envelope) -> bool:
        """Run the first step of the handler of a plain ask, if the actor waits for a message and it may be.

        Returns:
            whether it was; else *envelope* has to go into the mailbox.
        """
        stepper, mailbox, waker = self._stepper, self._cell.mailbox, self._cell.mailbox.waker
        reply = envelope.reply
        if (
            stepper is None
            or waker is None
            or reply is None
            or not envelope.handler.steps
            or envelope.deadline is not None
            or envelope.hooks is not None
            or self.halt
            or self._idleness is not None
            or mailbox.deferring
            or self._activity.awaited
            or waker.done()
        ):
            return False
        mailbox.waker = None
        self._current = envelope
        self._since = perf_counter()
        result = stepper.step(envelope.handler.fn, self.actor, *envelope.args, **envelope.kwargs)
        if type(result) is Rest:
            self._rest = result, envelope
        else:
            self._current = None
            if result is NOT_NOW:
                mailbox.waker = waker
                return False
            self.handled += 1
            envelope.args = ()  # as in `answer_call`
            _answer(reply, result)
            if not mailbox.queue:
                mailbox.waker = waker  # as if nothing had happened
                return True
        if not waker.done():
            waker.set_result(None)
        return True

    # One function: a call per message costs as much as a small message.
    async def take(self) -> None:  # noqa: C901, PLR0912
        """Take messages until `halt`; raise the error of a handler if no asker gets it.

        While messages are deferred, one at a time, so that those come again behind it.
        """
        actor: Any = self.actor
        mailbox = self._cell.mailbox
        queue, line = mailbox.queue, mailbox.wait_queue
        self._make_stepper()
        while not self.halt:
            if not queue:
                item = args = kwargs = None  # do not hold the last message while waiting
                await self._wait(actor)
                queue = mailbox.queue
                continue
            most = left = 1 if mailbox.deferring else MESSAGES_PER_TURN
            self._since = began = perf_counter()
            try:
                while queue and left:
                    item = mailbox.take() if line.waiting else queue.popleft()
                    self._current = item
                    if isinstance(item, tuple):
                        handler, args, kwargs, hooks = item
                        if hooks is not None:
                            hooks.on_taken()
                        fn = handler.fn
                        await (fn(actor, *args, **kwargs) if kwargs else fn(actor, *args))
                    elif item.handler.plain and item.deadline is None and item.hooks is None:
                        await self.answer_call(actor, item)
                    else:
                        self._current = None
                        await self._special(actor, item)
                    self._current = None
                    left -= 1
                    if self.halt:
                        return  # type: ignore[unreachable] # the await above may have set it
                    if not left % MESSAGES_PER_CLOCK:
                        self._since = now = perf_counter()
                        if now - began > SECONDS_PER_TURN:
                            break
            finally:
                self._count(most - left, began)  # also those before one that failed
            if queue:
                await self._loop.pause()


MessageTaker = _TakerInPython
if not TYPE_CHECKING and COMPILED:

    class MessageTaker(COMPILED.MessageLoopMethods, _Taker):
        """The methods in C: `_step_now`, and `_drain`, which handles messages until one has to be awaited."""

        __slots__ = ()

        def handle_now(self, envelope: Envelope) -> bool:
            """As in Python; who looks for the code that runs knows this function."""
            return self._step_now(envelope)

        async def take(self) -> None:
            """As in Python."""
            actor, mailbox, drain = self.actor, self._cell.mailbox, self._drain
            self._make_stepper()
            while not self.halt:
                if not mailbox.queue:
                    await self._wait(actor)
                    continue
                most = self._left = 1 if mailbox.deferring else MESSAGES_PER_TURN
                self._since = began = perf_counter()
                try:
                    while (rest := drain(began)) is not None:
                        await self._finish(actor, rest)
                        rest = self._current = None
                        self._left -= 1
                    if self.halt:
                        return
                finally:
                    self._count(most - self._left, began)
                if mailbox.queue:
                    await self._loop.pause()

        def _finish(self, actor: Actor, rest: Any) -> Awaitable[Any]:
            """Return what is to be awaited for a message that `_drain` could not handle to its end."""
            if isinstance(rest, Envelope):
                return self._special(actor, rest)
            current = self._current
            return rest if type(current) is tuple else self.answer_call(actor, current, rest)


def misfit(message: Envelope, error: BaseException) -> str | None:
    """Return why the handler cannot take the arguments, if that is what *error* says: it did not run."""
    if not isinstance(error, TypeError) or message.handler.kind not in _CALLS:
        return None
    return message.handler.misfit(message.args, message.kwargs)


def _answer(reply: Waiter, result: Any) -> None:
    """Answer an asker that still waits, unless that is done later."""
    if result is DETACHED or reply.done():
        return
    if type(result) in LEAVES:
        reply.set_result(result)
    else:
        answer(reply, result)


bind(answer=_answer)

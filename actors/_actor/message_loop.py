"""The turns of one incarnation: its messages, one at a time, in the order of the mailbox.

Rule 1: one task takes them; a concurrent handler alone runs beside it, in a task of the actor.
Rule 2: an exception goes to whoever awaits the reply; with nobody to tell it is a crash, unless the
class decides otherwise (`on_error`).
Rule 3: per message no task, scope, event, lock, closure or log call; a clock reading for four.
"""

from __future__ import annotations

from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from actors._actor.on_error import OnError, decide
from actors._base.errors import ActorCrashed, DeadlineExceeded, failed_codec, not_sendable
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.stream import StreamProducers
from actors._messaging.turn import TURN, Turn
from actors.transport import LEAVES, Unsendable, copy_error, snapshot

if TYPE_CHECKING:
    from actors._actor.base import Actor
    from actors._actor.interfaces import IncarnationInterface
    from actors._base.loop import Task, Waiter
    from actors._messaging.mailbox import Tell
    from actors._messaging.ref import Ref
    from actors.supervisors import Exit

__all__ = [
    "MESSAGES_PER_TURN",
    "SECONDS_PER_TURN",
    "MessageLoop",
    "answer",
    "exit_notice",
]


MESSAGES_PER_TURN: Final = 64
MESSAGES_PER_CLOCK: Final = 4
"""A clock reading costs as much as a small handler does."""
SECONDS_PER_TURN: Final = 0.010

_NONE_CONCURRENT: Final = cast("dict[Envelope, Task]", MappingProxyType({}))
_EXIT_NOTICE: Final = Handler("(on_exit)", lambda: None, MessageKind.NOTICE)


def exit_notice(run: IncarnationInterface, ref: Ref[Any], end: Exit) -> Envelope:
    """Return the message that tells *run*, and no later one, how an actor it watches ended."""
    return Envelope(_EXIT_NOTICE, (run, ref, end), {})


class MessageLoop:
    """Takes what comes to a cell and runs its handlers until told to halt.

    Attributes:
        halt: looked at after every message; the incarnation's to set.
        handled: how many messages it has taken, counted at the end of each turn.
        resumed: a message failed and the class decided to go on.
        actor: whose handlers they are, once it is there.
    """

    def __init__(self, run: IncarnationInterface) -> None:
        self.halt = self.resumed = False
        self.handled = 0
        self.actor: Actor | None = None
        self._producers: StreamProducers | None = None
        self.turn = Turn(run, run.cell, exclusive=True)
        self._incarnation = run
        self._cell = run.cell
        self._loop = run.loop
        self._current: Envelope | Tell | None = None
        self._since = 0.0
        self._concurrent_handlers = _NONE_CONCURRENT

    @property
    def producers(self) -> StreamProducers:
        """The open streams."""
        if self._producers is None:
            self._producers = StreamProducers(self._incarnation.ref, self._cell.deliver)
        return self._producers

    @property
    def streaming(self) -> bool:
        """Whether there is an open stream."""
        return bool(self._producers)

    @property
    def handling(self) -> tuple[str, float] | None:
        """Which message is being handled, and for how many seconds."""
        if self._current is None:
            return None
        return (Envelope.of(self._current).handler.name, perf_counter() - self._since)

    @property
    def busy(self) -> bool:
        """Whether any message is being handled, beside the others too."""
        return self._current is not None or bool(self._concurrent_handlers)

    @property
    def concurrent(self) -> int:
        """How many messages are being handled beside the others."""
        return len(self._concurrent_handlers)

    def runs_concurrently(self, envelope: Envelope) -> bool:
        """Whether *envelope* is handled in a task of its own."""
        return envelope in self._concurrent_handlers

    def cancel(self, envelope: Envelope) -> None:
        """Break off the handler of *envelope*, if it is running."""
        if envelope is self._current:
            self._incarnation.interrupt()
        elif envelope in self._concurrent_handlers:
            self._concurrent_handlers[envelope].cancel()
        else:
            self.producers.close(envelope)

    # One function, because a call per message would cost as much as a small message does.
    async def take(self) -> None:  # noqa: C901, PLR0912
        """Take messages until `halt`; what a handler raises and nobody awaits comes out."""
        actor = self.actor
        assert actor is not None
        mailbox = self._cell.mailbox
        queue = mailbox.queue
        line = mailbox.wait_queue
        while not self.halt:
            if not queue:
                mailbox.waker = waker = self._loop.waiter()
                # What was handled last is not kept while nothing happens.
                item = args = kwargs = None
                await waker
                queue = mailbox.queue
            left = MESSAGES_PER_TURN
            self._since = began = perf_counter()
            while queue and left:
                left -= 1
                item = mailbox.take() if line.waiting else queue.popleft()
                self._current = item
                if isinstance(item, tuple):
                    handler, args, kwargs, hooks = item
                    if hooks is not None:
                        hooks.on_taken()
                    await (
                        handler.fn(actor, *args, **kwargs) if kwargs else handler.fn(actor, *args)
                    )
                elif item.handler.plain and item.deadline is None and item.hooks is None:
                    await self._answer_call(actor, item)
                else:
                    self._current = None
                    await self._special(actor, item)
                self._current = None
                if self.halt:
                    return  # type: ignore[unreachable] # the await above may have set it
                if not left % MESSAGES_PER_CLOCK:
                    self._since = now = perf_counter()
                    if now - began > SECONDS_PER_TURN:
                        break
            self.handled += MESSAGES_PER_TURN - left
            if queue:
                await self._loop.pause()

    # -- failures --------------------------------------------------------------------------

    def ends_by(self, error: BaseException) -> bool:
        """Return whether the run ends by *error*, which came out of `take` or of a step without a message."""
        return self._current is None or self._ends_by(self._current, error)

    def _ends_by(self, item: Envelope | Tell, error: BaseException) -> bool:
        """Do what the class decides about the error of a message; return whether the run ends by it."""
        run = self._incarnation
        message = Envelope.of(item)
        plain = isinstance(error, Exception) and message.handler.kind is not MessageKind.RESUME
        if run.exit is not None or not plain:
            return True
        decided = decide(self._cell.cls, error, asked=message.reply is not None)
        if decided is not OnError.RESTART:
            run.voluntary = decided is OnError.STOP
            self._cell.host.message_failed(run.ref, message, error)
        self.resumed = decided is OnError.RESUME
        return not self.resumed

    def drop_current(self) -> None:
        """The message being handled, if there is one, is lost: whoever awaits it is told why."""
        current, self._current = self._current, None
        if current is not None:
            self._lose(Envelope.of(current))

    def lose_all(self) -> None:
        """Whatever is being handled, beside the others too, is lost, and so is every open stream."""
        self.drop_current()
        for envelope in list(self._concurrent_handlers):
            self._lose(envelope)
        if self._producers is not None:
            self._producers.crash(self._gone)

    def _lose(self, envelope: Envelope) -> None:
        if envelope.handler.kind is MessageKind.RESUME:
            envelope.args[0].crash(self._gone())
        else:
            envelope.fail(self._gone())

    def _gone(self) -> ActorCrashed:
        return ActorCrashed(self._incarnation.ref, str(self._incarnation.exit or "cancelled"))

    # -- kinds of messages -----------------------------------------------------------------

    async def _special(self, actor: Actor, envelope: Envelope) -> None:
        """Handle whatever is not simple: a deadline, an account to keep, another kind than a call."""
        if envelope.hooks is not None:
            envelope.hooks.on_taken()
        if envelope.deadline is not None and self._loop.now() >= envelope.deadline:
            ref, name = self._incarnation.ref, envelope.handler.name
            late = DeadlineExceeded(ref, f"{name} expired in the queue", envelope.message)
            if not envelope.fail(late):
                self._cell.host.dead_letter(ref, envelope, "its deadline passed in the queue")
            return
        try:
            await _SPECIAL[envelope.handler.kind](self, actor, envelope)
        finally:
            self.turn.chain = ()

    async def _call(self, actor: Actor, envelope: Envelope) -> None:
        self._current = envelope
        self._since = perf_counter()
        self.turn.deadline = envelope.deadline
        try:
            await self._answer_call(actor, envelope)
        finally:
            self.turn.deadline = None
        self._current = None

    async def _answer_call(self, actor: Actor, envelope: Envelope) -> None:
        reply = envelope.reply
        try:
            result = await envelope.handler.fn(actor, *envelope.args, **envelope.kwargs)
        except Exception as error:
            if not envelope.fail(error):
                raise
            if decide(self._cell.cls, error, asked=True) is not OnError.RESUME:
                # The asker has that one, with its frames; this end is another's.
                raise copy_error(error, _same) from error.__cause__
        else:
            if reply is not None and not reply.done():
                answer(reply, result)

    async def _concurrent(self, actor: Actor, envelope: Envelope) -> None:
        turn = self.turn.for_task()
        turn.deadline = envelope.deadline
        turn.chain = self.turn.chain
        if self._concurrent_handlers is _NONE_CONCURRENT:
            self._concurrent_handlers = {}
        running = self._concurrent_handlers

        async def concurrent() -> None:
            TURN.set(turn)
            try:
                await self._answer_call(actor, envelope)
            except Exception as error:  # noqa: BLE001 - the class decides
                if self._ends_by(envelope, error):
                    self._incarnation.crash(error)
            finally:
                running.pop(envelope, None)
                if envelope.reply is not None and not envelope.reply.done():
                    self._lose(envelope)

        running[envelope] = self._incarnation.tasks.start_soon(
            concurrent, name=envelope.handler.name
        )

    async def _stream(self, actor: Actor, envelope: Envelope) -> None:
        self.producers.open(actor, envelope)

    async def _resume(self, _actor: Actor, envelope: Envelope) -> None:
        self._current = envelope
        self._since = perf_counter()
        await self.producers.resume(envelope.args[0])
        self._current = None

    async def _tick(self, actor: Actor, envelope: Envelope) -> None:
        message = self._incarnation.timers.take(envelope)
        if message is not None:
            await _SPECIAL[message.handler.kind](self, actor, message)

    async def _notice(self, actor: Actor, envelope: Envelope) -> None:
        if envelope.reply is not None:
            if not envelope.reply.done():  # whoever waits may have been cancelled in this very turn
                envelope.reply.set_result(None)
            return
        run, ref, end = envelope.args
        # A notice to an earlier incarnation, or of a ref no longer watched, is not delivered.
        if run is self._incarnation and run.watches.drop(ref):
            await actor.on_exit(ref, end)

    async def _stop(self, _actor: Actor, envelope: Envelope) -> None:
        end, voluntary = envelope.args
        self._incarnation.end(end, voluntary=voluntary)


def answer(reply: Waiter, result: Any) -> None:
    """Settle *reply* with a snapshot of *result*, or with why there can be none."""
    # A reply that leaves this node is encoded at once, which is a snapshot too.
    if type(result) not in LEAVES and not getattr(reply, "leaves", False):
        try:
            result = snapshot(result, "reply")
        except Unsendable as error:
            reply.set_exception(not_sendable(error))
            return
        except Exception as error:  # noqa: BLE001 - a registered codec's, told to whoever waits for what it carries
            reply.set_exception(failed_codec("reply", error))
            return
    reply.set_result(result)


def _same(part: Any) -> Any:
    return part


_SPECIAL: Final[dict[MessageKind, Any]] = {
    MessageKind.CALL: MessageLoop._call,  # noqa: SLF001 - the table of this class
    MessageKind.CONCURRENT: MessageLoop._concurrent,  # noqa: SLF001 - as above
    MessageKind.STREAM: MessageLoop._stream,  # noqa: SLF001 - as above
    MessageKind.RESUME: MessageLoop._resume,  # noqa: SLF001 - as above
    MessageKind.NOTICE: MessageLoop._notice,  # noqa: SLF001 - as above
    MessageKind.TICK: MessageLoop._tick,  # noqa: SLF001 - as above
    MessageKind.STOP: MessageLoop._stop,  # noqa: SLF001 - as above
}

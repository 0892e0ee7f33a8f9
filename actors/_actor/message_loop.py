"""The message loop of an incarnation: what each kind of message has it do, and what follows from failures.

Rule 1: one task runs all handlers but the concurrent ones, which run in tasks of the actor.
Rule 2: an exception goes to the asker; if nobody asked, it crashes the actor, unless the class decides
otherwise (`on_error=`). Arguments that the method does not take are an error of the sender, never a crash.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from actors._actor.batches import Batch, Batches
from actors._actor.concurrent_handlers import ConcurrentHandlers
from actors._actor.deferral import Deferral, deferral_of
from actors._actor.idle import Idleness
from actors._actor.message_taker import MessageTaker, misfit
from actors._actor.on_error import OnError, decide
from actors._base.errors import ActorCrashed, ActorsError, DeadlineExceeded, MailboxFull
from actors._base.twins import bind
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.stream import StreamProducers
from actors._messaging.turn import TURN, Turn

if TYPE_CHECKING:
    from actors._actor.base import Actor
    from actors._actor.interfaces import IncarnationInterface
    from actors._base.loop import Task
    from actors._messaging.mailbox import Tell
    from actors._messaging.ref import Ref
    from actors.supervisors import Exit

__all__ = [
    "MessageLoop",
    "exit_notice",
]


_NONE_DETACHED: Final[dict[Envelope, Task]] = {}
"""Stays empty: most actors answer each ask in its handler."""
_EXIT_NOTICE: Final = Handler("(on_exit)", lambda: None, MessageKind.NOTICE)


def exit_notice(run: IncarnationInterface, ref: Ref[Any], end: Exit) -> Envelope:
    """Return the message that has *run*, and no later incarnation, call `on_exit(ref, end)`."""
    return Envelope(_EXIT_NOTICE, (run, ref, end), {})


class MessageLoop(MessageTaker):
    """Takes the messages of a cell and runs their handlers until `halt` is set.

    Attributes:
        halt: the incarnation sets it to end the loop after the current message.
        handled: how many messages were taken, counted after each batch.
        resumed: a message failed and `on_error` of the class said RESUME.
        actor: whose handlers run; set before the loop starts.
    """

    __slots__ = (
        "_batches",
        "_concurrent_handlers",
        "_detached",
        "_producers",
        "resumed",
        "turn",
    )

    handled: int

    def __init__(self, run: IncarnationInterface) -> None:
        super().__init__(run)
        self.resumed: bool = False
        self.turn: Turn = Turn(run, run.cell, exclusive=True)
        self._producers: StreamProducers | None = None
        self._concurrent_handlers: ConcurrentHandlers | None = None
        self._detached: dict[Envelope, Task] = _NONE_DETACHED
        self._batches: Batches | None = None

    @property
    def producers(self) -> StreamProducers:
        """The open streams, by what makes their items."""
        if self._producers is None:
            self._producers = StreamProducers(self._incarnation.ref, self._cell.deliver)
        return self._producers

    def idleness(self) -> Idleness:
        """Return since when the actor has been idle; noted from now on."""
        if self._idleness is None:
            self._idleness = Idleness(self._loop, self._is_idle)
        return self._idleness

    def _is_idle(self) -> bool:
        mailbox = self._cell.mailbox
        waits = mailbox.waker is not None and not mailbox.waker.done()
        # What is deferred waits for others, as the actor does.
        empty = len(mailbox) == mailbox.deferred
        return waits and empty and not self.busy and not self.streaming

    def concurrent_ended(self, *, deferred: bool) -> None:
        """Note that a concurrent handler has ended; what is deferred comes again unless its message is."""
        if self._idleness is not None:
            self._idleness.begin()
        if not deferred:
            self._recall()

    @property
    def streaming(self) -> bool:
        """Whether there is an open stream."""
        return bool(self._producers)

    @property
    def handling(self) -> tuple[str, float] | None:
        """The name of the message that is being handled, and since how many seconds."""
        current = next(iter(self._detached), None) if self._current is None else self._current
        if current is None:
            return None
        return (Envelope.of(current).handler.name, perf_counter() - self._since)

    @property
    def current_name(self) -> str:
        """The name of the message that is being handled; that of a stream's for an item of it."""
        if self._current is None:
            return ""
        message = Envelope.of(self._current)
        if message.handler.kind is MessageKind.RESUME:
            message = message.args[0].opened_by
        return message.handler.name

    @property
    def busy(self) -> bool:
        """Whether any message is being handled, concurrent and detached ones included."""
        beside = self._concurrent_handlers or self._detached
        return self._current is not None or bool(beside)

    @property
    def collects(self) -> bool:
        """Whether it has ever waited for the rest of a batch, which is no wait of an idle actor."""
        return self._batches is not None

    def detach(self, work: Task) -> Envelope:
        """Let go of the ask in hand: its handler returns `DETACHED`, and its actor answers it later.

        Args:
            work: cancelled when the asker no longer waits, or wants its end.

        Returns:
            the message; who answers it calls `finish`.
        """
        envelope, self._current = self._current, None
        assert isinstance(envelope, Envelope), "only an ask is answered later"
        if not self._detached:
            self._detached = {}
        self._detached[envelope] = work
        return envelope

    def finish(self, envelope: Envelope) -> None:
        """Note that a detached message is over."""
        self._detached.pop(envelope, None)

    @property
    def concurrent(self) -> int:
        """How many concurrent handlers run."""
        return 0 if self._concurrent_handlers is None else len(self._concurrent_handlers)

    def runs_concurrently(self, envelope: Envelope) -> bool:
        """Whether *envelope* is being handled by a concurrent handler."""
        return self._concurrent_handlers is not None and envelope in self._concurrent_handlers

    def cancel(self, envelope: Envelope) -> None:
        """Cancel the handler of *envelope*, or close the stream it opened, if there is one."""
        current = self._current
        if envelope is current or (isinstance(current, Batch) and current.leave(envelope)):
            # Nothing can end a call in a thread: it goes on, and its result is dropped.
            if not self._incarnation.blocking:
                self._incarnation.interrupt()
        elif self._concurrent_handlers is not None and envelope in self._concurrent_handlers:
            self._concurrent_handlers.cancel(envelope)
        elif envelope in self._detached:
            self._detached[envelope].cancel()
        else:
            # Asked before, as a generator that is being closed may finish what it cleans up.
            waits = self._makes_item_of(envelope) and not self._incarnation.blocking
            self.producers.close(envelope)
            if waits:
                self._incarnation.interrupt()

    def _makes_item_of(self, envelope: Envelope) -> bool:
        """Whether the generator that *envelope* opened is making its next item now."""
        current = self._current
        if not isinstance(current, Envelope) or current.handler.kind is not MessageKind.RESUME:
            return False
        producer = current.args[0]
        return producer.opened_by is envelope and not producer.closing

    # -- failures --------------------------------------------------------------------------

    def ends_by(self, error: BaseException) -> bool:
        """Return whether the incarnation ends by *error*, which `take` or a step without a message raised."""
        if self._idleness is not None:
            self._idleness.begin()  # `take` has not counted the message that failed
        return self._current is None or self.message_ends_it(self._current, error)

    def message_ends_it(self, item: Envelope | Tell, error: BaseException) -> bool:
        """Do what the class decides on the *error* of a message; return whether the incarnation ends by it."""
        deferral = None if isinstance(error, Exception) else deferral_of(error)
        if deferral is not None:
            self._defer(Envelope.of(item), deferral.progress)
            return False
        run = self._incarnation
        message = Envelope.of(item)
        plain = isinstance(error, Exception) and message.handler.kind is not MessageKind.RESUME
        if run.exit is not None or not plain:
            return True
        why = misfit(message, error)
        if why is not None:
            self._cell.host.dead_letter(run.ref, message, why)
            self.resumed = True
            return False
        decided = decide(self._cell.cls, error, asked=message.asked)
        if decided is not OnError.RESTART:
            run.voluntary = decided is OnError.STOP
            self._cell.host.message_failed(run.ref, message, error)
        self.resumed = decided is OnError.RESUME
        if self.resumed:
            self._recall()
        return not self.resumed

    def deferral(self) -> BaseException:
        """Return what ends the calling code, and has the message that it handles come again.

        Raises:
            ActorsError: it handles none, or one that cannot come again.
        """
        turn = TURN.get()
        if turn is None or not turn.beside or turn.sender is not self._incarnation:
            self._check_deferrable(turn)
        self._cell.mailbox.deferring = True  # so that progress is counted
        return Deferral(self._progress)

    def _check_deferrable(self, turn: Turn | None) -> None:
        current, who = self._current, self._incarnation.ref.name
        if turn is not self.turn or current is None:
            raise ActorsError(
                f"{who}: only the handler of a message can defer it, not a hook or a task"
            )
        if isinstance(current, Envelope) and current.handler.kind is MessageKind.RESUME:
            producer = current.args[0]
            if producer.begun or producer.closing:
                name = producer.opened_by.handler.name
                raise ActorsError(f"{who}: the stream {name} has begun: it can be deferred no more")

    def _defer(self, message: Envelope, progress: int) -> None:
        """Keep the message whose handler deferred it, and go on with the next."""
        self._current = None
        self.resumed = True
        if isinstance(message, Batch):
            for member in message.wanted:
                self.put_off(member, progress)
        elif message.handler.kind is MessageKind.RESUME:
            self.put_off(self.producers.defer(message.args[0]), progress)
        else:
            self.put_off(message, progress)

    def put_off(self, message: Envelope, progress: int) -> None:
        """Keep *message* until the next one is handled; it is dropped if its asker has gone, or without room.

        Args:
            message: what was deferred.
            progress: that of its `Deferral`.
        """
        if message.reply is not None and message.reply.done():
            return
        mailbox, ref = self._cell.mailbox, self._incarnation.ref
        if mailbox.may_defer:
            if message.hooks is not None:
                message.hooks.on_deferred()
            mailbox.defer(message)
            if progress != self._progress:
                mailbox.recall()
            return
        full = MailboxFull(ref, "its mailbox is full of deferred messages", message.message)
        if not message.fail(full):
            self._cell.host.dead_letter(ref, message, full.why)

    def drop_current(self) -> None:
        """Fail the asker of the current message, if there is one: its handler will not answer."""
        current, self._current = self._current, None
        if current is not None:
            self.lose(Envelope.of(current))

    def lose_all(self) -> None:
        """Fail the askers of all messages being handled and the readers of all open streams."""
        self.drop_current()
        detached, self._detached = self._detached, _NONE_DETACHED
        for envelope, work in detached.items():
            work.cancel()
            self.lose(envelope)
        if self._concurrent_handlers is not None:
            self._concurrent_handlers.lose()
        if self._producers is not None:
            self._producers.crash(self._gone)

    def lose(self, envelope: Envelope) -> None:
        """Fail the asker of *envelope*, or the reader of its stream: its handler will not answer."""
        if envelope.handler.kind is MessageKind.RESUME:
            envelope.args[0].crash(self._gone())
        elif envelope.reply is not None:
            envelope.fail(self._gone())

    def _gone(self) -> ActorCrashed:
        return ActorCrashed(self._incarnation.ref, str(self._incarnation.exit or "cancelled"))

    # -- kinds of messages -----------------------------------------------------------------

    async def _special(self, actor: Actor, envelope: Envelope) -> None:
        """Handle a message with a deadline, with hooks, or of another kind than a call."""
        handler = envelope.handler
        try:
            if handler.begins_later or self.begin(envelope):
                await _SPECIAL[handler.kind](self, actor, envelope)
        finally:
            self.turn.chain = ()

    def begin(self, envelope: Envelope) -> bool:
        """Say that *envelope* is handled now; return False if its deadline has passed.

        Called in the task that runs the handler, or that starts the task.
        """
        if envelope.hooks is not None:
            envelope.hooks.on_taken()
        if envelope.deadline is None or self._loop.now() < envelope.deadline:
            return True
        ref, name = self._incarnation.ref, envelope.handler.name
        late = DeadlineExceeded(ref, f"{name} expired in the queue", envelope.message)
        if not envelope.fail(late):
            self._cell.host.dead_letter(ref, envelope, "its deadline passed in the queue")
        return False

    async def _call(self, actor: Actor, envelope: Envelope) -> None:
        self._current = envelope
        self._since = perf_counter()
        self.turn.deadline = envelope.deadline
        try:
            await self.answer_call(actor, envelope)
        finally:
            self.turn.deadline = None
        self._current = None

    async def _concurrent(self, actor: Actor, envelope: Envelope) -> None:
        self._begun_beside += 1
        if self._concurrent_handlers is None:
            self._concurrent_handlers = ConcurrentHandlers(self._incarnation, self)
        self._concurrent_handlers.take(actor, envelope)

    async def _batch(self, actor: Actor, envelope: Envelope) -> None:
        if self._batches is None:
            self._batches = Batches(self._incarnation, self)
        batch = await self._batches.collect(envelope)
        if batch is not None:
            self.handled += len(batch.members) - 1
            await self._call(actor, batch)

    async def _stream(self, actor: Actor, envelope: Envelope) -> None:
        self.producers.open(actor, envelope)

    async def _resume(self, _actor: Actor, envelope: Envelope) -> None:
        self._current = envelope
        self._since = perf_counter()
        await self.producers.resume(envelope.args[0])
        self._current = None

    async def _tick(self, actor: Actor, envelope: Envelope) -> None:
        self._own += 1
        message = self._incarnation.timers.take(envelope)
        if message is not None:
            self._cell.of_own(message)
            await _SPECIAL[message.handler.kind](self, actor, message)

    async def _own_message(self, actor: Actor, envelope: Envelope) -> None:
        message = envelope.args[0].take()
        if message is not None:
            await _SPECIAL[message.handler.kind](self, actor, message)

    async def _notice(self, actor: Actor, envelope: Envelope) -> None:
        self._own += 1
        if envelope.reply is not None:
            if (
                not envelope.reply.done()
            ):  # the asker may have been cancelled in this pass of the loop
                envelope.reply.set_result(None)
            return
        run, ref, end = envelope.args
        # Dropped if it was for an earlier incarnation, or if the watch was cancelled.
        if run is self._incarnation and run.watches.remove(ref):
            await run.in_thread(actor.on_exit, ref, end)

    async def _stop(self, _actor: Actor, envelope: Envelope) -> None:
        end, voluntary = envelope.args
        self._incarnation.end(end, voluntary=voluntary)


_SPECIAL: Final[dict[MessageKind, Any]] = {
    MessageKind.CALL: MessageLoop._call,  # noqa: SLF001 - the table of this class
    MessageKind.CONCURRENT: MessageLoop._concurrent,  # noqa: SLF001 - as above
    MessageKind.BATCH: MessageLoop._batch,  # noqa: SLF001 - as above
    MessageKind.STREAM: MessageLoop._stream,  # noqa: SLF001 - as above
    MessageKind.RESUME: MessageLoop._resume,  # noqa: SLF001 - as above
    MessageKind.NOTICE: MessageLoop._notice,  # noqa: SLF001 - as above
    MessageKind.TICK: MessageLoop._tick,  # noqa: SLF001 - as above
    MessageKind.OWN: MessageLoop._own_message,  # noqa: SLF001 - as above
    MessageKind.STOP: MessageLoop._stop,  # noqa: SLF001 - as above
}

bind(MessageLoop)
